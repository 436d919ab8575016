"""Flow++: couplings by mixtures of logistics, self-attention in their networks, and dequantisation that is learned.

    bins + v  ->  bins + u          (`dequantiser`: within its bin, given all bins)
              ->  checkerboards     (steps[0] couplings of one colour given the other)
              ->  squeeze, halves of channels   (steps[1])
              ->  checkerboards     (steps[2])  ->  z,

each coupling after an invertible map of the channels. A coupling changes a number by the distribution function of a
mixture of logistics (`mixture_coupling`), whose inverse is found by search to floating-point precision. No number
leaves early: z has one level, of all D numbers.

Reference: Ho, Chen, Srinivas, Duan and Abbeel 2019, *Flow++: Improving flow-based generative models with variational
dequantization and architecture design*, arXiv 1902.00275. Scales are bounded here, and networks have no dropout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transflow.generative.bijections import Cascade, ChannelAffine, Squeeze, squeeze, unsqueeze
from transflow.generative.dequantiser import Dequantiser, checkerboard_join, checkerboard_split
from transflow.generative.gated_attention import HEADS, GatedNet
from transflow.generative.mixture_coupling import Mixture
from transflow.plain_values import make_plain

MOST_SHIFTS = 8  # of a dequantiser; more of them could push a place to its bin's edge, in single precision


@dataclass(frozen=True)
class FlowPlusPlusConfig:
    """The architecture of a Flow++.

    Attributes:
        shape: of a picture, (C, H, W); the height is even, the width a multiple of 4.
        steps: couplings under checkerboards, under halves of the channels of the squeezed picture, and under
            checkerboards of it.
        width: hidden channels of the networks, a multiple of 4.
        depth: blocks of each.
        components: logistics of a mixture.
        attention: whether there is self-attention in the blocks.
        dequantiser: couplings of the dequantisation, 0 to 8, each of every second pixel; 0 leaves it uniform.
        bits: of a pixel and channel, whose bins the dequantisation is of; a run sets it to its own.
    """

    shape: tuple[int, int, int] = (3, 32, 32)
    steps: tuple[int, ...] = (4, 2, 3)
    width: int = 64
    depth: int = 2
    components: int = 8
    attention: bool = True
    dequantiser: int = 4
    bits: int = 8

    def __post_init__(self) -> None:
        make_plain(self)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"Expected a shape (C, H, W); got {self.shape}.")
        if self.shape[1] % 2 or self.shape[2] % 4:
            raise ValueError(f"Expected an even height and a width that is a multiple of 4; got {self.shape}.")
        if len(self.steps) != 3 or min(self.steps) < 0 or not sum(self.steps):
            raise ValueError(f"Expected three numbers of steps, not all 0; got {self.steps}.")
        if self.width < 1 or self.width % HEADS:
            raise ValueError(f"Expected a width that is a multiple of {HEADS}; got {self.width}.")
        if min(self.depth, self.components) < 1 or not 0 <= self.dequantiser <= MOST_SHIFTS:
            raise ValueError(
                f"Expected depth and components of 1 or more, and a dequantiser of 0 to {MOST_SHIFTS} couplings; "
                f"got {self.depth}, {self.components} and {self.dequantiser}."
            )
        if not 1 <= self.bits <= 8:
            raise ValueError(f"Expected 1 to 8 bits a pixel; got {self.bits}.")

    @property
    def fewest_weights(self) -> int:
        """A number of weights that its model has at least: those of the networks' hidden convolutions."""
        block = (27 if self.attention else 22) * self.width * self.width
        return (sum(self.steps) * self.depth * block) + self.dequantiser * 22 * self.width * self.width


class MixtureCoupling(nn.Module):
    """Change half of the numbers by a mixture that a network makes of the other half.

    Args:
        shape: of what it changes, (C, H, W).
        checkerboard: whether halves are the colours of a checkerboard, else halves of the channels.
        kept: 0 or 1, the half that stays.
        config: of the flow.
    """

    REACH = 3.0

    def __init__(self, shape: tuple[int, int, int], checkerboard: bool, kept: int, config: FlowPlusPlusConfig) -> None:
        super().__init__()
        channels, height, width = shape
        channels, width = (channels, width // 2) if checkerboard else (channels // 2, width)
        self.checkerboard, self.kept, self.components = checkerboard, kept, config.components
        outputs = channels * (3 * config.components + 2)
        self.net = GatedNet(channels, config.width, outputs, config.depth, (height, width), config.attention)
        bias = self.net.last.bias
        assert bias is not None
        with torch.no_grad():  # means apart, or the logistics would learn alike for ever
            means = bias.view(channels, -1)[:, config.components : 2 * config.components]
            means.copy_(torch.linspace(-1, 1, config.components + 2)[1:-1].expand_as(means))

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the half that stays, and the other."""
        a, b = checkerboard_split(x) if self.checkerboard else x.chunk(2, 1)
        return (b, a) if self.kept else (a, b)

    def whole(self, a: Tensor, b: Tensor) -> Tensor:
        """Return both halves as one."""
        a, b = (b, a) if self.kept else (a, b)
        return checkerboard_join(a, b) if self.checkerboard else torch.cat([a, b], 1)

    def mixture(self, a: Tensor) -> Mixture:
        """Return what the half that stays says of the other."""
        return Mixture.of(self.net(a.clamp(-self.REACH, self.REACH)).to(a.dtype), self.components)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant, (B,), in nats."""
        a, b = self.halves(x)
        z, slope = self.mixture(a).forward(b)
        return self.whole(a, z), slope.sum((1, 2, 3))

    def inverse(self, z: Tensor) -> Tensor:
        """Return x."""
        a, b = self.halves(z)
        return self.whole(a, self.mixture(a).inverse(b))


class FlowPlusPlus(nn.Module):
    """A picture of floats ``x`` in (-1/2, 1/2), (B, C, H, W), to a flat standard-normal latent ``z``, (B, D).

    Each number of the latent lies where its pixel does, so that it has spatial frequencies as a picture has.

    >>> flow = FlowPlusPlus(FlowPlusPlusConfig((1, 4, 4), steps=(1, 1, 1), width=4, depth=1, components=2))
    >>> z, log_det = flow(torch.rand(2, 1, 4, 4) - 0.5)
    >>> z.shape, log_det.shape, flow.inverse(z).shape
    (torch.Size([2, 16]), torch.Size([2]), torch.Size([2, 1, 4, 4]))
    """

    def __init__(self, config: FlowPlusPlusConfig) -> None:
        super().__init__()
        self.config = config
        channels, height, width = config.shape
        small = (4 * channels, height // 2, width // 2)
        self.dequantiser = Dequantiser(config.shape, config.bits, config.dequantiser, config.width)
        self.flow = Cascade(
            [
                *self._steps(config.shape, config.steps[0], True),
                Squeeze(),
                *self._steps(small, config.steps[1], False),
                *self._steps(small, config.steps[2], True),
            ]
        )

    def _steps(self, shape: tuple[int, int, int], count: int, checkerboard: bool) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for i in range(count):
            layers += [ChannelAffine(shape[0]), MixtureCoupling(shape, checkerboard, i % 2, self.config)]
        return layers

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        return self.config.shape

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """One level, of all D numbers."""
        return (math.prod(self.shape),)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents ``z``, (B, D), and ``log |det dz/dx|``, (B,), in nats."""
        x, log_det = self.dequantiser(x)
        z, change = self.flow(x)
        return unsqueeze(z).flatten(1), log_det + change

    def inverse(self, z: Tensor) -> Tensor:
        """Return pictures ``x``, (B, C, H, W), from latents ``z``, (B, D).

        Gradients pass the dequantisation as if nothing moved: its slope is 1 on average over a bin, and what a search
        for latents asks is how pictures change by more than a fraction of a grey level.
        """
        x = self.flow.inverse(squeeze(z.unflatten(1, self.shape)))
        return x + (self.dequantiser.inverse(x) - x).detach()

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Data-dependent start: what goes into each coupling has mean 0 and variance 1 on this batch."""
        x = self.dequantiser(x)[0]
        for layer in self.flow:
            if isinstance(layer, ChannelAffine):
                layer.initialise(x)
            x = layer(x)[0]
