"""scikit-learn's interface to models and pictures."""
