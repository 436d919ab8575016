"""Variational dequantisation, as a bijection of every pixel within its own bin.

A pixel of n bits is a bin of width 2^-n, and a density needs a number within it, ``bin + u``, u in (0, 1). Uniform
noise makes steps for a flow to learn; Flow++ draws u from a flow of its own, given all bins, ``u = T(v; bins)`` of
noise v, and makes the bound

    log P(bins) >= E_v [ log p(bins + T(v)) + log |det dT/dv| ]

large. With v uniform within bins, as training here draws it anyway, ``bins + v -> bins + T(v; bins)`` is a bijection of
pictures and the bound the mean log density of the whole map. So nothing is special in training, and encoding, at the
bins' centres v = 1/2, takes the centre of what T gives, where its noise is 0; decoding finds bins, u, and v back. Here
T is

    logit u = logit v + t,

with t, of one colour of a checkerboard after the other, a function of the other colour and of all bins. Within +-BOUND
a coupling, it leaves slopes that rounding can bear up to the edges of a bin, where a scale would not, and the centre
well inside, so the bins are found back. (The paper's couplings are mixtures.)

Reference: Ho et al. 2019, *Flow++*, arXiv 1902.00275, section 3.1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transflow.generative.bijections import soft_bound
from transflow.generative.gated_attention import GatedNet

EDGE = 1e-20  # of a bin: what is at its lower end is taken to be this far in


def checkerboard_split(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pixels of either colour of a checkerboard, (B, C, H, W/2) each."""
    a, b = _turned(x.unflatten(-1, (-1, 2))).unbind(-1)
    return a, b


def checkerboard_join(a: Tensor, b: Tensor) -> Tensor:
    """Undo `checkerboard_split`."""
    return _turned(torch.stack([a, b], -1)).flatten(-2)


def _turned(pairs: Tensor) -> Tensor:
    odd = torch.arange(pairs.shape[-3], device=pairs.device) % 2 == 1
    return torch.where(odd[:, None, None], pairs.flip(-1), pairs)


class LogitShift(nn.Module):
    """Shift the logits of one colour, given the other and the bins; the volume of logits stays.

    Args:
        channels: C.
        width: hidden channels of the network.
        size: height of the picture, and half its width.
        kept: 0 or 1, the colour that stays.
    """

    BOUND = 1.0
    REACH = 4.0

    def __init__(self, channels: int, width: int, size: tuple[int, int], kept: int) -> None:
        super().__init__()
        self.kept = kept
        self.net = GatedNet(channels, width, channels, 1, size, attention=False, context=2 * channels)

    def shift(self, e: Tensor, context: Tensor) -> Tensor:
        """Return t, (B, C, H, W): zeros where the colour stays."""
        seen = checkerboard_split(e)[self.kept].clamp(-self.REACH, self.REACH)
        t = soft_bound(self.net(seen, context).to(e.dtype), self.BOUND)
        still = torch.zeros_like(t)
        return checkerboard_join(t, still) if self.kept else checkerboard_join(still, t)


class Dequantiser(nn.Module):
    """Pictures (B, C, H, W) in (-1/2, 1/2), each number moved within its bin; an even width.

    Args:
        shape: of a picture, (C, H, W).
        bits: of a pixel and channel.
        steps: couplings.
        width: hidden channels of their networks.
    """

    def __init__(self, shape: tuple[int, int, int], bits: int, steps: int, width: int) -> None:
        super().__init__()
        self.bins = 2**bits
        channels, height, columns = shape
        self.couplings = nn.ModuleList(LogitShift(channels, width, (height, columns // 2), i % 2) for i in range(steps))

    def within(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return bins, the logits of places within them, and what the networks see of the bins, (B, 2C, H, W/2)."""
        y = (x + 0.5) * self.bins
        whole = y.detach().floor()
        centre = ((whole + 0.5) / self.bins - 0.5).clamp(-0.5, 0.5)
        v = (y - whole).clamp(EDGE, 1 - torch.finfo(x.dtype).eps)
        return whole, v.log() - (-v).log1p(), torch.cat(checkerboard_split(centre), 1)

    def picture(self, whole: Tensor, e: Tensor) -> Tensor:
        """Return the picture whose numbers are at the logits e of their bins."""
        return (whole + e.sigmoid()) / self.bins - 0.5

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return a picture of the same bins, and the log-determinant, (B,), in nats."""
        whole, e, context = self.within(x)
        log_det = -log_slope(e)
        for coupling in self.couplings:
            e = e + coupling.shift(e, context)  # type: ignore[operator]
        return self.picture(whole, e), log_det + log_slope(e)

    def inverse(self, x: Tensor) -> Tensor:
        """Undo `forward`."""
        whole, e, context = self.within(x)
        for coupling in reversed(self.couplings):
            e = e - coupling.shift(e, context)  # type: ignore[operator]
        return self.picture(whole, e)


def log_slope(e: Tensor) -> Tensor:
    """Return the sum of ``log d sigmoid(e) / de``, (B,)."""
    return (F.logsigmoid(e) + F.logsigmoid(-e)).sum((1, 2, 3))
