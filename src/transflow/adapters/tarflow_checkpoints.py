"""Checkpoints of apple/ml-tarflow: the family `generative.tarflow` under the same names.

All but the shape of a picture is read off the shapes of the weights: T = H W / p^2 tokens of C p^2 numbers. Square
pictures of 3 channels, or of 1, are taken to be meant where there is one such; else the shape is asked for.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from transflow.adapters.checkpoint_weights import Label, Weights, numbered
from transflow.generative.tarflow import TarFlow, TarFlowConfig
from transflow.own_random import OwnRandom
from transflow.pictures.preprocess import Shape

HEAD = 64  # of every attention head there, whatever the width


class OfClass(nn.Module):
    """A TarFlow for pictures of one class, or of any.

    Args:
        flow: the TarFlow.
        label: the class; None for the mean of all, which is how the network was trained without a class.
    """

    label: Tensor | None
    level_sizes = None

    def __init__(self, flow: TarFlow, label: int | None) -> None:
        super().__init__()
        self.flow = flow
        self.register_buffer("label", None if label is None else torch.tensor([label], dtype=torch.long, device="cpu"))

    @property
    def shape(self) -> Shape:
        """Channels, height and width of a picture."""
        return self.flow.shape

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents, (B, D), and the log-determinant, (B,), in nats."""
        return self.flow(x, None if self.label is None else self.label.expand(len(x)))

    def inverse(self, z: Tensor) -> Tensor:
        """Return x, (B, C, H, W)."""
        return self.flow.inverse(z, None if self.label is None else self.label.expand(len(z)))


def tarflow(weights: Weights, shape: Shape | None, label: Label) -> OfClass:
    """Return the flow of a file.

    Args:
        weights: by their names in the file.
        shape: of a picture.
        label: a class, or None for the mean of all.
    """
    tokens, size = weights["var"].shape
    blocks, layers = (
        len(numbered(weights, pattern)) for pattern in (r"blocks\.(\d+)\.", r"blocks\.0\.attn_blocks\.(\d+)\.")
    )
    classes = len(weights["blocks.0.class_embed"]) if "blocks.0.class_embed" in weights else 0
    if label is not None and not (isinstance(label, int) and 0 <= label < classes):
        known = f"a class from 0 to {classes - 1}" if classes else "none, since this checkpoint knows no classes"
        raise ValueError(f"Expected label={known}; got {label}.")
    shape = shape or square(tokens, size)
    if shape is None or math.prod(shape) != tokens * size or shape[0] < 1 or not perfect(size, shape[0]):
        raise ValueError(
            f"Expected shape=(channels, height, width) of {tokens} patches of {size} numbers; got {shape}."
        )
    config = TarFlowConfig(
        shape=shape,
        patch=math.isqrt(size // shape[0]),
        width=weights["blocks.0.pos_embed"].shape[1],
        blocks=blocks,
        layers=layers,
        head=HEAD,
        classes=classes,
        scaled=len(weights["blocks.0.proj_out.bias"]) == 2 * size,
    )
    with OwnRandom(0):
        flow = TarFlow(config)
    flow.load_state_dict({name: tensor for name, tensor in weights.items() if not name.endswith("attn_mask")})
    return OfClass(flow, label)


def perfect(size: int, channels: int) -> bool:
    """Return whether size numbers are square patches of so many channels."""
    return size % channels == 0 and math.isqrt(size // channels) ** 2 == size // channels


def square(tokens: int, size: int) -> Shape | None:
    """Return the shape of square pictures of 3 channels or of 1, where there is exactly one."""
    side = math.isqrt(tokens)
    fitting = [c for c in (3, 1) if perfect(size, c)]
    if side * side != tokens or len(fitting) != 1:
        return None
    patch = math.isqrt(size // fitting[0])
    return fitting[0], side * patch, side * patch
