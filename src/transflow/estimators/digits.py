"""Few-shot accuracy of a model's latents on scikit-learn's digits, a measure of how well they separate classes.

The digits are 8 x 8 pictures of handwriting, which come with scikit-learn; they are enlarged to the model's shape.
"""

from __future__ import annotations

import numpy as np
import torch

from transflow.conditioning.model import Model
from transflow.estimators.classifier import FewShotClassifier


def digits_accuracy(model: Model, examples: int = 10, queries: int = 200, seed: int = 0) -> float | None:
    """Return the share of digits that are classified correctly.

    Args:
        model: what encodes; the classifier gets its latents alone.
        examples: of each of the ten classes.
        queries: how many other digits are classified.
        seed: seed of the choice of both.

    Returns:
        The accuracy, 0 to 1; None for a model of other channels than 1 or 3, to which grey pictures cannot be brought.
    """
    if model.shape[0] not in (1, 3):
        return None
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(seed)).numpy()
    labels = digits.target[order]
    known = np.concatenate([np.flatnonzero(labels == c)[:examples] for c in range(10)])
    asked = np.setdiff1d(np.arange(len(labels)), known)[:queries]
    pixels = (digits.images[order] * 255 / 16).round().astype(np.uint8)
    latents = model.encode(pixels[np.concatenate([known, asked])]).cpu().double().numpy()
    classifier = FewShotClassifier(None).fit(latents[: len(known)], labels[known])
    predicted = classifier.predict(latents[len(known) :])
    return float(np.mean(np.asarray(predicted) == labels[asked]))
