"""Training in memory that does not grow with depth: activations are computed back from what came out.

Autograd keeps what every layer's gradient needs, so memory grows with the number of steps K. A flow
need not keep it: a level keeps its output ``z`` alone, and its backward pass goes from the last layer
to the first. Of each, it computes the input ``x = f^-1(z)``, the gradients of one small graph, and
forgets both. The price is one more pass through the coupling networks, about a third of a step's time.

    L = L(z, log_det),   g = dL/dz,   h = dL/dlog_det:
    dL/dx = g dz/dx + h dlog_det/dx,   dL/dtheta likewise.

References: Gomez et al. 2017 (reversible residual networks, arXiv 1707.04585); Kingma and Dhariwal
2018 say of Glow that it can be trained so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transflow.generative.bijections import ChannelAffine, Coupling
from transflow.generative.glow import Cascade, Glow


def reversible(flow: Glow) -> Glow:
    """Return the same flow made for training in little memory; weights and gradients are shared.

    Both give the same numbers and, up to rounding, the same gradients; not gradients of gradients.

    >>> from transflow.generative.glow import GlowConfig
    >>> flow = Glow(GlowConfig(size=8, steps=(2, 2), width=(4, 4)))
    >>> z, log_det = reversible(flow)(torch.rand(2, 3, 8, 8))
    >>> (z.square().sum() / 2 - log_det.sum()).backward()
    >>> all(p.grad is not None for p in flow.parameters())
    True
    """
    made = Glow.__new__(Glow)
    nn.Module.__init__(made)
    made.config, made.shapes = flow.config, flow.shapes
    made.levels = nn.ModuleList(ReversibleCascade(level) for level in flow.levels)  # type: ignore[arg-type]
    return made


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
        with torch.autocast(**ctx.autocast):
            z, log_det = Cascade.forward(cascade, x)
        ctx.save_for_backward(z)
        return z, log_det

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


def _back(
    layer: nn.Module, z: Tensor, g: Tensor, h: Tensor, weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
    """Return a layer's input, the gradient there, and those of its weights, from its output and the gradients there.

    What a layer does beside its network or matrix is so simple that its gradient is written out, which saves
    the second pass through the network that inverse and forward would take.
    """
    if isinstance(layer, Coupling):  # z_b = e^s (x_b + t)
        z_a, z_b = z.split(layer.halves, 1)
        g_a, g_b = g.split(layer.halves, 1)
        with torch.enable_grad():
            x_a = z_a.detach().requires_grad_()
            s, t = layer.scale_and_shift(x_a)
        grown = s.detach().exp()
        g_t = g_b * grown
        g_s = g_b * z_b + h[:, None, None, None]
        x = torch.cat([z_a, z_b / grown - t.detach()], 1)
        through, *gradients = _grad((s, t), (x_a, *weights), (g_s, g_t))
        return x, torch.cat([g_a + through, g_t], 1), gradients
    if isinstance(layer, ChannelAffine):  # z = A x + b at every pixel
        with torch.autocast(z.device.type, enabled=False):
            with torch.enable_grad():
                a, b, log_det = layer.folded()
            inverse = torch.linalg.inv(a.detach().double()).to(a)
            x = F.conv2d(z - b.detach()[:, None, None], inverse[:, :, None, None])
            below = F.conv2d(g, a.detach().T[:, :, None, None])
            g_a = g.transpose(0, 1).flatten(1) @ x.transpose(0, 1).flatten(1).T
            g_log_det = h.sum() * (z.shape[-1] * z.shape[-2])
            given = (g_a, g.sum((0, 2, 3)), g_log_det)
            return x, below, _grad((a, b, log_det), weights, given)
    x = layer.inverse(z)  # type: ignore[operator]
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        again, log_det = layer(x)
    below, *gradients = _grad((again, log_det), (x, *weights), (g, h))
    return x.detach(), below, gradients


def _grad(outputs: Sequence[Tensor], inputs: Sequence[Tensor], given: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the gradients at the inputs, given those at the outputs; some outputs may not depend on any."""
    pairs = [(output, gradient) for output, gradient in zip(outputs, given, strict=True) if output.requires_grad]
    if not pairs or not inputs:
        return ()
    return torch.autograd.grad([output for output, _ in pairs], inputs, [gradient for _, gradient in pairs])
