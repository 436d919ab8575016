"""Other libraries' models behind the contract: one file a library, imported when one of its objects is given."""
