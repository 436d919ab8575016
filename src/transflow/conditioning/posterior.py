"""The new model: a model conditioned on evidence.

    posterior = model.prior.condition(evidence, noise)          N(mu_p, Sigma_p) over latents, (3)(4)
    new       = model.decode(posterior.sample(16))

Evidence goes in and out exactly: added one by one equals all at once, and a picture taken away was never seen. Where an
encoder is not sure of a picture's latent and says so (an autoencoder), the mean of its variances is added to lambda I.

Reference: Gambardella, Baydin and Torr 2019, *Transflow Learning*, arXiv 1911.13270.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from transflow.base_model import BaseModel
from transflow.devices import fresh_seed
from transflow.gaussians import interpolation
from transflow.gaussians.evidence import Evidence
from transflow.gaussians.gaussian import Gaussian
from transflow.gaussians.noise import Fixed, Noise, NoiseSpec, choose_noise, parse_noise
from transflow.latents.stream import PicturesLike, stream
from transflow.plain_values import one_line
from transflow.store import container
from transflow.store.files import PathLike
from transflow.store.identity import digest

DEFAULT_NOISE = "typical"
LONGEST = 0.95  # tau of "typical" at most: at 1 nothing of the evidence is left
POSTERIOR = container.Schema(
    "posterior",
    {"model": str, "fingerprint": str, "precision": str, "noise": (str, float, int), "count": int},
    frozenset({"total", "scatter", "digests"}),
)


@dataclass(frozen=True, eq=False)
class Posterior:
    """A model conditioned on evidence: the new model.

    Attributes:
        model: the old model.
        evidence: statistics of the evidence's latents.
        spec: the noise, as it was given.
        digests: a hash of each evidence picture's pixels, so that only what went in is taken out.
        variance: the encoder's own variances of these latents, summed, shape (D,), double; None without.
    """

    model: BaseModel
    evidence: Evidence
    spec: NoiseSpec = DEFAULT_NOISE
    digests: tuple[str, ...] = field(default=(), repr=False)
    variance: Tensor | None = field(default=None, repr=False)

    @property
    def said(self) -> NoiseSpec:
        """The noise as it was given; `spec` is its name now."""
        warnings.warn("Posterior.said is Posterior.spec now, and goes in the next version.", DeprecationWarning, 2)
        return self.spec

    def __repr__(self) -> str:
        return one_line(self, repr(self.model), f"{self.evidence.count} pictures", f"noise {self.spec}")

    @cached_property
    def noise(self) -> Noise:
        """lambda, chosen for this evidence; "typical" without a number takes the model's best temperature."""
        spec, tau = self.spec, self.model.temperature
        if tau is not None and isinstance(spec, str) and spec.strip().lower() == "typical":
            spec = f"typical:{min(tau, LONGEST):g}"
        return choose_noise(spec, self.evidence, self.model.prior)

    @cached_property
    def gaussian(self) -> Gaussian:
        """N(mu_p, Sigma_p) over latents; the prior where there is no evidence."""
        prior = self.model.prior
        return prior.condition(self.evidence, self._noise_covariance) if self.evidence.count else prior

    @property
    def predictive(self) -> Gaussian:
        """N(mu_p, Sigma_p + lambda I): the distribution of one more picture's latent.

        Without evidence nothing is known of how pictures differ: it is the prior, or N(mu_0, Sigma_0 + lambda I) where
        lambda was given as a number.
        """
        if self.evidence.count:
            return self.gaussian.predictive(self._noise_covariance)
        rule = parse_noise(self.spec)
        return self.gaussian.predictive(rule.lam) if isinstance(rule, Fixed) else self.gaussian

    @property
    def _noise_covariance(self) -> float | Tensor:
        if self.variance is None:
            return self.noise.value
        return self.noise.value + self.variance / self.evidence.count

    def sample(
        self,
        n: int = 16,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        *,
        seed: int | None = None,
    ) -> Tensor:
        """Return n latents, shape (n, D), for ``model.decode``; `pictures` does both."""
        return self.gaussian.sample(n, generator, temperature, seed=seed)

    def pictures(
        self,
        n: int = 16,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        *,
        seed: int | None = None,
    ) -> Tensor:
        """Return n new pictures, floats in [0, 1], shape (n, C, H, W)."""
        return self.model.decode(self.sample(n, generator, temperature, seed=seed))

    def interpolate(self, other: Posterior, steps: int = 8) -> list[Gaussian]:
        """Return the Gaussians on the way to another posterior of the same model (see `gaussians.interpolation`)."""
        if not isinstance(other, Posterior):
            raise TypeError(f"Expected a posterior; got {type(other).__name__}. load_posterior reads one from a file.")
        known = bool(self.model.fingerprint) or self.model.source is other.model.source
        if self.model.fingerprint != other.model.fingerprint or not known:
            raise ValueError("Expected two posteriors of the same model; got posteriors of different ones.")
        return interpolation.interpolate(self.gaussian, other.gaussian, steps)

    def strip(
        self,
        other: Posterior,
        steps: int = 8,
        n: int = 4,
        *,
        seed: int | None = None,
        temperature: float = 1.0,
        direct: bool = False,
    ) -> Tensor:
        """Return pictures on the way to another posterior of the same model: (steps, n, C, H, W).

        Args:
            other: where the way ends.
            steps: how many stops, both ends included.
            n: how many samples are followed; each keeps its random draws all the way.
            seed: of the draws.
            temperature: multiplies the standard deviation.
            direct: go on straight lines between samples of both ends, instead of through the
                Gaussians' parameters.
        """
        seed = fresh_seed() if seed is None else seed
        stops = self.interpolate(other, steps)
        latents = torch.stack([stop.sample(n, seed=seed, temperature=temperature) for stop in stops])
        if direct:
            end = stops[-1].sample(n, seed=seed + 1, temperature=temperature)
            latents = interpolation.straight_lines(latents[0], end, steps)
        return self.model.decode(latents.flatten(0, 1)).unflatten(0, (steps, n))

    def add(self, pictures: PicturesLike) -> Posterior:
        """Return the posterior with more evidence: the same as if all had come at once."""
        more = self._of(pictures)
        variance = more.variance if self.variance is None else self.variance + more._variance
        return self._with(self.evidence + more.evidence, self.digests + more.digests, variance)

    def remove(self, pictures: PicturesLike) -> Posterior:
        """Return the posterior without these pictures: the same as if they had never been seen.

        Raises:
            ValueError: one of them is not part of the evidence, or was with another latent.
        """
        less = self._of(pictures)
        left = Counter(self.digests)
        unknown = []
        for number, key in enumerate(less.digests, 1):
            left[key] -= 1
            unknown += [number] if left[key] < 0 else []
        if unknown:
            which = ", ".join(map(str, unknown[:5]))
            raise ValueError(
                f"Expected pictures that are in the evidence; {len(unknown)} of {len(less.digests)} are not "
                f"(numbers {which}). Nothing was changed."
            )
        try:
            rest = self.evidence - less.evidence
        except ValueError:
            raise ValueError(
                "Expected the latents that these pictures had as evidence; got others, such as another precision's "
                f"(this model's is {self.model.precision or 'not known'}). Nothing was changed."
            ) from None
        variance = None if self.variance is None else (self.variance - less._variance).clamp(min=0)
        return self._with(rest, tuple(left.elements()), variance)

    def save(self, path: PathLike) -> None:
        """Write the posterior as one safetensors file; `load_posterior` reads it back.

        The file of a model without a fingerprint is marked as such: it opens with any model without one, and nothing
        can tell whether that is the same.
        """
        digests = torch.from_numpy(np.array(bytearray.fromhex("".join(self.digests)), dtype=np.uint8))
        tensors = {"total": self.evidence.total, "scatter": self.evidence.scatter, "digests": digests}
        if self.variance is not None:
            tensors["variance"] = self.variance
        header = {
            "model": self.model.name,
            "fingerprint": self.model.fingerprint,
            "precision": self.model.precision,
            "noise": self.spec if isinstance(self.spec, str) else float(self.spec),
            "count": self.evidence.count,
        }
        container.write(path, POSTERIOR.kind, tensors, header)

    @property
    def _variance(self) -> Tensor:
        return torch.zeros_like(self.evidence.total) if self.variance is None else self.variance

    def _with(self, evidence: Evidence, digests: tuple[str, ...], variance: Tensor | None) -> Posterior:
        changed = replace(self, evidence=evidence, digests=digests, variance=variance)
        if evidence.count:
            _ = changed.noise  # raise now, not at the first sample, if no noise fits this evidence
        return changed

    def _of(self, pictures: PicturesLike) -> Posterior:
        """These pictures alone as evidence; no noise is chosen."""
        digests: list[str] = []
        evidence = Evidence.none(self.model.dim, device=self.model.device)
        variance: Tensor | None = None
        for part in stream(self.model, pictures):
            digests += map(_digest, part.digests)
            evidence += Evidence.of(part.latents)
            if part.variance is not None:
                more = part.variance.double().sum(0)
                variance = more if variance is None else variance + more
        if not digests:
            raise ValueError("Expected at least one picture; got none.")
        return replace(self, evidence=evidence, digests=tuple(digests), variance=variance)


def _digest(key: str) -> str:
    """A picture's hash as a posterior keeps it, 32 hexadecimal digits, of a hash of any other form."""
    return key if re.fullmatch("[0-9a-f]{32}", key) else digest(key.encode())
