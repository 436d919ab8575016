"""The steps a Glow is built from: maps that can be run backwards.

A bijection ``f`` has ``forward(x) -> (z, log_det)`` and ``inverse(z) -> x``; ``log_det`` is
``log |det df/dx|`` summed over a picture's dimensions, in nats, shape ``(B,)``, so that

    log p(x) = log p(f(x)) + log |det df/dx|.

References: Dinh et al. 2017 (Real NVP), Kingma and Dhariwal 2018 (Glow, arXiv 1807.03039).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CouplingKind = Literal["affine", "additive"]
PermutationKind = Literal["lu", "plain"]


def squeeze(x: Tensor) -> Tensor:
    """Move 2 x 2 blocks of pixels into channels: ``(B, C, H, W) -> (B, 4C, H/2, W/2)``."""
    return F.pixel_unshuffle(x, 2)


def unsqueeze(x: Tensor) -> Tensor:
    """Undo `squeeze`: ``(B, 4C, H, W) -> (B, C, 2H, 2W)``."""
    return F.pixel_shuffle(x, 2)


class Squeeze(nn.Module):
    """2 x 2 pixels to channels, as a bijection."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, 4C, H/2, W/2) and the log-determinant, zeros (B,)."""
        return squeeze(x), x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        """Return (B, C, H, W)."""
        return unsqueeze(z)


def soft_bound(s: Tensor, bound: float = 2.0) -> Tensor:
    """Keep a log-scale within (-bound, bound), hardly changed near zero: ``bound tanh(s / bound)``."""
    return bound * torch.tanh(s / bound)


def started_at_zero(layer: nn.Conv2d) -> nn.Conv2d:
    """Return a layer with its weights set to zero, so that what it drives starts as identity."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class Cascade(nn.ModuleList):
    """Bijections one after the other; log-determinants add."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant, (B,), in nats."""
        return self.run(self, *self.begin(x))

    def begin(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the input as the layers take it, and the log-determinant to start from, (B,)."""
        return x, x.new_zeros(len(x))

    def run(self, layers: Iterable[nn.Module], x: Tensor, log_det: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output of some of the layers, and the log-determinant so far with theirs added."""
        for layer in layers:
            x, change = layer(x)
            log_det = log_det + change
        return x, log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Return x."""
        for layer in reversed(self):
            z = layer.inverse(z)  # type: ignore[operator]
        return z


class ChannelAffine(nn.Module):
    """Activation normalisation followed by an invertible 1x1 convolution, as one affine map.

    ``z = W diag(exp(log_scale)) (x + shift)`` at every pixel, with
    ``log_det = H W (sum(log_scale) + log |det W|)``. Both layers act on channels alone, so
    their product is one C x C matrix and one bias, in training as in use.

    Args:
        channels: number of channels C.
        permutation: ``"lu"`` keeps ``W = P L (U + diag(sign exp(log_s)))`` with unit
            triangular L, U and a fixed permutation P; ``"plain"`` keeps W itself.

    Reference: Kingma and Dhariwal 2018, sections 3.1 and 3.2.
    """

    permutation_matrix: Tensor
    sign: Tensor
    initialised: Tensor

    def __init__(self, channels: int, permutation: PermutationKind = "lu") -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.register_buffer("initialised", torch.tensor(False))
        rotation = torch.linalg.qr(torch.randn(channels, channels, dtype=torch.float64))[0]
        if permutation == "plain":
            self.weight = nn.Parameter(rotation.float())
            return
        p, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        self.register_buffer("permutation_matrix", p.float())
        self.register_buffer("sign", diagonal.sign().float())
        self.lower = nn.Parameter(lower.tril(-1).float())
        self.upper = nn.Parameter(upper.triu(1).float())
        self.log_s = nn.Parameter(diagonal.abs().log().float())

    def matrix(self) -> tuple[Tensor, Tensor]:
        """Return W, shape (C, C), and ``log |det W|``, shape ()."""
        if "weight" in self._parameters:
            return self.weight, torch.linalg.slogdet(self.weight)[1]
        eye = torch.eye(len(self.log_s), dtype=self.log_s.dtype, device=self.log_s.device)
        lower = self.lower.tril(-1) + eye
        upper = self.upper.triu(1) + torch.diag(self.sign * self.log_s.exp())
        return self.permutation_matrix @ lower @ upper, self.log_s.sum()

    def folded(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the map as ``z = A x + b`` with A (C, C), b (C,), and ``log |det A|``, ()."""
        weight, log_det = self.matrix()
        a = weight * self.log_scale.exp()
        return a, a @ self.shift, log_det + self.log_scale.sum()

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set shift and scale so that each channel of this batch gets mean 0 and variance 1."""
        flat = x.double().transpose(0, 1).flatten(1)
        self.shift.copy_(-flat.mean(1))
        self.log_scale.copy_(-(flat.std(1, correction=0) + 1e-6).log())
        self.initialised.fill_(True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant, (B,), in nats."""
        with torch.autocast(x.device.type, enabled=False):
            a, b, log_det = self.folded()
            z = F.conv2d(x, a[:, :, None, None], b)
        return z, (log_det * (x.shape[-1] * x.shape[-2])).expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        """Return x."""
        a, b, _ = self.folded()
        inverse = torch.linalg.inv(a.double()).to(a)
        return F.conv2d(z - b[:, None, None], inverse[:, :, None, None])


class CouplingNet(Protocol):
    """What a coupling's network does, in training or fused."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return the numbers that scale and shift are made of, (B, outputs, H, W)."""

    def hidden(self, x: Tensor) -> Tensor:
        """Return what the last layer gets, (B, width, H, W)."""


class ConvNet(nn.Sequential):
    """3x3, 1x1, 3x3 convolutions with ReLUs; the last starts at zero, so a coupling starts as identity."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        first = nn.Conv2d(inputs, width, 3, padding=1)
        middle = nn.Conv2d(width, width, 1)
        last = nn.Conv2d(width, outputs, 3, padding=1)
        super().__init__(first, nn.ReLU(inplace=True), middle, nn.ReLU(inplace=True), last)
        for layer in (first, middle):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(last.weight)
        for layer in (first, middle, last):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def hidden(self, x: Tensor) -> Tensor:
        """Return what the last layer gets: activations of 0 or more, (B, width, H, W)."""
        for layer in list(self)[:-1]:
            x = layer(x)
        return x


class BaseCoupling(nn.Module):
    """Change the second half of the channels by a function of the first: ``z_b = exp(s) (x_b + t)``.

    Both directions see the same ``x_a``, so the inverse is exact whatever the function is.

    Args:
        halves: channels of x_a and x_b.
    """

    def __init__(self, halves: tuple[int, int]) -> None:
        super().__init__()
        self.halves = halves

    def scale_and_shift(self, x_a: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-scale s and the shift t for the second half, each of its shape."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant, (B,), in nats."""
        x_a, x_b = x.split(self.halves, 1)
        s, t = self.scale_and_shift(x_a)
        return torch.cat([x_a, (x_b + t) * s.exp()], 1), s.sum((1, 2, 3))

    def inverse(self, z: Tensor) -> Tensor:
        """Return x."""
        z_a, z_b = z.split(self.halves, 1)
        s, t = self.scale_and_shift(z_a)
        return torch.cat([z_a, z_b * (-s).exp() - t], 1)


class BoundedCoupling(BaseCoupling):
    """A coupling whose network and log-scale are bounded.

    ``(s, t) = net(x_a)``; for the additive kind ``s = 0``. Pictures that are nothing like the
    training data, such as a checkerboard, would grow from step to step until they overflow. So the
    log-scale is bounded softly and cut at ``+-STEEPEST``, and the network sees ``x_a`` clamped to
    ``+-REACH``: hardly any number in a photograph reaches either.

    Args:
        halves: channels of x_a and x_b.
        affine: whether there is a scale beside the shift.
        net: a module; from x_a to s and t, or to t alone.
    """

    REACH = 2.0
    STEEPEST = 1.5

    net: CouplingNet

    def __init__(self, halves: tuple[int, int], affine: bool, net: CouplingNet) -> None:
        super().__init__(halves)
        self.affine = affine
        self.net = net

    def scale_and_shift(self, x_a: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-scale s and the shift t for the second half, each of its shape."""
        raw = self.net(x_a.clamp(-self.REACH, self.REACH)).to(x_a.dtype)
        if not self.affine:
            return torch.zeros_like(raw), raw
        s, t = raw.chunk(2, 1)
        return soft_bound(s).clamp(-self.STEEPEST, self.STEEPEST), t

    def hidden(self, x: Tensor) -> Tensor:
        """Return the hidden activations of the network's last layer: numbers of 0 or more, (B, width, H, W)."""
        return self.net.hidden(x[:, : self.halves[0]].clamp(-self.REACH, self.REACH))


class Coupling(BoundedCoupling):
    """A coupling in training: its network is a `ConvNet`.

    Args:
        channels: of its input; the first half, rounded down, stays.
        width: hidden channels of the network.
        kind: ``"affine"`` or ``"additive"``.
    """

    net: ConvNet

    def __init__(self, channels: int, width: int, kind: CouplingKind = "affine") -> None:
        a, affine = channels // 2, kind == "affine"
        b = channels - a
        super().__init__((a, b), affine, ConvNet(a, width, 2 * b if affine else b))
