"""A model of the house on the Hugging Face hub: its file, and its card in the hub's form.

What is sent is the model at hand, by its fingerprint: its own file where that holds it, else one that is written for
it. A pyramid that was stopped at a lower level, or a model changed since it was read, is not what its file holds.
"""

from __future__ import annotations

import html
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transflow.base_model import BaseModel
from transflow.generative.model_file import load_model, save_model
from transflow.generative.picture_model import PictureModel
from transflow.store.hub import CARD, FILE, upload

NAMES = {  # entries of a card, as the page has them
    "data": "trained on",
    "bits_per_dim": "bits per dimension, held out",
    "frechet_distance": "Fréchet distance",
    "round_trip": "largest error of a round trip",
    "pictures_seen": "pictures seen in training",
    "made_with": "made with",
}


def push(
    model: BaseModel, repo: str, *, file: Path | None, private: bool | None, token: str | None, message: str
) -> str:
    """Write a model to a repository on the hub, and return its address.

    Args:
        model: of a family of the house.
        repo: "user/repo".
        file: of the model, which is sent as it is if it holds this very model; None for one made in memory.
        private: of a new repository.
        token: of the hub.
        message: of the commit.

    Raises:
        TypeError: the model is another library's, and has no file of ours.
    """
    if not isinstance(model.source, PictureModel):
        raise TypeError(f"Expected a model of transflow's own families to send; got one of {model.family}.")
    files = {FILE: _content(model, model.source, file), CARD: card(model, repo).encode()}
    return upload(repo, files, private=private, token=token, message=message)


def _content(model: BaseModel, source: PictureModel, file: Path | None) -> bytes:
    """A file of this model and no other: its own, one with weights in half precision, or one with all of them."""
    if file is not None and _holds(file, model):
        return file.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, FILE)
        save_model(made, source)
        if not _holds(made, model):
            save_model(made, source, half=False)
        return made.read_bytes()


def _holds(file: Path, model: BaseModel) -> bool:
    """Whether a file is of a model, and not of the larger one that it is a part of, or of what it was before."""
    try:
        return load_model(file).fingerprint == model.fingerprint
    except (OSError, ValueError):  # removed, or replaced, since the model was read
        return False


def card(model: BaseModel, repo: str) -> str:
    """Return a model's card as the hub has them: what it reads, in YAML, then what people read."""
    name, about = str(model.card.get("name") or model.name), model.card
    channels, height, width = model.shape
    licence = _plain(about.get("licence") or "not stated")
    rows = [
        ("family", model.family),
        ("pictures", f"{height} x {width}, {'RGB' if channels == 3 else f'{channels} channels'}, {model.bits} bits"),
        ("latent", f"{model.dim:,} standard-normal numbers"),
        ("fingerprint", f"`{model.fingerprint}`"),
        ("licence", _cell(licence)),
        *((words, _cell(about[key])) for key, words in NAMES.items() if about.get(key) not in (None, "")),
    ]
    table = "\n".join(f"| {words} | {value} |" for words, value in rows)
    return f"""---
library_name: transflow
pipeline_tag: unconditional-image-generation
license: other
license_name: "{_identifier(licence)}"
tags:
- transflow
- normalizing-flow
- {model.family}
---

# {_line(name)}

A generative model that can be run backwards, for [transflow](https://arxiv.org/abs/1911.13270): new models from a
handful of pictures, without training.

```python
import transflow

model = transflow.load("hf://{repo}")
new = model.condition("my-pictures/").pictures(16, seed=0)
```

| | |
|---|---|
{table}
"""


def _cell(value: Any) -> str:
    """A value in a table, in words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{_cell(key)}: {_cell(part)}" for key, part in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if type(value) is int else _line(value).replace("|", "\\|")


def _line(value: Any) -> str:
    """One line of text that is no markup."""
    return html.escape(_plain(value), quote=False)


def _identifier(licence: str) -> str:
    """A licence as the hub names those that it does not know, such as "my-licence-1.0"."""
    return re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-.") or "not-stated"


def _plain(value: Any) -> str:
    """The characters of a text that can be printed, in one line."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
