"""The scikit-learn interface to models and pictures: the classifier, its file, and folders of classes."""
