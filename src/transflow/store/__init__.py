"""What is written to disk: one container, whole writes, and what a model is known by."""
