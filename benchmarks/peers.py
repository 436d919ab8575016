"""Our Glow built from the parts of other libraries, with the same weights.

Their couplings take any network, so ours goes in whole: clamp, convolutions, bounded log-scale. What their
parts cannot say is the order of factors in the 1x1 convolution (nflows has a permutation on the other side
and a positive diagonal), so `comparable` makes a flow of ours with no permutation and positive signs.
"""

from __future__ import annotations

import normflows as nf
import torch
from nflows import transforms as nt
from torch import Tensor, nn

from transflow import Glow, GlowConfig
from transflow.generative.bijections import ChannelAffine, ConvNet, Coupling, soft_bound


def comparable(config: GlowConfig, seed: int) -> Glow:
    """A flow of ours with random weights, standardised step by step, that the peers' parts can express."""
    torch.manual_seed(seed)
    flow = Glow(config)
    with torch.no_grad():
        for module in flow.modules():
            if isinstance(module, ChannelAffine):
                n = len(module.shift)
                module.permutation_matrix.copy_(torch.eye(n))
                module.sign.fill_(1)
                module.log_s.zero_()  # without pivots, a rotation's factors would be badly conditioned
                for factor in (module.lower, module.upper):
                    factor.normal_(std=0.2 / n**0.5)
            if isinstance(module, Coupling):
                last = module.net[-1]
                nn.init.normal_(last.weight, std=0.1 / (9 * last.in_channels) ** 0.5)
        flow.initialise(torch.rand(16, *flow.shape) - 0.5)
    return flow.to(memory_format=torch.channels_last).requires_grad_(False).eval()


class Parameters(nn.Module):
    """Our coupling's network with the outputs in another order, for the peers' couplings."""

    def __init__(self, coupling: Coupling, order: list[int], signs: Tensor, scales: slice) -> None:
        super().__init__()
        first, relu, middle, _, last = coupling.net
        made = nn.Conv2d(last.in_channels, last.out_channels, 3, padding=1)
        made.weight.data, made.bias.data = last.weight[order] * signs[:, None, None, None], last.bias[order] * signs
        self.net, self.scales = nn.Sequential(first, relu, middle, relu, made), scales

    def forward(self, x: Tensor, context: object = None) -> Tensor:
        raw = self.net(x.clamp(-Coupling.REACH, Coupling.REACH))
        s = soft_bound(raw[:, self.scales]).clamp(-Coupling.STEEPEST, Coupling.STEEPEST)
        raw[:, self.scales] = s
        return raw


def of_normflows(flow: Glow) -> nn.Module:
    """A `normflows.MultiscaleFlow` of its GlowBlocks; its inverse is our forward."""

    def coupling_into(block: nn.Module, ours: Coupling) -> nn.Module:
        b = ours.halves[1]
        order = [i for pair in zip(range(b, 2 * b), range(b), strict=True) for i in pair]  # shift, scale, ...
        block.flows[1].param_map = Parameters(ours, order, -torch.ones(2 * b), slice(1, None, 2))
        return block

    levels, bases, merges = [], [], []
    for level, shape, width in zip(flow.levels, flow.shapes, flow.config.width, strict=True):
        *steps, last = level
        channels = sum(steps[1].halves)
        if isinstance(last, Coupling):
            empty = ConvNet(1, 1, 1)
            layers = [coupling_into(nf.flows.AffineCouplingBlock(empty, True, "exp"), last)]
            merges.append(nf.flows.Merge())
        else:
            layers = [nf.flows.affine.coupling.AffineConstFlow(shape)]
            layers[0].s.data, layers[0].t.data = -soft_bound(last.log_scale)[None], -last.shift[None]
        for affine, coupling in reversed(list(zip(steps[::2], steps[1::2], strict=True))):
            block = nf.flows.GlowBlock(channels, width, scale_map="exp")
            coupling_into(block.flows[0], coupling)
            conv, norm = block.flows[1], block.flows[2]
            conv.P, conv.sign_S = affine.permutation_matrix, affine.sign
            conv.L.data, conv.U.data, conv.log_S.data = affine.lower.data, affine.upper.data, affine.log_s.data
            norm.s.data = -affine.log_scale.data.view_as(norm.s)
            norm.t.data = -affine.shift.data.view_as(norm.t)
            norm.data_dep_init_done = torch.tensor(1.0)
            layers.append(block)
        layers.append(nf.flows.Squeeze())
        levels.insert(0, layers)
        bases.insert(0, nf.distributions.DiagGaussian(shape, trainable=False))
    return nf.MultiscaleFlow(bases, levels, merges, class_cond=False).requires_grad_(False).eval()


class Affine(nt.AffineCouplingTransform):
    """Its affine coupling, with ``z = exp(s) (x + t)`` in place of its sigmoid."""

    def _scale_and_shift(self, transform_params: Tensor) -> tuple[Tensor, Tensor]:
        t, s = transform_params.chunk(2, 1)
        scale = s.exp()
        return scale, t * scale


class OfNflows(nn.Module):
    """Its composite transforms, level by level. (Its own multi-scale class lets the other half leave.)"""

    def __init__(self, flow: Glow) -> None:
        super().__init__()
        self.shapes, self.sizes, self.levels = flow.shapes, flow.level_sizes, nn.ModuleList()
        for level in flow.levels:
            layers: list[nn.Module] = [nt.SqueezeTransform()]
            for layer in level:
                layers += self.parts(layer)
            self.levels.append(nt.CompositeTransform(layers))
        self.requires_grad_(False).eval()

    @staticmethod
    def parts(ours: nn.Module) -> list[nn.Module]:
        if isinstance(ours, ChannelAffine):
            n = len(ours.shift)
            norm, conv = nt.ActNorm(n), nt.OneByOneConvolution(n)
            norm.log_scale.data, norm.shift.data = ours.log_scale.data, ours.shift * ours.log_scale.exp()
            norm.initialized.fill_(True)
            conv.permutation._permutation = torch.arange(n)
            conv.lower_entries.data = ours.lower[conv.lower_indices[0], conv.lower_indices[1]]
            conv.upper_entries.data = ours.upper[conv.upper_indices[0], conv.upper_indices[1]]
            conv.unconstrained_upper_diag.data = (ours.log_s.exp() - conv.eps).expm1().log()
            conv.bias.data.zero_()
            return [norm, conv]
        if isinstance(ours, Coupling):
            a, b = ours.halves
            order = [*range(b, 2 * b), *range(b)]
            return [Affine([0] * a + [1] * b, lambda *_: Parameters(ours, order, torch.ones(2 * b), slice(b, None)))]
        scale = soft_bound(ours.log_scale).exp()
        return [nt.PointwiseAffineTransform(ours.shift * scale, scale)]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        parts, log_det = [], x.new_zeros(len(x))
        for i, level in enumerate(self.levels):
            x, change = level(x)
            log_det = log_det + change
            if i + 1 < len(self.levels):
                x, z = x.chunk(2, 1)
                parts.append(z.flatten(1))
        return torch.cat([*parts, x.flatten(1)], 1), log_det

    def inverse(self, z: Tensor) -> Tensor:
        parts = [p.unflatten(1, s) for p, s in zip(z.split(self.sizes, 1), self.shapes, strict=True)]
        x = parts.pop()
        for level in reversed(self.levels):
            if level is not self.levels[-1]:
                x = torch.cat([x, parts.pop()], 1)
            x = level.inverse(x)[0]
        return x


def network_flops(flow: Glow) -> float:
    """Multiplications and additions of the coupling networks' convolutions for one picture."""
    total = 0.0
    for level, (_, height, width) in zip(flow.levels, flow.shapes, strict=True):
        for coupling in level:
            if isinstance(coupling, Coupling):
                weights = sum(layer.weight.numel() for layer in coupling.net if isinstance(layer, nn.Conv2d))
                total += 2.0 * weights * height * width
    return total
