"""Where a model meets inference: the old model, a handful of pictures, the new model.

    z         = model.encode(pictures)
    evidence  = Evidence.of(z)
    posterior = model.prior.condition(evidence, noise)
    new       = model.decode(posterior.sample(16))

`Model` wraps anything with ``encode``, ``decode`` and ``prior``, and `Posterior` is the new model.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from transflow.gaussians import interpolation
from transflow.gaussians import noise as noises
from transflow.gaussians.evidence import Evidence
from transflow.gaussians.gaussian import Gaussian
from transflow.gaussians.noise import Noise, NoiseSpec
from transflow.latents import stream as streaming
from transflow.latents.stream import Encoded, Latents
from transflow.latents.stream import PathLike as PathLike
from transflow.latents.stream import Pictures as Pictures
from transflow.metrics import bits_per_dim
from transflow.pictures import decode as data
from transflow.pictures.preprocess import BATCH
from transflow.store import container as checkpoint
from transflow.store.identity import digest

DEFAULT_NOISE = "typical"
POSTERIOR = checkpoint.Schema(
    "posterior",
    {"model": str, "fingerprint": str, "precision": str, "noise": (str, float, int), "count": int},
    frozenset({"total", "scatter", "digests"}),
)


@runtime_checkable
class Invertible(Protocol):
    """What a model must have to be repurposed: pictures to flat latents, and back, and a prior on them."""

    @property
    def prior(self) -> Gaussian:
        """The distribution of the latents."""

    def encode(self, pictures: Any) -> Tensor:
        """Return latents (B, D) of B pictures."""

    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures (B, C, H, W), floats in [0, 1], of latents (B, D)."""


@dataclass(frozen=True)
class Scores:
    """How likely pictures are under a model, one number each, shape (B,), double.

    Attributes:
        log_prob: log density at the bin centres, in nats.
        bits_per_dim: the same in bits per dimension; less than the average over the bins that training
            reports, and below 0 for flat pictures, since it is a density where it is highest.
        radius: ``|z| / sqrt(D)``, near 1 for what the model takes for typical.
    """

    log_prob: Tensor
    bits_per_dim: Tensor
    radius: Tensor


@dataclass(frozen=True)
class Reconstruction:
    """Pictures before and after encode and decode.

    Attributes:
        pictures: as the model sees them, floats in [0, 1], (B, C, H, W).
        decoded: after the round trip, likewise.
        errors: the largest difference of each, (B,), 1 being the whole range.
    """

    pictures: Tensor
    decoded: Tensor
    errors: Tensor


@dataclass(frozen=True)
class Model:
    """An invertible generative model, ready to be repurposed.

    Attributes:
        source: what does the work: a `PictureModel`, or any object with ``encode``, ``decode``, ``prior``.
        name: what it is called; a posterior's file keeps it.
    """

    source: Any
    name: str = "model"

    def __post_init__(self) -> None:
        missing = [n for n in ("encode", "decode", "prior") if not hasattr(self.source, n)]
        if missing:
            raise TypeError(f"Expected a model with encode, decode and prior; got one without {', '.join(missing)}.")

    @property
    def prior(self) -> Gaussian:
        """The distribution of the latents; N(0, I) for a flow."""
        return self.source.prior

    @property
    def dim(self) -> int:
        """D, the length of a latent."""
        return self.prior.dim

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        return self.source.shape

    @property
    def card(self) -> dict[str, Any]:
        """What is known of the model: data, licence, figures."""
        return dict(getattr(self.source, "card", {}))

    @property
    def fingerprint(self) -> str:
        """A hash of the weights, or "" for a model that has none."""
        return str(getattr(self.source, "fingerprint", ""))

    @property
    def precision(self) -> str:
        """The dtype of its arithmetic, such as "float32", or "" for a model that does not say."""
        return str(getattr(self.source, "precision", ""))

    def made(self, fingerprint: str) -> bool:
        """Return whether a file of this fingerprint was made with these weights, by this version or an earlier one."""
        return fingerprint == self.fingerprint or fingerprint in getattr(self.source, "former_fingerprints", ())

    def check_same_model(self, path: PathLike, header: dict[str, Any]) -> None:
        """Raise `ValueError` if the file of this header was made with other weights; any precision will do."""
        if not self.made(header["fingerprint"]):
            raise ValueError(
                f"Expected the model that {path} was made with ({header['model']}, weights "
                f"{header['fingerprint'][:8]}); got {self.name}, weights {self.fingerprint[:8]}."
            )

    def fit(self, pictures: Pictures) -> Any:
        """Return pictures fitted to the model, uint8 (B, C, H, W); paths are read (see `data`, `images`)."""
        if streaming.is_paths(pictures):
            channels, size, _ = self.shape
            return data.read(pictures, channels, size).pixels  # type: ignore[arg-type]
        return self.source.fit(pictures) if hasattr(self.source, "fit") else pictures

    def encode(self, pictures: Pictures) -> Tensor:
        """Return latents, shape (B, D).

        Args:
            pictures: a uint8 tensor (B, C, H, W), a uint8 array (B, H, W) or (B, H, W, C), a list of
                PIL pictures, or a path or list of paths to folders, tars, picture files and folders
                of `latents`.
        """
        return torch.cat([part.latents for part in self.stream(pictures)])

    def stream(
        self,
        pictures: Pictures,
        *,
        batch: int = BATCH,
        on_bad: Callable[[str], None] | None = None,
        log_prob: bool = False,
    ) -> Iterator[Encoded]:
        """Yield pictures as latents, a batch at a time, in constant memory (see `streaming.stream`).

        `condition`, `score`, `Posterior.add` and `Posterior.remove` take pictures in this form too.
        """
        return streaming.stream(self, pictures, batch=batch, on_bad=on_bad, log_prob=log_prob)

    def latents(
        self,
        pictures: PathLike | Sequence[PathLike],
        folder: PathLike,
        *,
        batch: int = BATCH,
        on_bad: Callable[[str], None] | None = None,
        report: Callable[[int, bool], None] | None = None,
    ) -> Latents:
        """Encode files into a folder of latents, or finish one that was begun (see `streaming.write`).

        The folder may be given wherever pictures are, but for what needs pixels (`reconstruct`, classifiers):
        it conditions and scores without encoding again.
        """
        return streaming.write(self, pictures, folder, batch=batch, on_bad=on_bad, report=report)

    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures, floats in [0, 1], shape (B, C, H, W), of latents (B, D)."""
        pictures: Tensor = self.source.decode(latents)
        return pictures

    def log_prob(self, pictures: Pictures) -> Tensor:
        """Return the log density of pictures at their bin centres, in nats, shape (B,)."""
        return self._log_prob_and_radius(pictures)[0]

    def pictures(
        self,
        gaussian: Gaussian,
        n: int = 16,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        *,
        seed: int | None = None,
    ) -> Tensor:
        """Return n pictures, floats in [0, 1], (n, C, H, W), decoded from samples of a Gaussian over latents."""
        return self.decode(gaussian.sample(n, generator, temperature, seed=seed))

    def condition(self, pictures: Pictures, noise: NoiseSpec = DEFAULT_NOISE) -> Posterior:
        """Return the new model: this one, conditioned on pictures.

        Args:
            pictures: the evidence, m of them; as `encode` takes them.
            noise: lambda, said as "0.5m", a number, "typical" or "evidence" (see `posterior`).

        Raises:
            ValueError: there is no picture, or the noise is not one of those.
        """
        noises.parse_noise(noise)
        return Posterior(self, Evidence.none(self.dim, device=self.prior.mean.device), noise).add(pictures)

    def sweep(
        self,
        pictures: Pictures,
        noise: Sequence[NoiseSpec],
        n: int = 8,
        *,
        seed: int | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Return n pictures for each noise, of the same random draws: (len(noise), n, C, H, W)."""
        if not len(noise):
            raise ValueError("Expected at least one noise; got none.")
        for said in noise:
            noises.parse_noise(said)
        seed = torch.Generator().seed() % 2**31 if seed is None else seed
        first = self.condition(pictures, noise[0])
        posteriors = [replace(first, said=said) for said in noise]
        return torch.stack([p.pictures(n, seed=seed, temperature=temperature) for p in posteriors])

    def score(self, pictures: Pictures) -> Scores:
        """Return log-likelihood, bits per dimension and latent radius of each picture."""
        log_prob, radius = self._log_prob_and_radius(pictures)
        return Scores(log_prob, bits_per_dim(log_prob, self.dim, self.source.bits), radius)

    def _log_prob_and_radius(self, pictures: Pictures) -> tuple[Tensor, Tensor]:
        likely, radii = [], []
        for part in self.stream(pictures, log_prob=True):
            if part.log_prob is None:
                raise ValueError("Expected a stream with log_prob=True to score; got one without.")
            likely.append(part.log_prob)
            radii.append(part.latents.double().norm(dim=1) / math.sqrt(self.dim))
        return torch.cat(likely), torch.cat(radii)

    def reconstruct(self, pictures: Pictures) -> Reconstruction:
        """Return pictures after encode and decode beside what they were, with the largest error of each."""
        fitted = self.fit(pictures)
        before = self.source.quantise(fitted)
        after = self.decode(self.encode(fitted)).to(before)
        return Reconstruction(before, after, (after - before).abs().flatten(1).amax(1))


@dataclass(frozen=True)
class Posterior:
    """A model conditioned on evidence: the new model.

    Attributes:
        model: the old model.
        evidence: statistics of the evidence's latents.
        said: the noise, as it was asked for.
        digests: a hash of each evidence picture's pixels, so that only what went in is taken out.
    """

    model: Model
    evidence: Evidence
    said: NoiseSpec = DEFAULT_NOISE
    digests: tuple[str, ...] = field(default=(), repr=False)

    @cached_property
    def noise(self) -> Noise:
        """lambda, chosen for this evidence."""
        return noises.choose_noise(self.said, self.evidence, self.model.prior)

    @cached_property
    def gaussian(self) -> Gaussian:
        """N(mu_p, Sigma_p) over latents; the prior where there is no evidence."""
        prior = self.model.prior
        return prior.condition(self.evidence, self.noise.value) if self.evidence.count else prior

    @property
    def predictive(self) -> Gaussian:
        """N(mu_p, Sigma_p + lambda I): the distribution of one more picture's latent."""
        return self.gaussian.predictive(self.noise.value)

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
        return self.model.pictures(self.gaussian, n, generator, temperature, seed=seed)

    def interpolate(self, other: Posterior, steps: int = 8) -> list[Gaussian]:
        """Return the Gaussians on the way to another posterior of the same model (see `gaussians.interpolation`)."""
        if self.model.fingerprint != other.model.fingerprint:
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
        seed = torch.Generator().seed() % 2**31 if seed is None else seed
        stops = self.interpolate(other, steps)
        latents = torch.stack([stop.sample(n, seed=seed, temperature=temperature) for stop in stops])
        if direct:
            end = stops[-1].sample(n, seed=seed + 1, temperature=temperature)
            latents = interpolation.straight_lines(latents[0], end, steps)
        return self.model.decode(latents.flatten(0, 1)).unflatten(0, (steps, n))

    def add(self, pictures: Pictures) -> Posterior:
        """Return the posterior with more evidence: the same as if all had come at once."""
        digests, evidence = self._evidence(pictures)
        return self._with(self.evidence + evidence, self.digests + digests)

    def remove(self, pictures: Pictures) -> Posterior:
        """Return the posterior without these pictures: the same as if they had never been seen.

        Raises:
            ValueError: one of them is not part of the evidence, or was with another latent.
        """
        digests, evidence = self._evidence(pictures)
        left = Counter(self.digests)
        strange = []
        for number, key in enumerate(digests, 1):
            left[key] -= 1
            strange += [number] if left[key] < 0 else []
        if strange:
            which = ", ".join(map(str, strange[:5]))
            raise ValueError(
                f"Expected pictures that are part of the evidence; got {len(strange)} of {len(digests)} "
                f"that never were (number {which}). Nothing was changed."
            )
        try:
            rest = self.evidence - evidence
        except ValueError:
            raise ValueError(
                "Expected the latents that these pictures had as evidence; got others, such as another precision's "
                f"(this model's is {self.model.precision or 'not known'}). Nothing was changed."
            ) from None
        return self._with(rest, tuple(left.elements()))

    def save(self, path: PathLike) -> None:
        """Write the posterior as one safetensors file; `load_posterior` reads it back."""
        digests = torch.from_numpy(np.array(bytearray.fromhex("".join(self.digests)), dtype=np.uint8))
        tensors = {"total": self.evidence.total, "scatter": self.evidence.scatter, "digests": digests}
        header = {
            "model": self.model.name,
            "fingerprint": self.model.fingerprint,
            "precision": self.model.precision,
            "noise": self.said if isinstance(self.said, str) else float(self.said),
            "count": self.evidence.count,
        }
        checkpoint.write(path, POSTERIOR.kind, tensors, header)

    def _with(self, evidence: Evidence, digests: tuple[str, ...]) -> Posterior:
        changed = replace(self, evidence=evidence, digests=digests)
        if evidence.count:
            _ = changed.noise  # a noise that cannot be found for this evidence is told now, not at the first sample
        return changed

    def _evidence(self, pictures: Pictures) -> tuple[tuple[str, ...], Evidence]:
        digests: list[str] = []
        evidence = Evidence.none(self.model.dim, device=self.model.prior.mean.device)
        for part in self.model.stream(pictures):
            digests += map(_digest, part.digests)
            evidence += Evidence.of(part.latents)
        if not digests:
            raise ValueError("Expected at least one picture; got none.")
        return tuple(digests), evidence


def _digest(told: str) -> str:
    """A picture's hash as a posterior keeps it, 32 hexadecimal digits, of a hash of any other form."""
    return told if re.fullmatch("[0-9a-f]{32}", told) else digest(told.encode())
