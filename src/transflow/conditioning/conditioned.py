"""What is known of latents given evidence, and the distribution that samples come from.

In the paper's way, of the mean latent alone, N(mu_p, Sigma_p); else what `gaussians.learn` chooses for the evidence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from transflow.base_model import BaseModel
from transflow.conditioning.gathered import Gathered
from transflow.gaussians.draws import LatentDistribution
from transflow.gaussians.evidence import Evidence
from transflow.gaussians.gaussian import Gaussian
from transflow.gaussians.kept import Kept
from transflow.gaussians.learn import MEAN, Chosen, Learn, choose, learned
from transflow.gaussians.mixture import Mixture
from transflow.gaussians.noise import Fixed, Noise, NoiseSpec, choose_noise, parse_noise
from transflow.gaussians.parents import Parents
from transflow.gaussians.sketch import Sketch

DEFAULT_NOISE = "typical"
LONGEST = 0.95  # tau of "typical" at most: at 1 nothing of the evidence is left


@dataclass(frozen=True, eq=False)
class Conditioned:
    """A model, its evidence, and what is learned of it.

    Attributes:
        model: the old model.
        evidence: statistics of the evidence's latents.
        spec: the noise, as it was given; what the paper's way is drawn with.
        digests: a hash of each evidence picture's pixels, so that only what went in is taken out.
        variance: the encoder's own variances of these latents, summed, shape (D,), double; None without.
        kept: latents of pictures of the evidence, to draw from; None where their sums alone are kept.
        learn: what is learned, and how new its samples are.
        sketch: how all latents vary, for "covariance" of more pictures than latents are kept of; None without.
    """

    model: BaseModel
    evidence: Evidence
    spec: NoiseSpec = DEFAULT_NOISE
    digests: tuple[str, ...] = field(default=(), repr=False)
    variance: Tensor | None = field(default=None, repr=False)
    kept: Kept | None = field(default=None, repr=False)
    learn: Learn = MEAN
    sketch: Sketch | None = field(default=None, repr=False)

    @cached_property
    def noise(self) -> Noise:
        """lambda, chosen for this evidence; "typical" without a number takes the model's best temperature."""
        spec, tau = self.spec, self.model.temperature
        if tau is not None and isinstance(spec, str) and spec.strip().lower() == "typical":
            spec = f"typical:{min(tau, LONGEST):g}"
        return choose_noise(spec, self.evidence, self.model.prior)

    @cached_property
    def chosen(self) -> Chosen:
        """What is drawn from, with a note on it; of no evidence, and in the paper's way, the `gaussian`."""
        if self.kept is None or not self.evidence.count:
            return Chosen()
        return choose(self.learn, self.kept, self.model.level_sizes, self.model.shape, self.sketch)

    @cached_property
    def gaussian(self) -> Gaussian:
        """The Gaussian over latents: of the learned covariance, or in the paper's way N(mu_p, Sigma_p).

        It is what the posterior knows, for densities, beside how it draws; the prior where there is no evidence.
        """
        if not self.evidence.count:
            return self.model.prior
        if self.kept is not None and self.chosen.drawn is not None:
            return learned(self.learn, self.kept, self.model.level_sizes, self.sketch).gaussian
        return self.model.prior.condition(self.evidence, self._noise_covariance)

    @property
    def predictive(self) -> Gaussian:
        """The distribution of one more picture's latent: in the paper's way N(mu_p, Sigma_p + lambda I).

        Without evidence it is the prior, or N(mu_0, Sigma_0 + lambda I) where lambda was given as a number. A learned
        Gaussian is its own predictive.
        """
        if self.chosen.drawn is not None:
            return self.gaussian
        if self.evidence.count:
            return self.gaussian.predictive(self._noise_covariance)
        rule = parse_noise(self.spec)
        return self.gaussian.predictive(rule.lam) if isinstance(rule, Fixed) else self.gaussian

    @property
    def drawn(self) -> LatentDistribution | Gaussian:
        """The distribution that samples come from."""
        return self.gaussian if self.chosen.drawn is None else self.chosen.drawn

    @property
    def made_of_pictures(self) -> bool:
        """Whether each sample is made of single pictures of the evidence: by parents, or a mixture."""
        return isinstance(self.chosen.drawn, (Parents, Mixture))

    @property
    def gathered(self) -> Gathered:
        """The evidence with what belongs to each picture."""
        return Gathered(self.evidence, self.digests, self.variance, self.kept, self.sketch)

    @property
    def _noise_covariance(self) -> float | Tensor:
        if self.variance is None:
            return self.noise.value
        return self.noise.value + self.variance / self.evidence.count

    @property
    def newness(self) -> float:
        """How new samples are: 0 the evidence itself, 1 its Gaussian."""
        drawn = self.chosen.drawn
        return drawn.novelty if isinstance(drawn, (Parents, Mixture)) else 1.0
