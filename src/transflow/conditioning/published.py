"""A model of the house on the Hugging Face hub: its file, and its card in the hub's form."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transflow.base_model import BaseModel
from transflow.generative.model_file import save_model
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
        file: of the model, which is sent as it is; None for one made in memory.
        private: of a new repository.
        token: of the hub.
        message: of the commit.

    Raises:
        TypeError: the model is another library's, and has no file of ours.
    """
    if not isinstance(model.source, PictureModel):
        raise TypeError(f"Expected a model of transflow's own families to send; got one of {model.family}.")
    if file is None or model.precision == "float64":
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, FILE)
            save_model(file, model.source)
            content = file.read_bytes()
    else:
        content = file.read_bytes()
    return upload(
        repo, {FILE: content, CARD: card(model, repo).encode()}, private=private, token=token, message=message
    )


def card(model: BaseModel, repo: str) -> str:
    """Return a model's card as the hub has them: what it reads, in YAML, then what people read."""
    name, about = str(model.card.get("name") or model.name), model.card
    channels, height, width = model.shape
    rows = [
        ("family", model.family),
        ("pictures", f"{height} x {width}, {'RGB' if channels == 3 else f'{channels} channels'}, {model.bits} bits"),
        ("latent", f"{model.dim:,} standard-normal numbers"),
        ("fingerprint", f"`{model.fingerprint}`"),
        *((words, _cell(about[key])) for key, words in NAMES.items() if about.get(key) not in (None, "")),
    ]
    table = "\n".join(f"| {words} | {value} |" for words, value in rows)
    return f"""---
library_name: transflow
pipeline_tag: unconditional-image-generation
license: other
license_name: {_line(about.get("licence") or "not stated")}
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
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_cell(part)}" for key, part in value.items())
    shown = f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else _line(value)
    return shown.replace("|", "\\|")


def _line(value: Any) -> str:
    """One line of text, in quotes where YAML asks for them."""
    text = " ".join(str(value).split())
    return f'"{text}"' if ":" in text or text.startswith(("-", "[", "{", "#", "&", "*", "!", "'", '"')) else text
