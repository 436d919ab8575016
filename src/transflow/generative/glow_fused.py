"""A trained Glow fused for inference: the same map, faster.

What no picture changes is computed once, in double: each step's channel affine map, its inverse, and
the sum of their log-determinants. Memory is channels-last throughout; a coupling changes its half in
place, in memory that its level owns; its network sees slices of the batch whose activations stay in the
processor's cache, in a precision of its own, while all that is added, multiplied and kept is in the flow's.
Which scale and shift a coupling makes of the network's numbers stands in `BoundedCoupling.scale_and_shift` alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from transflow.generative.bijections import BoundedCoupling, Cascade, ChannelAffine, ConvNet, Coupling
from transflow.generative.fused_conv import FusedConv
from transflow.generative.glow import Glow

SLICE = 2**20  # bytes of a network's widest activations at a time, a thread: those of a layer stay in its cache


class FusedAffine(nn.Module):
    """``z = A x + b`` at every pixel, with A's inverse and ``log |det A|`` computed once, in double.

    Args:
        trained: the map to fix. Its dtype is kept.
    """

    log_det: Tensor

    def __init__(self, trained: ChannelAffine) -> None:
        super().__init__()
        a, b, log_det = copy.deepcopy(trained).double().folded()
        inverse, like = torch.linalg.inv(a), trained.shift
        self.there = FusedConv(a[:, :, None, None].to(like), b.to(like))
        self.back = FusedConv(inverse[:, :, None, None].to(like), -(inverse @ b).to(like))
        self.register_buffer("log_det", log_det.detach())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant, (B,), in nats."""
        return self.there(x), (self.log_det * (x.shape[-1] * x.shape[-2])).to(x).expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        """Return x."""
        return self.back(z)


class FusedNet(nn.ModuleList):
    """A coupling's network with fixed weights, slice by slice of the batch.

    Args:
        net: the trained network.
        dtype: of its weights and activations.
    """

    def __init__(self, net: ConvNet, dtype: torch.dtype) -> None:
        convs = [
            FusedConv(layer.weight.to(dtype), cast(Tensor, layer.bias).to(dtype), isinstance(after, nn.ReLU))
            for layer, after in pairwise([*net, None])
            if isinstance(layer, nn.Conv2d)
        ]
        super().__init__(convs)
        self.bytes: int = max(conv.bias.nbytes for conv in convs)  # of a pixel, where the network is widest
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """Return the last layer's numbers, in the network's dtype."""
        first, middle, last = self
        x, slice_bytes = x.to(self.dtype), SLICE * torch.get_num_threads()
        most = max(1, slice_bytes // (self.bytes * x.shape[2] * x.shape[3]))
        if x.shape[0] <= most:
            return last(middle(first(x)))
        return torch.cat([last(middle(first(part))) for part in x.split(most)])

    __call__ = forward

    def hidden(self, x: Tensor) -> Tensor:
        """Return what the last layer gets: activations of 0 or more, (B, width, H, W)."""
        first, middle, _ = self
        return middle(first(x.to(self.dtype)))


class FusedCoupling(BoundedCoupling):
    """A coupling fused for inference: it writes its result into its input, and has no gradient.

    So its input must be memory of its caller's own that nobody else reads; `FusedLevel` sees to that.

    Args:
        trained: the coupling to fuse.
        dtype: of its network.
    """

    def __init__(self, trained: Coupling, dtype: torch.dtype) -> None:
        super().__init__(trained.halves, trained.affine, FusedNet(trained.net, dtype))

    def hidden(self, x: Tensor) -> Tensor:
        """Return the hidden activations of the network's last layer, in x's dtype."""
        return super().hidden(x).to(x.dtype)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z, in x's memory, and the log-determinant, (B,), in nats."""
        x_a, x_b = x.split(self.halves, 1)
        s, t = self.scale_and_shift(x_a)
        x_b.add_(t).mul_(s.exp())
        return x, s.sum((1, 2, 3))

    __call__ = forward

    def inverse(self, z: Tensor) -> Tensor:
        """Return x, in z's memory."""
        z_a, z_b = z.split(self.halves, 1)
        s, t = self.scale_and_shift(z_a)
        z_b.mul_((-s).exp()).sub_(t)
        return z


class FusedLevel(Cascade):
    """The steps of one level, channels-last; log-determinants that no picture changes are summed once.

    Couplings write into their input. Every other layer makes a new tensor, so only the first layer to run could write
    into what the level is given: if that is a coupling, the level copies its input first.

    Args:
        layers: fused ones.
        pixels: H W of this level.
    """

    def __init__(self, layers: list[nn.Module], pixels: int) -> None:
        super().__init__(layers)
        self.constant = sum(layer.log_det.item() * pixels for layer in self if isinstance(layer, FusedAffine))

    def begin(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the input channels-last, in memory that the first layer may write into, and the constant, (B,)."""
        return _owned(x, self[0]), x.new_full((len(x),), self.constant)

    def run(self, layers: Iterable[nn.Module], x: Tensor, log_det: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output of some of the layers, and the log-determinant so far with what varies of theirs added."""
        for layer in layers:
            if isinstance(layer, FusedAffine):
                x = layer.there(x)
            else:
                x, change = layer(x)
                log_det = log_det + change
        return x, log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Return x."""
        return super().inverse(_owned(z, self[-1]))


def _owned(x: Tensor, layer: nn.Module) -> Tensor:
    """Return a tensor channels-last, copied if the layer would write into it."""
    if isinstance(layer, FusedCoupling):
        return x.clone(memory_format=torch.channels_last)
    return x.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def fuse(flow: Glow, dtype: torch.dtype | None = None) -> Glow:
    """Return the same flow fused for inference, without gradients; later changes of the flow may not show in it.

    Args:
        flow: the trained flow; it is left as it is.
        dtype: of the coupling networks; None is the flow's own. bfloat16 is about twice as fast where
            the processor knows it, and both directions stay each other's inverse, since they see the
            same network.
    """

    def fix(layer: nn.Module) -> nn.Module:
        if isinstance(layer, ChannelAffine):
            return FusedAffine(layer)
        if isinstance(layer, Coupling):
            return FusedCoupling(layer, dtype or next(layer.parameters()).dtype)
        return copy.deepcopy(layer).requires_grad_(False)

    return flow.with_levels(
        FusedLevel([fix(layer) for layer in cast(Cascade, level)], height * width)
        for level, (_, height, width) in zip(flow.levels, flow.shapes, strict=True)
    )
