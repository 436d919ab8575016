"""Models and posteriors by name or file."""
