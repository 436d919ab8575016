"""What importers of checkpoints share: names to numbers, and weights in other people's forms to plain ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from transflow.adapters.layered_flow import Convolution, Coupling, ScaleMap
from transflow.pictures.preprocess import Shape

Weights = Mapping[str, Tensor]
Label = int | Sequence[float] | None


def given(shape: Shape | None, channels: int, levels: int) -> Shape:
    """Return the shape of a picture, checked.

    Raises:
        ValueError: there is none, or it does not fit.
    """
    if shape is None:
        raise ValueError(f"Expected shape=({channels}, height, width), which this checkpoint does not say; got none.")
    if len(shape) != 3 or shape[0] != channels or any(side % 2**levels or not side for side in shape[1:]):
        raise ValueError(
            f"Expected a shape of {channels} channels whose sides {levels} squeezes can halve; got {tuple(shape)}."
        )
    return shape


def numbered(weights: Weights, pattern: str) -> list[int]:
    """Return the numbers in the names that start with a pattern, sorted."""
    found = {int(match[1]) for name in weights if (match := re.match(pattern, name))}
    return sorted(found)


def mixing(weights: Weights, at: str, names: tuple[str, str, str, str, str], plain: str) -> Tensor:
    """Return the matrix of a 1x1 convolution, ``P (L + I) (U + diag(sign exp(log_s)))`` or as it is, (C, C)."""
    if f"{at}.{plain}" in weights:
        matrix = weights[f"{at}.{plain}"]
        return matrix.reshape(matrix.shape[:2])
    p, lower, upper, sign, log_s = (weights[f"{at}.{name}"] for name in names)
    one = torch.eye(len(p), dtype=p.dtype, device="cpu")
    return p @ (lower.tril(-1) + one) @ (upper.triu(1) + torch.diag(sign * log_s.exp()))


def zero_convolution(weights: Weights, at: str, logs: str) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a layer that is scaled by ``exp(3 logs)``."""
    scale = (3 * weights[logs].flatten()).exp()
    weight = weights[f"{at}.weight"]
    return weight * scale.view(-1, *[1] * (weight.ndim - 1)), weights[f"{at}.bias"] * scale


def coupling(first: Convolution, middle: Convolution, last: Convolution, scale_map: ScaleMap | None) -> Coupling:
    """Return a coupling whose network is three convolutions with ReLUs between."""
    channels = first.weight.shape[1] + len(last.bias) // (2 if scale_map else 1)
    return Coupling(nn.Sequential(first, nn.ReLU(), middle, nn.ReLU(), last), channels, scale_map)


def halves(weight: Tensor) -> Tensor:
    """Return outputs in halves, even ones first."""
    return torch.cat([weight[0::2], weight[1::2]])


def negate_first_half(weight: Tensor) -> Tensor:
    """Return outputs with the first half negated: what is subtracted there is added here."""
    first, second = weight.chunk(2)
    return torch.cat([-first, second])


def one_of(label: Label, classes: int) -> Tensor:
    """Return a class, or several by weight, as numbers, (classes,), double.

    Raises:
        ValueError: there is none, or it is none of these classes.
    """
    if not classes and label is None:
        return torch.zeros(0, dtype=torch.float64, device="cpu")
    if not classes:
        raise ValueError(f"Expected no label, since this checkpoint knows no classes; got {label}.")
    if isinstance(label, int) and 0 <= label < classes:
        return torch.eye(classes, dtype=torch.float64, device="cpu")[label]
    if isinstance(label, Sequence) and len(label) == classes:
        return torch.tensor([float(part) for part in label], dtype=torch.float64, device="cpu")
    raise ValueError(
        f"Expected label=, a class from 0 to {classes - 1} or {classes} weights, since this checkpoint is learned by "
        f"class; got {label}."
    )
