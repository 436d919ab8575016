"""Other libraries' models behind the contract, one file each, imported on use."""
