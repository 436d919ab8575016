"""Training in memory that does not grow with depth: activations are computed back from what came out.

Autograd keeps what every layer's gradient needs, so memory grows with the number of steps K. A flow
need not keep it: a level keeps its output ``z`` alone, and its backward pass goes from the last layer
to the first. Of each, it computes the input ``x = f^-1(z)``, the gradients of one small graph, and
forgets both. The price is one more pass through the coupling networks.

    L = L(z, log_det),   g = dL/dz,   h = dL/dlog_det:
    dL/dx = g dz/dx + h dlog_det/dx,   dL/dtheta likewise.

Rounding errors of the way back grow exponentially with depth: in single precision, sixty steps can turn
it into nonsense. So what goes from layer to layer is kept in double, while networks run in the precision of
their weights (or of autocast). A network's input is then rounded, but for a few of its numbers that lie next
to a tie, to what it was rounded to on the way forth, and what the network says is the same.

References: Gomez et al. 2017 (reversible residual networks, arXiv 1707.04585); MacKay et al. 2018 (errors
of the way back, arXiv 1810.10999).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from transflow.generative.bijections import BaseCoupling, Cascade, ChannelAffine
from transflow.generative.glow import Glow


def reversible(flow: Glow) -> Glow:
    """Return the same flow made for training in little memory; weights and gradients are shared.

    Both give, up to rounding, the same numbers and the same gradients; not gradients of gradients. Needs a
    device that has double precision.

    >>> from transflow.generative.glow import GlowConfig
    >>> flow = Glow(GlowConfig(size=8, steps=(2, 2), width=(4, 4)))
    >>> z, log_det = reversible(flow)(torch.rand(2, 3, 8, 8))
    >>> (z.square().sum() / 2 - log_det.sum()).backward()
    >>> all(p.grad is not None for p in flow.parameters())
    True
    """
    return flow.with_levels(ReversibleCascade(level) for level in flow.levels)  # type: ignore[arg-type]


class ReversibleCascade(Cascade):
    """A cascade that keeps nothing but its output for the way back."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant, (B,), in nats."""
        weights = [p for p in self.parameters() if p.requires_grad]
        z, log_det = _Reversed.apply(self, x, *weights)  # type: ignore[no-untyped-call]
        return z, log_det


class _Reversed(torch.autograd.Function):
    """A cascade as one operation on its input and its weights."""

    @staticmethod
    def forward(ctx: Any, cascade: ReversibleCascade, x: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        ctx.cascade = cascade
        kind = x.device.type
        ctx.autocast = {
            "device_type": kind,
            "dtype": torch.get_autocast_dtype(kind),
            "enabled": torch.is_autocast_enabled(kind),
            "cache_enabled": False,  # a weight cast here, without gradient, must not be met elsewhere
        }
        z, log_det = x.double(), x.new_zeros(len(x), dtype=torch.float64)
        with torch.autocast(**ctx.autocast):
            for layer in cascade:
                z, change = _forth(layer, z)
                log_det = log_det + change
        ctx.save_for_backward(z)
        return z.to(x.dtype, copy=True), log_det.to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor, h: Tensor) -> tuple[Tensor | None, ...]:
        (z,) = ctx.saved_tensors
        found: dict[Tensor, Tensor] = {}
        with torch.autocast(**ctx.autocast):
            for layer in reversed(ctx.cascade):
                weights = [p for p in layer.parameters() if p.requires_grad]
                z, g, gradients = _back(layer, z, g, h, weights)
                found.update(zip(weights, gradients, strict=True))
        weights = [p for p in ctx.cascade.parameters() if p.requires_grad]
        return None, g if ctx.needs_input_grad[1] else None, *(found[p] for p in weights)


def _forth(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a layer's forward returns, of and in double."""
    if isinstance(layer, BaseCoupling):
        x_a, x_b = x.split(layer.halves, 1)
        s, t = (part.double() for part in layer.scale_and_shift(x_a.to(_dtype(layer))))
        return torch.cat([x_a, (x_b + t) * s.exp()], 1), s.sum((1, 2, 3))
    if isinstance(layer, ChannelAffine):
        with torch.autocast(x.device.type, enabled=False):
            a, b, log_det = (part.double() for part in layer.folded())
            return _mixed(x, a) + b[:, None, None], (log_det * (x.shape[-1] * x.shape[-2])).expand(len(x))
    return layer(x)


def _back(
    layer: nn.Module, z: Tensor, g: Tensor, h: Tensor, weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
    """Return a layer's input in double, the gradient there, and those of its weights, from its output and gradients.

    What a layer does beside its network or matrix is so simple that its gradient is written out, which saves
    the second pass through the network that inverse and forward would take.
    """
    if isinstance(layer, BaseCoupling):  # z_b = e^s (x_b + t)
        z_a, z_b = z.split(layer.halves, 1)
        g_a, g_b = g.split(layer.halves, 1)
        with torch.enable_grad():
            x_a = z_a.to(_dtype(layer), copy=True).requires_grad_()
            s, t = layer.scale_and_shift(x_a)
        x = torch.cat([z_a, z_b / s.detach().double().exp() - t.detach()], 1)
        g_t = g_b * s.detach().exp()
        g_s = g_b * z_b.to(g) + h[:, None, None, None]
        through, *gradients = _grad((s, t), (x_a, *weights), (g_s, g_t))
        return x, torch.cat([g_a + through, g_t], 1), gradients
    if isinstance(layer, ChannelAffine):  # z = A x + b at every pixel
        with torch.autocast(z.device.type, enabled=False):
            with torch.enable_grad():
                a, b, log_det = layer.folded()
            x = _mixed(z - b.detach()[:, None, None], torch.linalg.inv(a.detach().double()))
            g_a = g.transpose(0, 1).flatten(1) @ x.to(g).transpose(0, 1).flatten(1).T
            given = (g_a, g.sum((0, 2, 3)), h.sum() * (z.shape[-1] * z.shape[-2]))
            return x, _mixed(g, a.detach().T), _grad((a, b, log_det), weights, given)
    x = layer.inverse(z)  # type: ignore[operator]
    with torch.enable_grad():
        seen = x.to(g, copy=True).requires_grad_()
        again, log_det = layer(seen)
    below, *gradients = _grad((again, log_det), (seen, *weights), (g, h))
    return x.detach(), below, gradients


def _dtype(layer: nn.Module) -> torch.dtype:
    return next(layer.parameters()).dtype


def _mixed(x: Tensor, a: Tensor) -> Tensor:
    """Return ``A x`` at every pixel: what a 1x1 convolution does, which has no fast way in double."""
    return (x.permute(0, 2, 3, 1) @ a.T).permute(0, 3, 1, 2)


def _grad(outputs: Sequence[Tensor], inputs: Sequence[Tensor], given: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the gradients at the inputs, given those at the outputs; some outputs may not depend on any."""
    pairs = [(output, gradient) for output, gradient in zip(outputs, given, strict=True) if output.requires_grad]
    if not pairs or not inputs:
        return ()
    return torch.autograd.grad([output for output, _ in pairs], inputs, [gradient for _, gradient in pairs])
