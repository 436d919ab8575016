"""An autoencoder as a model: the encoder's mean is the latent, made standard normal by a Gaussian fitted to means.

    encode(x) = mu(x) of q(z | x) = N(mu(x), diag sigma^2(x)),   decode(z) = the decoder's mean

It takes VAE, WAE, plain autoencoders and BiGAN, whose encoder and generator are a pair of functions. Decoding does not
undo encoding: `exactness` is the largest error on the reference pictures, or on test pictures where there are none.

The means of pictures are not N(0, I): those of a VAE fall short of it by sigma^2(x), and where a latent is not used
altogether. From means m_1 .. m_n of reference pictures with standard deviations s and correlations C, they have

    N(m_bar, Sigma),   Sigma = S (U U^T + diag(1 - diag U U^T)) S,   S = diag s,

where U U^T are the r first components of C by probabilistic principal components: with eigenvalues l_1 >= ... >= l_D,
v the mean of those after the r-th, U = V_r (diag(l_1 .. l_r) - v)^(1/2). Every variance is that of the means exactly,
and with r = D - 1 so is every covariance. The latent is eps = Sigma^(-1/2) (mu - m_bar), so the prior is N(0, I).

Reference: Tipping and Bishop 1999, *Probabilistic principal component analysis*, J. R. Stat. Soc. B 61(3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from transflow.adapters import measure, modules
from transflow.adapters.calls import CallingSource, Functions, still_functions
from transflow.adapters.flow import HIDDEN, UNIT, of_shape
from transflow.adapters.low_rank import LowRank, gaussian_base
from transflow.adapters.whiten import Diagonal, flatten
from transflow.pictures.pixels import PixelFormat
from transflow.store.identity import digest

Spread = Literal["log_variance", "variance", "deviation"]
SPREADS: tuple[Spread, ...] = ("log_variance", "variance", "deviation")
MOVED = 1e-3  # how far a picture's neighbours may move its latent, relative to the largest latent
BATCH = 64
PER_DIRECTION, MOST = 10, 64  # reference pictures for each direction of the prior's low-rank part, and the most of them
UNUSED = 1e-6  # the least variance of a latent, relative to the largest


@dataclass(frozen=True)
class Moments:
    """An encoder whose mean is the latent, whatever else it gives.

    Attributes:
        encode: x -> mean, (mean, spread), or a `torch.distributions` distribution.
        spread: what the second of two is.
    """

    encode: Callable[[Any], Any]
    spread: Spread

    def __call__(self, x: Any) -> Any:
        """Return the mean."""
        return self.both(x)[0]

    def both(self, x: Any) -> tuple[Any, Any]:
        """Return mean and variance; None for the second where the encoder gives none."""
        found = self.encode(x)
        if isinstance(found, torch.distributions.Distribution):
            return found.mean, found.variance
        if not isinstance(found, (list, tuple)):
            return found, None
        if len(found) != 2 or not all(hasattr(part, "shape") for part in found) or found[0].shape != found[1].shape:
            raise ValueError(
                f"Expected an encoder that gives a mean, a pair of mean and {self.spread} of one shape, or a "
                f"distribution; got {len(found)} results. Give a function that picks them."
            )
        mean, spread = found
        if self.spread == "log_variance":
            return mean, torch.exp(spread) if isinstance(spread, Tensor) else math.e**spread
        return mean, spread if self.spread == "variance" else spread**2


@dataclass(frozen=True, eq=False)
class AutoencoderSource(CallingSource):
    """An autoencoder without a variance.

    Attributes:
        bijection: encoder and decoder; no bijection, its `forward` gives the mean.
    """

    bijection: Functions
    base: Diagonal | LowRank

    @property
    def called(self) -> dict[str, Any]:
        """What is called, by its role."""
        encoder = self.bijection.encode
        assert isinstance(encoder, Moments)
        return {"encode": encoder.encode, "decode": self.bijection.decode}


@dataclass(frozen=True, eq=False)
class VariationalSource(AutoencoderSource):
    """An autoencoder whose encoder gives the variance of each latent."""

    @torch.no_grad()
    def encode_variance(self, pictures: Tensor) -> Tensor:
        """Return the variance (B, D) of eps, sigma^2(x) standardised, of uint8 pictures (B, C, H, W)."""
        x, latents, _ = self._encode(pictures)
        if not len(x):
            return latents.to(self.like)
        functions = self.bijection
        assert isinstance(functions.encode, Moments)
        variance = flatten(functions.tensor(functions.encode.both(functions.given(x))[1], "encode"))
        bad = ~(variance.isfinite() & (variance >= 0)).all(1)
        if bad.any():
            raise ValueError(
                "Expected variances of 0 or more from the encoder; got others for picture "
                f"{int(bad.nonzero()[0])} of the batch. Say with spread= what it gives: {', '.join(SPREADS)}."
            )
        return self.base.variance(variance).to(self.like)


def adapt(
    model: nn.Module | tuple[Callable[[Any], Any], Callable[[Any], Any]],
    shape: tuple[int, int, int],
    *,
    pixels: PixelFormat = UNIT,
    reference: Tensor | None = None,
    rank: int | None = None,
    spread: Spread = "log_variance",
    arrays: bool = False,
    module: Any = None,
) -> AutoencoderSource:
    """Return an autoencoder as a source.

    Args:
        model: a module with methods `encode` and `decode`, or with modules `encoder` and `decoder`; or two functions,
            x (B, C, H, W) -> mean, (mean, spread) or a distribution, and latents -> x.
        shape: (C, H, W).
        pixels: how pictures become x; by default 8 bits in [0, 1].
        reference: pictures like those that it was trained on, uint8 (n, C, H, W), to standardise latents by: the
            more the better, at least 2; without them the means are taken for standard normal.
        rank: r, the directions of the fitted Gaussian beyond its diagonal; by default one for ten reference pictures,
            at most 64 and D - 1; 0 for a diagonal.
        spread: what the second of a pair is: "log_variance", "variance" or "deviation".
        arrays: whether functions take numpy arrays, as JAX's do, instead of tensors.
        module: what functions are made of, as `functions.adapt` takes it; modules and their methods need none.

    Raises:
        ValueError: no encoder and decoder, results of other forms or sizes, an encoder that draws at random or mixes
            its batch, reference pictures of another shape.
    """
    shape = of_shape(shape)
    if spread not in SPREADS:
        raise ValueError(f"Expected as spread one of {', '.join(SPREADS)}; got {spread}.")
    (encode, decode), module, like = still_functions(_pair(model), module)
    moments = Moments(encode, spread)
    found = Functions(moments, decode, None, shape, (), Tensor, arrays, like)
    with torch.no_grad():
        x = pixels.centre(measure.pictures(shape)).to(like)
        found = found.measured(x)
        varies = moments.both(found.given(x))[1] is not None
    lacks = {"score": "an autoencoder has no density", "features": HIDDEN, "levels": "its latents have no levels"}
    if not varies:
        lacks["variance"] = "its encoder gives a mean alone"
    source = (VariationalSource if varies else AutoencoderSource)(
        bijection=found,
        base=Diagonal.standard(sum(map(math.prod, found.parts)), like.device),
        shape=shape,
        pixels=pixels,
        like=like,
        fingerprint=None,
        card={},
        lacks=lacks,
    )
    _check_still(source)
    pictures, what = measure.pictures(shape), "test pictures"
    note = "its prior N(0, I) is assumed, not measured: give reference= pictures to fit one"
    if reference is not None:
        source = replace(source, base=gaussian_base(*_fit(_encoded(source, reference), rank)))
        pictures, what = reference, f"{len(reference)} reference pictures"
        directions = len(source.base.stretch) if isinstance(source.base, LowRank) else 0
        note = f"the Gaussian of the latents of {what}, a diagonal and {directions} directions, was made N(0, I)"
    error = _exactness(source, pictures)
    off = f"its decode does not undo its encode: the largest error on {what} is {error:.2g} of the pixel range"
    if module is not None:
        options = {"pixels": pixels, "shape": shape, "spread": spread}
        if reference is not None:  # the pictures, not what was fitted: that is rounded otherwise on another machine
            options |= {"reference": digest(reference.cpu().numpy().tobytes()), "rank": rank}
        identity = modules.fingerprint("autoencoder", module, options)
    else:
        identity, lacks["fingerprint"] = None, "no module= was given with its functions"
    card = {"family": "autoencoder", "notes": [note, off]}
    return replace(source, exactness=error, fingerprint=identity, card=card)


def _pair(model: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Encoder and decoder of what a user gives."""
    if isinstance(model, (list, tuple)) and len(model) == 2 and all(map(callable, model)):
        return model[0], model[1]
    for names in (("encode", "decode"), ("encoder", "decoder")):
        found = [getattr(model, name, None) for name in names]
        if callable(found[0]) and callable(found[1]):
            return found[0], found[1]
    raise ValueError(
        f"Expected an autoencoder with encode and decode, or encoder and decoder; got {type(model).__name__}. "
        "Give a pair of functions (encode, decode)."
    )


def _check_still(source: AutoencoderSource) -> None:
    """Raise where the encoder draws at random or mixes its batch."""
    x = measure.pictures(source.shape)
    latents = source.encode(x)
    moved = measure.batch_error(source.encode, x, latents)
    if moved > MOVED * max(1.0, latents.abs().max().item()):
        raise ValueError(
            f"Expected an encoder that gives a picture the same latent each time, whatever its neighbours; got one "
            f"that moves it by {moved:.2g}. Give the mean, not a draw, and modules in eval()."
        )


def _encoded(source: AutoencoderSource, reference: Any) -> Tensor:
    """The latents of the reference pictures."""
    if not isinstance(reference, Tensor) or reference.ndim != 4 or len(reference) < 2:
        got = tuple(reference.shape) if isinstance(reference, Tensor) else type(reference).__name__
        shape = ", ".join(map(str, source.shape))
        raise ValueError(f"Expected as reference uint8 pictures of shape (n, {shape}), n of 2 or more; got {got}.")
    return torch.cat([source.encode(part) for part in reference.split(BATCH)])


def _fit(latents: Tensor, rank: int | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Mean (D,), diagonal (D,) and factor (D, r) of a Gaussian of latents (n, D): their variances, and correlations."""
    z = latents.double()
    count, dim = z.shape
    most = min(dim - 1, count - 2)  # one more, and nothing is left for the diagonal
    rank = min(most, MOST, count // PER_DIRECTION) if rank is None else rank
    if not 0 <= rank <= most:
        raise ValueError(f"Expected a rank of 0 to {most} for {count} reference pictures and D = {dim}; got {rank}.")
    mean, variance = z.mean(0), z.var(0)
    if not variance.any():
        raise ValueError("Expected reference pictures whose latents differ; got the same latent for all.")
    variance = variance.clamp(min=UNUSED * variance.max().item())
    if not rank:
        return mean, variance, None
    deviation = variance.sqrt()
    singular, directions = torch.linalg.svd((z - mean) / deviation / math.sqrt(count - 1), full_matrices=False)[1:]
    eigenvalues = singular.square()
    rest = eigenvalues[rank:].sum() / (dim - rank)
    factor = directions[:rank].T * (eigenvalues[:rank] - rest).clamp(min=0).sqrt()
    return mean, variance * (1 - factor.square().sum(1)).clamp(min=UNUSED), deviation[:, None] * factor


def _exactness(source: AutoencoderSource, pictures: Tensor) -> float:
    """The largest error of decode(encode(x)), in units of the pixel range."""
    worst = 0.0
    for part in pictures.split(BATCH):
        seen = source.pixels.unit_unclamped(source.pixels.centre(part))
        decoded = source.decode(source.encode(part))
        worst = max(worst, (decoded.cpu() - seen.cpu()).abs().max().item())
    return worst
