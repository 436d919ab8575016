"""A set of pictures as a model sees it, as latents, and as a posterior; each picture is encoded once a session.

Latents are kept by model and by the pixels' digest, so that a picture added, left out or taken back costs one encode or
none, and a slider none at all. Sample sets are the same for everybody, and so are their latents.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event

import torch
from torch import Tensor

from transflow.app import bounds
from transflow.app.sessions import Session
from transflow.app.shelf import SAMPLES, Shelf
from transflow.app.watched import Stopped, Tick, watched
from transflow.base_model import BaseModel
from transflow.conditioning.model import Model
from transflow.conditioning.posterior import Posterior
from transflow.latents.encoded import Encoded, encode_batch
from transflow.pictures.decode import PictureBatch, read
from transflow.store.identity import digest

Report = Callable[[float, str], None]
"""Called with the share of the work that is done, 0 to 1, and what is being done, in words."""

_samples: OrderedDict[tuple[str, str], Tensor] = OrderedDict()  # latents of sample sets, for all sessions
SHARED = 2000  # of these


@dataclass(frozen=True, eq=False)
class Work:
    """How a piece of work reports, and is stopped.

    Attributes:
        report: called as it goes on.
        stop: set by somebody who wants no more of it.
    """

    report: Report = lambda share, words: None
    stop: Event | None = None

    def check(self) -> None:
        """Raise `Stopped` if it is to stop."""
        if self.stop is not None and self.stop.is_set():
            raise Stopped("Stopped.")

    def ticking(self, total: int, words: str) -> Tick:
        """Return a tick for `watched` that counts pictures up to a total."""
        done = 0

        def tick(count: int) -> None:
            nonlocal done
            self.check()
            self.report(min(done / max(1, total), 1.0), words)
            done += count

        return tick


@dataclass(frozen=True, eq=False)
class Seen:
    """A set of pictures as a model sees it.

    Attributes:
        names: of the pictures.
        pixels: uint8, (B, C, H, W).
        shared: whether it is a sample set.
    """

    names: tuple[str, ...]
    pixels: Tensor
    shared: bool = False

    def __len__(self) -> int:
        return len(self.names)


def seen(shelf: Shelf, session: Session, key: str, model: Model, work: Work | None = None) -> Seen:
    """Return the pictures of a panel as a model sees them, but those that are left out; perhaps none.

    Raises:
        ValueError: the sample set does not go with the model.
    """
    given = session.set_of(key)
    if given.sample:
        tick = (work or Work()).ticking(2 * bounds.NUMBER, "making the sample set")
        pixels = shelf.sample_pixels(watched(model, tick), given.sample)
        names = tuple(f"{SAMPLES[given.sample]} {number}" for number in range(1, len(pixels) + 1))
        some = Seen(names, pixels, True)
    elif given.pictures:
        found = session.made(
            ("pixels", given.pictures, model.shape),
            lambda: read([picture.file for picture in given.pictures], model.shape).pixels,
            most=24,
        )
        some = Seen(tuple(picture.name for picture in given.pictures), found)
    else:
        return Seen((), torch.zeros(0, *model.shape, dtype=torch.uint8, device="cpu"))
    inside = [i for i, name in enumerate(some.names) if name not in given.left_out]
    return Seen(tuple(some.names[i] for i in inside), some.pixels[inside], some.shared)


def is_encoded(session: Session, model: Model, some: Seen) -> bool:
    """Return whether every picture's latent is kept."""
    keys = (digest(row.contiguous().numpy()) for row in some.pixels)
    return all(_known(session, model, key) is not None for key in keys)


def encoded(session: Session, model: Model, some: Seen, work: Work | None = None) -> Encoded:
    """Return pictures as latents; those that were encoded before are not encoded again.

    Raises:
        ValueError: there is no picture.
    """
    if not len(some):
        raise ValueError("Expected at least one picture; got none. Drop some, or take a sample set.")
    work = work or Work()
    keys = tuple(digest(row.contiguous().numpy()) for row in some.pixels)
    known = {key: row for key in keys if (row := _known(session, model, key)) is not None}
    missing = list(dict.fromkeys(key for key in keys if key not in known))
    at_a_time = 4 if model.dim > bounds.LARGE else 24
    for begin in range(0, len(missing), at_a_time):
        work.check()
        work.report(begin / len(missing), f"encoding {len(missing)} pictures")
        part = missing[begin : begin + at_a_time]
        pixels = some.pixels[[keys.index(key) for key in part]]
        latents = encode_batch(model, PictureBatch((), pixels), len(part)).latents
        known |= dict(zip(part, latents, strict=True))
        _keep(session, model, tuple(part), latents, some.shared)
    return Encoded(some.names, keys, torch.stack([known[key] for key in keys]))


def posterior(
    session: Session,
    model: Model,
    some: Seen,
    learn: str | None = None,
    novelty: float | None = None,
    noise: str | None = None,
    work: Work | None = None,
) -> Posterior:
    """Return the model conditioned on pictures; the same evidence in another way costs no encode.

    Args:
        session: which keeps the latents.
        model: what is conditioned.
        some: the evidence.
        learn: as `Model.condition` takes it.
        novelty: likewise.
        noise: likewise, of the mean alone.
        work: reports and stops.
    """
    found = encoded(session, model, some, work)
    key = ("posterior", model.fingerprint or model.name, found.digests, learn, novelty, noise)

    def make() -> Posterior:
        return model.condition(iter([found]), noise, learn=learn, novelty=novelty)

    made: Posterior = session.made(key, make, most=6)
    return made


def one_by_one(total: int, model: BaseModel) -> Iterator[slice]:
    """Yield slices of a batch that are decoded at a time: few, of a slow model, so that one sees it go on."""
    size = 8 if model.dim > bounds.LARGE else bounds.NUMBER
    return (slice(begin, min(begin + size, total)) for begin in range(0, total, size))


def _known(session: Session, model: Model, key: str) -> Tensor | None:
    name = model.fingerprint or model.name
    found = _samples.get((name, key))
    return session.latents(name, key) if found is None else found


def _keep(session: Session, model: Model, keys: tuple[str, ...], latents: Tensor, shared: bool) -> None:
    name = model.fingerprint or model.name
    if not shared:
        session.keep_latents(name, keys, latents)
        return
    for key, row in zip(keys, latents, strict=True):
        _samples[name, key] = row.clone()
    while len(_samples) > SHARED:
        _samples.popitem(last=False)
