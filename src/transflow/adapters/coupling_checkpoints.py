"""Checkpoints of the flows of the UvA deep learning tutorial 11: masked couplings with gated convolutions.

    z = (x + (1 - m) t) exp((1 - m) s),   (raw, t) = net(m x),   s = exp(f) tanh(raw / exp(f))

with a mask m, a checkerboard or half of the channels, and a learned bound f of each channel. The flow sees logits of
pixels, ``p = a + (1 - 2a) u`` with 2a = 1e-5. Its base is N(0, I), of what is split off, too. Squeezes and splits hold
no weights: where the numbers of the layers have a gap, one place is a squeeze, two are a split and a squeeze. Layers of
a variational dequantisation (``flows.0.flows``) only draw the noise that training adds, and are not needed.

Reference: Lippe, UvA deep learning tutorials, tutorial 11 (MIT licence).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transflow.adapters.checkpoint_weights import Weights, numbered
from transflow.adapters.layered_flow import Convolution, Cut, LayeredFlow, Squeeze
from transflow.pictures.preprocess import Shape


class ConcatELU(nn.Module):
    """``[elu(x), elu(-x)]``, so that each number gives a slope either way."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 2C, H, W) of (B, C, H, W)."""
        return torch.cat([F.elu(x), F.elu(-x)], 1)


class Gated(nn.Module):
    """``x + value sigmoid(gate)``, then channels with mean 0 and variance 1 at each pixel, scaled and shifted.

    Args:
        inner: to (value, gate), halves of the channels.
        gamma: scale, (1, C, 1, 1).
        beta: shift, (1, C, 1, 1).
    """

    gamma: Tensor
    beta: Tensor

    def __init__(self, inner: nn.Module, gamma: Tensor, beta: Tensor) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("gamma", gamma)
        self.register_buffer("beta", beta)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W) of the same shape."""
        value, gate = self.inner(x).chunk(2, 1)
        y = x + value * gate.sigmoid()
        variance, mean = torch.var_mean(y, 1, correction=0, keepdim=True)
        return (y - mean) / (variance + 1e-5).sqrt() * self.gamma + self.beta


class MaskedCoupling(nn.Module):
    """Change the numbers where the mask is 0 by a function of those where it is 1.

    Args:
        net: to (raw, t), halves of the channels.
        mask: (1, 1 or C, H or 1, W or 1).
        bound: f, (C,).
    """

    mask: Tensor
    bound: Tensor

    def __init__(self, net: nn.Module, mask: Tensor, bound: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mask", mask)
        self.register_buffer("bound", bound.exp()[:, None, None])

    def scale_and_shift(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return s and t, each of the shape of x, and 0 where the mask is 1."""
        raw, t = self.net(x * self.mask).chunk(2, 1)
        changed = 1 - self.mask
        return self.bound * (raw / self.bound).tanh() * changed, t * changed

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant, (B,), in nats."""
        s, t = self.scale_and_shift(x)
        return (x + t) * s.exp(), s.sum((1, 2, 3))

    def inverse(self, z: Tensor) -> Tensor:
        """Return x."""
        s, t = self.scale_and_shift(z)
        return z * (-s).exp() - t


def uva(weights: Weights, shape: Shape | None) -> LayeredFlow:
    """Return the flow of the tutorial: simple, with variational dequantisation, or multi-scale.

    Args:
        weights: double, by their names in the file.
        shape: of a picture; the first mask has it.
    """
    found = numbered(weights, r"flows\.(\d+)\.scaling_factor")
    masks = {i: weights[f"flows.{i}.mask"] for i in found}
    h, w = masks[found[0]].shape[2:]
    channels = [len(weights[f"flows.{i}.scaling_factor"]) for i in found]
    if min(h, w) < 2:
        raise ValueError("Expected a flow whose first mask is a checkerboard; got one of channels.")
    if shape not in (None, (channels[0], h, w)):
        raise ValueError(f"Expected the shape {(channels[0], h, w)} of this checkpoint; got {shape}. Leave shape away.")
    layers: list[nn.Module] = []
    before, now = 0, channels[0]
    for i, c in zip(found, channels, strict=True):
        gap = i - before - 1
        if before and gap in (1, 2):
            layers += [Squeeze()] if gap == 1 else [Cut(), Squeeze()]
            now = 4 * now // gap
        if c != now or (before and gap > 2):
            raise ValueError(f"Expected flows.{i} to change {now} channels; got {c}, as of another architecture.")
        net = f"flows.{i}.network.nn"
        layers.append(MaskedCoupling(gated(weights, net), masks[i], weights[f"flows.{i}.scaling_factor"]))
        before = i
    return LayeredFlow(layers, (channels[0], h, w))


def gated(weights: Weights, at: str) -> nn.Sequential:
    """Return the network of a coupling: a convolution, gated blocks, a convolution."""

    def convolution(name: str) -> Convolution:
        return Convolution(weights[f"{at}.{name}.weight"], weights[f"{at}.{name}.bias"])

    first, last = (end(numbered(weights, rf"{at}\.(\d+)\.weight")) for end in (min, max))
    layers: list[nn.Module] = [convolution(str(first))]
    for i in numbered(weights, rf"{at}\.(\d+)\.net\."):
        inner = nn.Sequential(ConcatELU(), convolution(f"{i}.net.1"), ConcatELU(), convolution(f"{i}.net.3"))
        layers.append(Gated(inner, weights[f"{at}.{i + 1}.gamma"], weights[f"{at}.{i + 1}.beta"]))
    return nn.Sequential(*layers, ConcatELU(), convolution(str(last)))
