"""The web page: the same calls over HTTP, each browser session by itself."""
