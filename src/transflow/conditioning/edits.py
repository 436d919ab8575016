"""One's own pictures changed, in closed form: encoded, moved, decoded.

    towards     along the optimal transport map from the model's Gaussian to a posterior's, part of the way
    attribute   along a direction that tells two sets of pictures apart, others staying as they are
    between     from one picture to another, on a line or an arc
    arithmetic  a - b + c, of means of a few pictures each

At strength 0 an edit gives the picture itself, as its latent decodes, to the last bit. How far an edit may go depends
on the model: latents much longer than its own, |z| = sqrt(D), break.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, Union

import torch
from torch import Tensor

from transflow.base_model import BaseModel
from transflow.conditioning import quality
from transflow.conditioning.posterior import Posterior
from transflow.gaussians.bures import Transport
from transflow.gaussians.directions import direction
from transflow.gaussians.paths import WAYS
from transflow.latents.stream import PicturesLike, stream
from transflow.pictures.decode import read
from transflow.pictures.preprocess import PictureLike
from transflow.store.files import PathLike

PIXELS = "pixels"  # the cross-fade, beside the ways through latents
STAYS = "of what stays"
PATHS = (*WAYS, PIXELS)

Pixels: TypeAlias = Union[PictureLike, PathLike, Sequence[PathLike]]
"""Pictures whose pixels are needed: not folders of latents."""


class Move(Protocol):
    """What an edit does to latents."""

    def move(self, latents: Tensor, strength: float) -> Tensor:
        """Return latents (n, D), moved; at strength 0 as they are, exactly."""


@dataclass(frozen=True, eq=False)
class Edit:
    """A change of a model's pictures.

    Attributes:
        model: whose latents are moved.
        change: how they are moved.
    """

    model: BaseModel
    change: Move

    def pictures(self, pictures: PicturesLike, strength: float = 1.0) -> Tensor:
        """Return pictures changed by a strength, floats in [0, 1], (B, C, H, W)."""
        return self.strip(pictures, [strength])[0]

    def strip(self, pictures: PicturesLike, strengths: Sequence[float]) -> Tensor:
        """Return pictures changed by several strengths: (len(strengths), B, C, H, W).

        Args:
            pictures: B of them, as `Model.encode` takes them.
            strengths: 0 is the picture itself, 1 the whole change; below 0 is the opposite, above 1 more of it.

        Raises:
            ValueError: there is no picture or no strength, or one is not finite.
        """
        return self.strip_and_quality(pictures, strengths)[0]

    def strip_and_quality(
        self, pictures: PicturesLike, strengths: Sequence[float]
    ) -> tuple[Tensor, tuple[quality.Quality, ...]]:
        """Return what `strip` does, and of each strength how many pictures are broken (see `quality`)."""
        if not len(strengths) or not all(map(math.isfinite, strengths)):
            got = ", ".join(map(str, strengths)) or "none"
            raise ValueError(f"Expected one or more finite strengths, 0 for no change; got {got}.")
        latents = _encode(self.model, pictures, "a picture to change")
        found = [quality.decode(self.model, self.change.move(latents, strength)) for strength in strengths]
        return torch.stack([changed for changed, _ in found]), tuple(known for _, known in found)


def towards(posterior: Posterior, start: Posterior | None = None) -> Edit:
    """Return the edit that takes pictures towards a posterior's evidence: optimal transport to its Gaussian.

    At strength 1 what was distributed as the start is distributed as the posterior's Gaussian (see `gaussians.bures`):
    of a posterior that learns the covariance, pictures turn into what the evidence is made of; of the mean, they take
    on what all of it has in common.

    Args:
        posterior: where the way leads.
        start: where the pictures come from, another posterior of the same model; None for the model's own Gaussian.

    Raises:
        ValueError: one of them has no evidence, or they are of different models.

    >>> from transflow import wrap
    >>> model = wrap(encode=lambda x: 2 * x.flatten(1), decode=lambda z: z.view(-1, 1, 2, 2) / 2, shape=(1, 2, 2))
    >>> white, black = (torch.full((1, 1, 2, 2), v, dtype=torch.uint8) for v in (255, 0))
    >>> edit = towards(model.condition(white, 1.0))  # to half of white, one picture being trusted by half
    >>> round(edit.pictures(black, 0.5).mean().item(), 2)
    0.25
    """
    ends = [posterior] if start is None else [start, posterior]
    if not all(end.evidence.count for end in ends):
        raise ValueError("Expected a posterior with evidence; got one without any, which leads nowhere.")
    if start is not None:
        posterior.check_same_model(start)
    origin = posterior.model.prior if start is None else start.gaussian
    return Edit(posterior.model, Transport.between(origin, posterior.gaussian))


def attribute(
    model: BaseModel,
    more: PicturesLike,
    less: PicturesLike,
    keep: Sequence[PicturesLike | tuple[PicturesLike, PicturesLike]] = (),
    *,
    fisher: bool = True,
    shrinkage: float | None = None,
) -> Edit:
    """Return the edit that gives pictures more of an attribute; strength 1 is the two sets' difference.

    Args:
        model: of which the latents are.
        more: pictures with more of the attribute, one or more.
        less: pictures with less of it, and otherwise alike.
        keep: for each attribute that stays, a tuple of two sets, with it and without; or one set with it that is
            otherwise like ``less``.
        fisher: the least change of the latents that does it; else the plain difference of the means.
        shrinkage: of the tied covariance, above 0 to 1; None for that of Ledoit and Wolf (see `gaussians.tied`).

    Raises:
        ValueError: a set is empty, two sets have one mean, or the attribute is one of those that stay.
    """
    with_more, with_less = _encode(model, more, "with more of it"), _encode(model, less, "with less of it")
    stay: list[Tensor | tuple[Tensor, Tensor]] = []
    for one in keep:
        if isinstance(one, tuple) and len(one) == 2:
            stay.append((_encode(model, one[0], STAYS), _encode(model, one[1], STAYS)))
        else:
            stay.append(_encode(model, one, STAYS))
    return Edit(model, direction(with_more, with_less, stay, fisher=fisher, shrinkage=shrinkage))


def between(model: BaseModel, a: Pixels, b: Pixels, steps: int = 8, path: str = "spherical") -> Tensor:
    """Return pictures on the way from one to another: (steps, B, C, H, W), both ends included.

    Args:
        model: through whose latents the way leads.
        a: the first pictures, B of them.
        b: the last pictures, as many.
        steps: how many stops, 2 or more.
        path: "straight", "spherical", "corrected" (see `gaussians.paths`), or "pixels", a cross-fade without the model.

    Raises:
        ValueError: the sets are empty or of different sizes, fewer than 2 steps, or there is no such path.
    """
    if path not in PATHS:
        raise ValueError(f"Expected a path, one of {', '.join(PATHS)}; got {path}.")
    if steps < 2:
        raise ValueError(f"Expected 2 or more steps, both ends included; got {steps}.")
    ends = [_pixels(model, part, "a picture at each end") for part in (a, b)]
    if len(ends[0]) != len(ends[1]):
        raise ValueError(f"Expected as many pictures at both ends; got {len(ends[0])} and {len(ends[1])}.")
    shares = [i / (steps - 1) for i in range(steps)]
    if path == PIXELS:
        first, last = map(model.quantise, ends)
        return torch.stack([torch.lerp(first, last, share) for share in shares])
    first, last = (_encode(model, end, "a picture at each end") for end in ends)
    return torch.stack([model.decode(WAYS[path](first, last, share)) for share in shares])


def arithmetic(model: BaseModel, a: Pixels, b: Pixels, c: Pixels, *, pixels: bool = False) -> Tensor:
    """Return the picture of a - b + c, means of one or more pictures each, (1, C, H, W).

    Three pictures a mean are enough that the sum is as long as a latent of the model, 3 x 1/3; a longer one is cut to
    the model's length, or to that of the longest of the three where it is longer.

    Args:
        model: through whose latents it is computed.
        a: pictures to begin with.
        b: pictures that are taken away.
        c: pictures that are added.
        pixels: of pixels, cut to [0, 1], instead of latents: for comparison.

    Raises:
        ValueError: a set is empty.
    """
    sets = [_pixels(model, part, f"a picture of {name}") for part, name in ((a, "a"), (b, "b"), (c, "c"))]
    if pixels:
        means = [model.quantise(part).mean(0, keepdim=True) for part in sets]
        return (means[0] - means[1] + means[2]).clamp(0, 1)
    latents = [_encode(model, part, "a picture") for part in sets]
    means = [part.double().mean(0, keepdim=True) for part in latents]
    total = means[0] - means[1] + means[2]
    own = math.sqrt(model.prior.squared_radius() * model.dim)
    limit = max(own, *(mean.norm().item() for mean in means))
    return model.decode((total * (limit / max(total.norm().item(), limit))).to(latents[0]))


def _encode(model: BaseModel, pictures: PicturesLike, what: str) -> Tensor:
    """Latents (B, D), B of 1 or more."""
    parts = [part.latents for part in stream(model, pictures)]
    if not sum(map(len, parts)):
        raise ValueError(f"Expected at least one picture ({what}); got none.")
    return torch.cat(parts)


def _pixels(model: BaseModel, pictures: Pixels, what: str) -> Tensor:
    """Uint8 pictures of the model's shape (B, C, H, W), B of 1 or more."""
    found = read(pictures, model.shape).pixels
    if not len(found):
        raise ValueError(f"Expected at least one picture ({what}); got none.")
    return found
