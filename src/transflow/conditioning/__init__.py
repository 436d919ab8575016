"""Where a model meets inference: the verbs of a model, and the posterior."""
