"""NICE: additive couplings of every second number, a scale for each, and a logistic or normal prior.

A coupling adds to the numbers of odd place a function of those of even place, the next one the other way round, and
at the end each number is scaled,

    y = exp(s) h,    log |det| = sum s:

the couplings keep the volume. Pictures are whitened before, as the paper's are (see `whitening`). The prior of y is
normal, or logistic, of mean 0 and scale 1, as in the paper. A latent is standard normal here, so a logistic y goes
through both distribution functions, one number at a time,

    u = Phi^-1(sigmoid(y)),    log du/dy = log sigmoid(y) + log sigmoid(-y) - log N(u),

and the density is that of the logistic prior. Neither function is 1 in floating point far out but their logarithms are
exact there: of ``v = -|y|`` the equation ``log Phi(u) = log sigmoid(v)`` is solved by Newton's method, and its inverse
is in closed form, ``y = log Phi(u) - log Phi(-u)``.

Reference: Dinh, Krueger and Bengio 2015, *NICE: Non-linear independent components estimation*, arXiv 1410.8516.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transflow.generative.whitening import Whitening
from transflow.plain_values import make_plain

PriorKind = Literal["logistic", "normal"]
NEWTON = 6  # steps; from their start two to four bring double precision
LOGISTIC_DEVIATION = math.pi / math.sqrt(3)


@dataclass(frozen=True)
class NICEConfig:
    """The architecture of a NICE.

    Attributes:
        shape: of a picture, (C, H, W), of two numbers or more.
        steps: couplings; two or more, so that every number is changed.
        width: hidden units of the layers of a coupling's network.
        depth: its hidden layers.
        prior: ``"logistic"`` or ``"normal"``.
        whiten: whether pictures are whitened before the couplings, by the first of the training pictures.
    """

    shape: tuple[int, int, int] = (3, 32, 32)
    steps: int = 4
    width: int = 1000
    depth: int = 4
    prior: PriorKind = "logistic"
    whiten: bool = True

    def __post_init__(self) -> None:
        make_plain(self)
        if len(self.shape) != 3 or min(self.shape) < 1 or math.prod(self.shape) < 2:
            raise ValueError(f"Expected a shape (C, H, W) of two numbers or more; got {self.shape}.")
        if self.steps < 2 or min(self.width, self.depth) < 1:
            raise ValueError(
                "Expected two steps or more, and width and depth of 1 or more; "
                f"got {self.steps}, {self.width} and {self.depth}."
            )
        if self.prior not in get_args(PriorKind):
            raise ValueError(f"Expected prior {' or '.join(get_args(PriorKind))}; got {self.prior}.")

    @property
    def fewest_weights(self) -> int:
        """A number of weights that its model has at least: those of the networks' matrices."""
        size = math.prod(self.shape)
        return size + self.steps * self.width * (size + (self.depth - 1) * self.width)


class AdditiveCoupling(nn.Module):
    """Add to every second number a function of the others; the volume stays.

    Args:
        size: numbers D.
        kept: 0 or 1, the place from which on every second number stays as it is.
        width: hidden units.
        depth: hidden layers.
    """

    def __init__(self, size: int, kept: int, width: int, depth: int) -> None:
        super().__init__()
        self.kept = kept
        inputs = len(range(kept, size, 2))
        layers: list[nn.Module] = []
        for i in range(depth):
            layer = nn.Linear(width if i else inputs, width)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
            layers += [layer, nn.ReLU()]
        last = nn.Linear(width, size - inputs)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.net = nn.Sequential(*layers, last)

    def shift(self, x: Tensor) -> Tensor:
        """Return what is added, (B, D): zeros at the places that are kept."""
        added = torch.zeros_like(x)
        added[:, 1 - self.kept :: 2] = self.net(x[:, self.kept :: 2]).to(x.dtype)
        return added

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, D), and the log-determinant, zeros (B,)."""
        return x + self.shift(x), x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        """Return x."""
        return z - self.shift(z)


def normal_from_logistic(y: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``u = Phi^-1(sigmoid(y))`` and ``log du/dy``, element by element, in y's dtype; computed in double."""
    upper, there = y > 0, y.double()
    nearer = torch.where(upper, -there, there)  # the nearer tail; -|y|, but with a slope at 0
    log_p = F.logsigmoid(nearer)
    with torch.no_grad():
        far = -(-2 * log_p).sqrt()
        u = torch.where(log_p > -30, torch.special.ndtri(log_p.clamp(min=-30).exp()), far)
        for _ in range(NEWTON):
            u = u - (torch.special.log_ndtr(u) - log_p) * log_mills(u).exp()
    u = u - (torch.special.log_ndtr(u) - log_p) * log_mills(u).exp()  # once more, with the gradient of what is solved
    log_det = F.logsigmoid(-nearer) + log_mills(u)  # log p itself is log Phi(u)
    return torch.where(upper, -u, u).to(y.dtype), log_det.to(y.dtype)


def log_mills(u: Tensor) -> Tensor:
    """Return ``log Phi(u) - log N(u)`` for u of 0 or less, without the difference of two large numbers."""
    return (torch.special.erfcx(-u / math.sqrt(2)) * math.sqrt(math.pi / 2)).log()


def logistic_from_normal(u: Tensor) -> Tensor:
    """Return ``y = log Phi(u) - log Phi(-u)``, the inverse, in u's dtype; computed in double."""
    there = u.double()
    return (torch.special.log_ndtr(there) - torch.special.log_ndtr(-there)).to(u.dtype)


class NICE(nn.Module):
    """A picture of floats ``x``, (B, C, H, W), to a flat standard-normal latent ``z``, (B, D).

    >>> flow = NICE(NICEConfig((1, 4, 4), width=8, depth=1))
    >>> z, log_det = flow(torch.rand(2, 1, 4, 4) - 0.5)
    >>> z.shape, log_det.shape, flow.inverse(z).shape
    (torch.Size([2, 16]), torch.Size([2]), torch.Size([2, 1, 4, 4]))
    """

    def __init__(self, config: NICEConfig) -> None:
        super().__init__()
        self.config = config
        size = math.prod(config.shape)
        self.couplings = nn.ModuleList(
            AdditiveCoupling(size, i % 2, config.width, config.depth) for i in range(config.steps)
        )
        self.log_scale = nn.Parameter(torch.zeros(size))
        self.whitening = Whitening(config.shape) if config.whiten else None

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
        x, log_det = (x, x.new_zeros(len(x))) if self.whitening is None else self.whitening(x)
        z = x.flatten(1)
        for coupling in self.couplings:
            z, change = coupling(z)
            log_det = log_det + change
        z, log_det = z * self.log_scale.exp(), log_det + self.log_scale.sum()
        if self.config.prior == "logistic":
            z, slopes = normal_from_logistic(z)
            log_det = log_det + slopes.sum(1)
        return z, log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Return pictures ``x``, (B, C, H, W), from latents ``z``, (B, D)."""
        if self.config.prior == "logistic":
            z = logistic_from_normal(z)
        x = z * (-self.log_scale).exp()
        for coupling in reversed(self.couplings):
            x = coupling.inverse(x)  # type: ignore[operator]
        x = x.unflatten(1, self.shape)
        return x if self.whitening is None else self.whitening.inverse(x)

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Begin with scales at which the numbers of these pictures, (B, C, H, W), have the prior's mean square."""
        if self.whitening is not None:
            self.whitening.fit(x)
            x = self.whitening(x)[0]
        deviation = LOGISTIC_DEVIATION if self.config.prior == "logistic" else 1.0
        root = x.double().flatten(1).square().mean(0).sqrt()
        self.log_scale.copy_(math.log(deviation) - (root + 1e-3).log())
