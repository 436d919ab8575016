"""The new model: a model conditioned on evidence.

    posterior = model.condition(pictures)
    new       = model.decode(posterior.sample(16))

What is learned of the evidence decides what is drawn from (see `gaussians.learn`): combinations of a few pictures each,
the Gaussian of their covariance, variations of single pictures, or the paper's posterior of the mean,

    model.prior.condition(evidence, noise) = N(mu_p, Sigma_p)          (3)(4).

Evidence goes in and out exactly: added one by one equals all at once, and a picture taken away was never seen. Where an
encoder is not sure of a picture's latent and says so (an autoencoder), the mean of its variances is added to lambda I.

Reference: Gambardella, Baydin and Torr 2019, *Transflow Learning*, arXiv 1911.13270.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from transflow.conditioning import posterior_file, shown
from transflow.conditioning.between import latents_between
from transflow.conditioning.conditioned import Conditioned
from transflow.conditioning.distribution import PictureDistribution
from transflow.conditioning.gathered import Gathered
from transflow.conditioning.tempered import tempered
from transflow.devices import fresh_seed
from transflow.gaussians import interpolation
from transflow.gaussians.draws import Drawn
from transflow.gaussians.gaussian import Gaussian
from transflow.gaussians.learn import (
    parse_learn,
    varying,
)
from transflow.gaussians.mixture import Mixture
from transflow.gaussians.noise import NoiseSpec
from transflow.gaussians.parents import Parents
from transflow.latents.stream import PicturesLike
from transflow.plain_values import one_line
from transflow.store.files import PathLike
from transflow.store.locks import locked_file


@dataclass(frozen=True, eq=False)
class Posterior(Conditioned):
    """A model conditioned on evidence: the new model. Its attributes are those of `Conditioned`."""

    @property
    def said(self) -> NoiseSpec:
        """The noise as it was given; `spec` is its name now."""
        warnings.warn("Posterior.said is Posterior.spec now, and goes in the next version.", DeprecationWarning, 2)
        return self.spec

    def __repr__(self) -> str:
        return one_line(self, repr(self.model), f"{self.evidence.count} pictures", f"noise {self.spec}")

    def _repr_png_(self) -> bytes | None:
        """The evidence and samples, for notebooks; None of models whose pictures cannot be seen."""
        return self._shown if self.model.shape[0] in (1, 3) else None

    def _repr_html_(self) -> str | None:
        """The same with a line of words."""
        return shown.as_html(self, self._shown) if self.model.shape[0] in (1, 3) else None

    @cached_property
    def _shown(self) -> bytes:
        """Drawn once: a notebook asks for every form that there is."""
        return shown.png(self)

    def as_distribution(self, *, predictive: bool = False) -> PictureDistribution:
        """Return the posterior over pictures as one of `torch.distributions`: samples, gradients, densities.

        Its latents are of the Gaussian that the posterior knows, `gaussian`: of parents and mixtures, the one that is
        learned of the same evidence. Nothing is shortened (see `conditioning.tempered`): samples are of the density.

        Args:
            predictive: of one more picture of the evidence's kind, instead.
        """
        return PictureDistribution(self.model, self.predictive if predictive else self.gaussian)

    def with_learn(self, learn: str | None = None, novelty: float | None = None, *, long: bool = False) -> Posterior:
        """Return the posterior of the same evidence, drawn from in another way.

        Args:
            learn: "parents", "parents:N", "covariance", "mixture" or "mean" (see `gaussians.learn`).
            novelty: of parents or a mixture: 0 the evidence itself, 1 its Gaussian.
            long: draw from pictures whose latents are far too long, too.

        Raises:
            ValueError: the posterior holds no latents to draw from, or too few pictures for so many parents.
        """
        other = parse_learn(learn, novelty, long=long)
        if other.keeps_latents and self.kept is None:
            raise ValueError(
                f'Expected a posterior that holds latents of pictures, for "{other}"; got one that holds their sums '
                "alone, as those of earlier versions and of a noise do. Condition on the pictures anew, without noise."
            )
        return replace(self, learn=other).checked()

    def sample(
        self,
        n: int = 16,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        *,
        seed: int | None = None,
    ) -> Tensor:
        """Return n latents, shape (n, D), for ``model.decode``; `pictures` does both."""
        return self._tempered(self.drawn.sample(n, generator, temperature, seed=seed))

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

    def draw(
        self,
        n: int = 16,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        *,
        seed: int | None = None,
    ) -> Drawn:
        """Return n latents as `sample` does, with the numbers of the evidence pictures each is made of, from 0.

        Raises:
            ValueError: its samples are made of all of the evidence.
        """
        drawn = self.chosen.drawn
        if not isinstance(drawn, (Parents, Mixture)):
            raise ValueError(
                f'Expected a posterior whose samples are made of single pictures, by "parents" or a "mixture"; got '
                f'"{self.learn}", of all of the evidence.'
            )
        found = self.gathered.numbered(drawn.draw(n, generator, temperature, seed=seed))
        return replace(found, latents=self._tempered(found.latents))

    def vary(
        self,
        picture: int,
        n: int = 16,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        *,
        seed: int | None = None,
    ) -> Drawn:
        """Return n latents of variations of one evidence picture: its coarsest level, finer ones of it and others.

        Args:
            picture: its number in the evidence, as it came, from 0.
            n: how many.
            generator: as `sample` takes it.
            temperature: as `sample` takes it.
            seed: as `sample` takes it.

        Raises:
            ValueError: there is no such picture, its latent is not kept, or there are too few others.
        """
        row = self.gathered.row_of(picture)
        assert self.kept is not None
        parents = self.chosen.drawn
        if not isinstance(parents, Parents) or self.learn.parents is None:
            parents = varying(self.kept, self.model.level_sizes, self.model.shape, long=self.learn.long)
        found = self.gathered.numbered(parents.vary(row, n, generator, temperature, seed=seed))
        return replace(found, latents=tempered(self.model, found.latents, parents.mean, parents.novelty))

    def interpolate(self, other: Posterior, steps: int = 8) -> list[Gaussian]:
        """Return the Gaussians on the way to another posterior of the same model (see `gaussians.interpolation`)."""
        self.check_same_model(other)
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
            direct: go on straight lines between samples of both ends, instead of through the distributions'
                parameters (see `gaussians.interpolation`).
        """
        seed = fresh_seed() if seed is None else seed
        self.check_same_model(other)
        pieces = direct or self.made_of_pictures or other.made_of_pictures
        ends = (self.drawn, other.drawn) if pieces else (self.gaussian, other.gaussian)
        novelty = min(self.newness, other.newness)
        latents = latents_between(
            self.model, *ends, steps, n, seed, temperature=temperature, direct=direct, novelty=novelty
        )
        return self.model.decode(latents.flatten(0, 1)).unflatten(0, (steps, n))

    def add(self, pictures: PicturesLike) -> Posterior:
        """Return the posterior with more evidence: the same as if all had come at once."""
        kinds = {"keep": self.kept is not None, "sketched": self.sketch is not None}
        return self._with(self.gathered + Gathered.all_of(self.model, pictures, **kinds))

    def remove(self, pictures: PicturesLike) -> Posterior:
        """Return the posterior without these pictures: the same as if they had never been seen.

        Raises:
            ValueError: one of them is not part of the evidence, or was with another latent; or no kept one would stay.
        """
        sketched = self.sketch is not None and self.learn.gathers["sketched"]  # else it is of no use, and left behind
        less = Gathered.all_of(self.model, pictures, keep=False, sketched=sketched)
        return self._with((self.gathered if sketched else replace(self.gathered, sketch=None)) - less)

    def save(self, path: PathLike) -> None:
        """Write the posterior as one safetensors file; `load_posterior` reads it back (see `posterior_file`)."""
        with locked_file(path):
            posterior_file.write(path, self.model, self.gathered, self.spec, self.learn)

    def _tempered(self, latents: Tensor) -> Tensor:
        return tempered(self.model, latents, self.drawn.mean, self.newness)

    def _with(self, gathered: Gathered) -> Posterior:
        return replace(self, **vars(gathered)).checked()

    def checked(self) -> Posterior:
        """Return this, if its noise and number of parents fit the evidence: raise now, not at the first sample."""
        if self.evidence.count and (self.learn.parents is not None or self.chosen.drawn is None):
            _ = self.chosen.drawn or self.noise
        return self

    def check_same_model(self, other: Posterior) -> None:
        """Raise `ValueError` if another posterior is of another model, and `TypeError` if it is none."""
        if not isinstance(other, Posterior):
            raise TypeError(f"Expected a posterior; got {type(other).__name__}. load_posterior reads one from a file.")
        if not self.model.is_same_model(other.model):
            raise ValueError("Expected two posteriors of the same model; got posteriors of different ones.")
