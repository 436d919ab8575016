"""The demo: the method shown with the bundled model."""
