"""The method shown: the demo, with its page."""
