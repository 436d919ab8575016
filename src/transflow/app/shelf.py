"""The models that a page offers: bundled ones by name, a session's own by file; loaded once, a few at a time.

A name from a browser is looked up in this list and in the session's, never given to `load`: no name of a file, a hub
or a Python module reaches it. An own file is opened under the name that it came with, so no path of this machine gets
into what is made with it.
"""

from __future__ import annotations

import math
import secrets
import shutil
import threading
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor

from transflow.app import bounds
from transflow.app.sessions import Session
from transflow.conditioning.model import Model
from transflow.generative import model_file
from transflow.library.load import load
from transflow.library.names import DEFAULT, bundled
from transflow.pictures.drawn import KINDS, synthetic_pictures
from transflow.pictures.grids import to_uint8
from transflow.store import container

SAMPLES = {  # the sample sets: their titles, and the kinds of `pictures.drawn`
    "drawn": "Faces drawn by code",
    "tinted": "Tinted red",
    "grey": "Without colour",
    "covered": "With a bar over the eyes",
    "own": "The model's own samples",
}
SAMPLE_COUNT = 24
FEWER = 12  # of models that encode slowly
SEED = 7  # of the sample sets
assert set(SAMPLES) == {*KINDS, "own"}


class Shelf:
    """Models by the names that the page offers.

    Args:
        names: of the models that everybody is offered, as `load` takes them; the first is chosen when a page opens.
    """

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        known = [DEFAULT, *(name for name in bundled() if name != DEFAULT)]
        self._given = names
        self._offered = {shown_name(name): name for name in (*names, *known)}
        self._loaded: OrderedDict[str, Model] = OrderedDict()
        self._samples: dict[tuple[str, str, int], Tensor] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the models that everybody is offered, as the page shows them."""
        return tuple(self._offered)

    def beside(self, session: Session, name: str) -> str:
        """Return the file that has to lie beside a script that loads this model; "" for one that has a name."""
        return name if name in session.models or self._offered.get(name, name) != name else ""

    def load_given(self) -> None:
        """Load the models that were given now, so that a wrong name is an error before anybody opens the page."""
        for name in self._given:
            self._load(name, shown_name(name))

    def choices(self, session: Session) -> list[str]:
        """Return what a session may choose from: the models of the house, and its own."""
        return [*self.names, *session.models]

    def model(self, session: Session, name: str) -> Model:
        """Return a model by the name that it has in the list.

        Raises:
            ValueError: it is not in the list.
        """
        if name in session.models:
            return self._load(str(session.models[name]), name)
        if name in self._offered:
            return self._load(self._offered[name], name)
        raise ValueError(f"Expected a model, one of {', '.join(self.choices(session))}; got another. Choose one.")

    def quick(self, session: Session, name: str) -> tuple[Model, str]:
        """Return a model that tells pictures apart and scores them fast, and why it is another than the one chosen."""
        found = self.model(session, name)
        if found.can("features"):
            return found, ""
        other = self._load(DEFAULT, DEFAULT)
        return (
            other,
            f"By {DEFAULT}, since {found.name} has no hidden activations, and a likelihood at length at best. ",
        )

    def add(self, session: Session, path: str) -> str:
        """Return the name in the list of a model file that was uploaded; the upload is moved.

        Raises:
            ValueError: it is no model file of ours, a damaged one, or too large.
        """
        upload = Path(path)
        name = upload.name
        try:
            if upload.suffix != ".safetensors":
                raise ValueError(f"Expected a model file, .safetensors, as transflow train writes; got {name}.")
            if upload.stat().st_size > bounds.MODEL_BYTES:
                raise ValueError(f"Expected a model file of at most {bounds.MODEL_BYTES / 1e6:.0f} MB; got {name}.")
            check_size(upload, name)
            if name in self._offered:
                raise ValueError(f"Expected a name that no bundled model has; got {name}. Rename the file.")
            kept = session.folder / f"{secrets.token_hex(8)}.safetensors"
            shutil.copyfile(upload, kept)
        finally:
            upload.unlink(missing_ok=True)
        try:
            self._load(str(kept), name)
        except (ValueError, TypeError, OSError, RuntimeError) as error:
            kept.unlink(missing_ok=True)
            raise ValueError(str(error).replace(str(kept), name)) from None
        session.models[name] = kept
        return name

    def sample_pixels(self, model: Model, kind: str, count: int | None = None) -> Tensor:
        """Return a sample set for a model, uint8 (B, C, H, W): drawn by code, or samples of the model, changed."""
        if kind not in SAMPLES:
            raise ValueError(f"Expected a sample set, one of {', '.join(SAMPLES)}; got another.")
        if model.shape[0] != 3 and kind != "own":
            raise ValueError(f"Expected a model of colour pictures for this sample set; got {model.name}. Give files.")
        number = (FEWER if model.dim > bounds.LARGE else SAMPLE_COUNT) if count is None else count
        key = (model.fingerprint or model.name, kind, number)
        with self._lock:
            if key in self._samples:
                return self._samples[key]
        if kind == "drawn":
            own = torch.zeros(number, *model.shape, dtype=torch.uint8, device="cpu")
        else:
            own = to_uint8(own_pictures(model, number, SEED))
        found = own if kind == "own" else synthetic_pictures(kind, own, SEED)
        with self._lock:
            if len(self._samples) > 64:
                self._samples.clear()
            self._samples[key] = found
        return found

    def _load(self, name: str, shown: str) -> Model:
        with self._lock:
            if name in self._loaded:
                self._loaded.move_to_end(name)
                return self._loaded[name]
            found = load(name)
            model = Model(found.source, shown, found.file)
            self._loaded[name] = model
            while len(self._loaded) > bounds.MODELS:
                self._loaded.popitem(last=False)
            return model


def own_pictures(model: Model, n: int, seed: int) -> Tensor:
    """Return n samples of the model itself at the temperature at which they look best, floats, (n, C, H, W)."""
    return model.pictures(model.prior, n, seed=seed, temperature=own_temperature(model))


def own_temperature(model: Model) -> float:
    """Return the temperature at which a model's own samples look best; 0.7 where it does not say."""
    return model.temperature or 0.7


def shown_name(name: str) -> str:
    """Return what the page calls a model: without the folder that it lies in, which is nobody's business.

    >>> shown_name("faces-32")
    'faces-32'
    """
    prefix, colon, rest = name.rpartition(":")
    return f"{prefix}{colon}{Path(rest).name}" if Path(rest).exists() else name


def check_size(path: Path, name: str) -> None:
    """Raise `ValueError` for a model file whose pictures have more numbers than the page draws at a time.

    Args:
        path: the file, of which the header alone is read: a small one may say that its pictures are huge.
        name: what it is called.
    """
    try:
        config, _ = model_file.read_config(path, container.header(path, model_file.SCHEMA))
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(str(error).replace(str(path), name)) from None
    if math.prod(config.shape) > bounds.NUMBERS:
        shape = " x ".join(map(str, config.shape))
        raise ValueError(f"Expected a model of pictures of at most {bounds.NUMBERS:,} numbers; got {shape}: {name}")
