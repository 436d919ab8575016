"""The old model, and what can be done with it: condition, score, reconstruct, stream.

z         = model.encode(pictures)
evidence  = Evidence.of(z)
posterior = model.prior.condition(evidence, noise)
new       = model.decode(posterior.sample(16))
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from transflow.base_model import BaseModel
from transflow.conditioning.completion import NOISE, TEMPERATURE, Completion, HasGaussian, complete
from transflow.conditioning.conditioned import DEFAULT_NOISE
from transflow.conditioning.gathered import Gathered
from transflow.conditioning.posterior import Posterior
from transflow.conditioning.published import push
from transflow.conditioning.scores import Reconstruction, Scores
from transflow.conditioning.tempered import tempered
from transflow.devices import fresh_seed
from transflow.gaussians.gaussian import Gaussian
from transflow.gaussians.learn import parse_learn, what_to_learn
from transflow.gaussians.noise import NoiseSpec, parse_noise
from transflow.latents import folder as latents_folder
from transflow.latents.encoded import Encoded
from transflow.latents.folder import Latents
from transflow.latents.stream import PicturesLike, stream
from transflow.metrics import bits_per_dim
from transflow.pictures.datasets import is_dataset
from transflow.pictures.decode import OnBad, read
from transflow.pictures.preprocess import BATCH
from transflow.plain_values import scalar
from transflow.store.files import PathLike


@dataclass(frozen=True, eq=False, repr=False)
class Model(BaseModel):
    """An invertible generative model, ready to be repurposed.

    Attributes:
        source: what does the work: any object with ``encode``, ``decode`` and ``prior`` (see `protocols`).
        name: what it is called; a posterior's file keeps it.
        file: where it was loaded from, None for a model made in memory.
    """

    def fit(self, pictures: PicturesLike) -> Any:
        """Return `preprocess(pictures)`, the name it has now."""
        warnings.warn("Model.fit is Model.preprocess now, and goes in the next version.", DeprecationWarning, 2)
        return self.preprocess(pictures)

    def preprocess(self, pictures: Any, *, on_bad: OnBad | None = None) -> Tensor:
        """Return pictures of the model's shape, uint8 (B, C, H, W); paths are read (see `pictures.preprocess`)."""
        return read(pictures, self.shape, on_bad=on_bad).pixels

    def encode(self, pictures: PicturesLike) -> Tensor:
        """Return latents, shape (B, D).

        Args:
            pictures: a uint8 tensor (B, C, H, W), a uint8 array (B, H, W) or (B, H, W, C), a list of
                PIL pictures, or a path or list of paths to folders, tars, picture files and folders
                of `latents`.
        """
        return torch.cat([part.latents for part in self.stream(pictures)])

    def stream(
        self,
        pictures: PicturesLike,
        *,
        batch: int = BATCH,
        on_bad: OnBad | None = None,
        log_prob: bool = False,
    ) -> Iterator[Encoded]:
        """Yield pictures as latents, a batch at a time, in constant memory (see `latents.stream`).

        `condition`, `score`, `Posterior.add` and `Posterior.remove` take pictures in this form too.
        """
        return stream(self, pictures, batch=batch, on_bad=on_bad, log_prob=log_prob)

    def latents(
        self,
        pictures: PathLike | Sequence[PathLike],
        folder: PathLike,
        *,
        batch: int = BATCH,
        on_bad: OnBad | None = None,
        report: Callable[[int, bool], None] | None = None,
    ) -> Latents:
        """Encode files into a folder of latents, or finish one that was begun (see `latents.folder`).

        The folder may be given wherever pictures are, but for what needs pixels (`reconstruct`, classifiers):
        it conditions and scores without encoding again.

        Raises:
            TypeError: pictures are a dataset, whose items have no names to resume by.
        """
        if is_dataset(pictures):
            raise TypeError(
                f"Expected files, which a folder of latents is of; got a dataset, {type(pictures).__name__}. "
                "condition and score take it, and encode gives its latents."
            )
        return latents_folder.write(self, pictures, folder, batch=batch, on_bad=on_bad, report=report)

    def log_prob(self, pictures: PicturesLike) -> Tensor:
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
        if not callable(getattr(gaussian, "sample", None)) or not isinstance(getattr(gaussian, "mean", None), Tensor):
            got = type(gaussian).__name__
            raise TypeError(
                f"Expected a Gaussian over latents, such as model.prior; got {got}. A posterior has pictures(n)."
            )
        return self.decode(tempered(self, gaussian.sample(n, generator, temperature, seed=seed), gaussian.mean))

    def condition(
        self,
        pictures: PicturesLike,
        noise: NoiseSpec | None = None,
        *,
        learn: str | None = None,
        novelty: float | None = None,
        long: bool = False,
    ) -> Posterior:
        """Return the new model: this one, conditioned on pictures.

        Args:
            pictures: the evidence, m of them; as `encode` takes them.
            noise: lambda, given as "0.5m", a number, "typical" or "evidence" (see `gaussians.noise`), of the paper's
                way, which it means where it is given alone.
            learn: what is learned: "parents" (the default), "parents:N", "covariance", "mixture", or "mean", the
                paper's way (see `gaussians.learn`).
            novelty: how new samples are: 0 the evidence itself, 1 its Gaussian.
            long: draw from pictures whose latents are far too long, too.

        Raises:
            ValueError: there is no picture, or one of these has none of its forms.
        """
        noise = scalar(noise)
        found = what_to_learn(noise, learn, novelty, long=long)
        gathered = Gathered.all_of(self, pictures, **found.gathers)
        spec = DEFAULT_NOISE if noise is None else noise
        return Posterior(self, spec=spec, learn=found, **vars(gathered)).checked()

    def sweep(
        self,
        pictures: PicturesLike,
        noise: Sequence[NoiseSpec] = (),
        n: int = 8,
        *,
        novelty: Sequence[float] = (),
        learn: str | None = None,
        seed: int | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Return n pictures for each noise, or for each novelty, of the same random draws: (rows, n, C, H, W).

        Args:
            pictures: the evidence.
            noise: of each row, in the paper's way.
            n: how many pictures a row has.
            novelty: of each row, of parents or a mixture; instead of noises.
            learn: "parents" or "mixture", with novelties.
            seed: of the draws.
            temperature: multiplies the standard deviation.
        """
        for word, given in (("noises", noise), ("novelties", novelty)):
            if isinstance(scalar(given), (str, int, float)):
                raise TypeError(f"Expected {word} as a list, one for each row; got {given!r}. Give [{given!r}].")
        if bool(len(noise)) == bool(len(novelty)):
            raise ValueError("Expected at least one noise or one novelty for each row, and not both; got both or none.")
        for spec in noise:
            parse_noise(spec)
        ways = [parse_learn(learn, value) for value in novelty]
        seed = fresh_seed() if seed is None else seed
        if len(noise):
            first = self.condition(pictures, scalar(noise[0]))
            posteriors = [replace(first, spec=scalar(spec)) for spec in noise]
        else:
            first = self.condition(pictures, learn=learn)
            posteriors = [replace(first, learn=way) for way in ways]
        return torch.stack([p.pictures(n, seed=seed, temperature=temperature) for p in posteriors])

    def complete(
        self,
        picture: Any,
        known: Any,
        noise: float = NOISE,
        n: int = 8,
        *,
        seed: int | None = None,
        prior: Gaussian | HasGaussian | None = None,
        temperature: float = TEMPERATURE,
        refine: int = 0,
    ) -> Completion:
        """Return n samples of what a picture may be of which a part is known (see `conditioning.completion`).

        Args:
            picture: one, as `encode` takes them.
            known: a mask (H, W), true where pixels are known; or an operator, a function of pictures (B, C, H, W) in
                [0, 1] with gradients, such as those of `conditioning.operators`.
            noise: the standard deviation of what is observed, the range of pixels being 1.
            n: how many samples.
            seed: of the draws.
            prior: a posterior, or a Gaussian over latents, in place of the model's own prior.
            temperature: multiplies the standard deviation of the prior.
            refine: trajectories of Hamiltonian Monte Carlo after the search, each of ten evaluations.
        """
        return complete(self, picture, known, noise, n, seed=seed, prior=prior, temperature=temperature, refine=refine)

    def push_to_hub(
        self,
        repo: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        message: str = "Model of transflow",
    ) -> str:
        """Write the model, with a card, to a repository of the Hugging Face hub; `load` takes ``hf://`` and its name.

        Args:
            repo: "user/repo"; made where there is none.
            private: whether a new repository is.
            token: of the hub; without it, the one that ``hf auth login`` keeps.
            message: of the commit.

        Returns:
            Its address.

        Raises:
            TypeError: the model is another library's.
            OSError: the hub refused it, or cannot be reached.
            ImportError: the extra ``hub`` is missing.
        """
        return push(self, repo, file=self.file, private=private, token=token, message=message)

    def score(self, pictures: PicturesLike) -> Scores:
        """Return log-likelihood, bits per dimension and latent radius of each picture."""
        log_prob, radius = self._log_prob_and_radius(pictures)
        return Scores(log_prob, bits_per_dim(log_prob, self.dim, self.bits), radius)

    def _log_prob_and_radius(self, pictures: PicturesLike) -> tuple[Tensor, Tensor]:
        likely, radii = [], []
        for part in self.stream(pictures, log_prob=True):
            if part.log_prob is None:
                raise ValueError(
                    "Expected pictures, or latents with their log densities, to score; got latents without. "
                    "Give the pictures, or a stream with log_prob=True."
                )
            likely.append(part.log_prob)
            radii.append(part.latents.double().norm(dim=1) / math.sqrt(self.dim))
        return torch.cat(likely), torch.cat(radii)

    def reconstruct(self, pictures: Any) -> Reconstruction:
        """Return pictures after encode and decode beside what they were, with the largest error of each."""
        pixels = self.preprocess(pictures)
        before = self.quantise(pixels)
        after = self.decode(self.encode(pixels)).to(before)
        return Reconstruction(before, after, (after - before).abs().flatten(1).amax(1))
