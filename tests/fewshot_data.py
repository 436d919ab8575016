"""Labelled latents that tests of few-shot classification share."""

import torch

from transflow.fewshot.classifier import FewShot
from transflow.fewshot.examples import FeatureKind, LabelledFeatures


def latents(seed=0, n=5, copies=3, dim=8, classes=3):
    g = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(classes, dim, dtype=torch.float64, generator=g)
    labels = torch.arange(classes).repeat(n)
    base = centres[labels][:, None] + torch.randn(len(labels), 1, dim, dtype=torch.float64, generator=g)
    return base + 0.3 * torch.randn(len(labels), copies, dim, dtype=torch.float64, generator=g), labels


def examples(rows, labels, classes=3, levels=None):
    return LabelledFeatures.of(rows, labels, classes, FeatureKind(levels or (rows.shape[2],))).examples(labels)[0]


def folds(labels, classes=3):
    """What each class loses in turn: of balanced labels, the j-th of each class."""
    return [torch.stack([(labels == c).nonzero()[j, 0] for c in range(classes)]) for j in range(2)]


def few(rows, labels, start=None, **more):
    keys = [str(row.sum().item()) for row in rows]
    return (start or FewShot(**more)).add({"latents": rows}, labels.tolist(), keys), keys
