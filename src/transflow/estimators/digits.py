"""How well a model's latents tell scikit-learn's handwritten digits apart: a figure that any model can be given.

Ten examples of each of ten digits, 8 x 8 pixels enlarged to the model's size, and a test on others of them; nothing is
downloaded. What is classified by is chosen on the examples alone (see `FewShotClassifier`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from transflow.conditioning.model import Model
from transflow.estimators.classifier import FewShotClassifier

EXAMPLES, QUERIES = 10, 500


def handwritten_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return scikit-learn's handwritten digits: pictures (1797, 8, 8) of the whole range, and labels 0 to 9."""
    digits = load_digits()
    return (digits.images * 15.9375).astype(np.uint8), digits.target.astype(np.int64)


def digit_accuracy(model: Model, seed: int = 0) -> float:
    """Return the share of 500 digits classified correctly from ten examples of each class.

    Args:
        model: of 1 or 3 channels.
        seed: of the choice of examples and queries.
    """
    pictures, labels = handwritten_digits()
    order = np.random.default_rng(seed).permutation(len(labels))
    examples = np.concatenate([order[labels[order] == c][:EXAMPLES] for c in range(10)])
    queries = order[~np.isin(order, examples)][:QUERIES]
    classifier = FewShotClassifier(model).fit(pictures[examples], labels[examples])
    return float((classifier.predict(pictures[queries]) == labels[queries]).mean())
