"""Any invertible model behind the contract, by what it is.

    wrap(flow, shape=(3, 32, 32))                    a flow of zuko, normflows, nflows, FrEIA, torchflows or torch
    wrap(pipeline)                                   a diffusers pipeline, or (unet, scheduler)
    wrap(encode=f, decode=g, shape=(1, 28, 28))      two functions
    wrap(velocity=net, shape=(3, 64, 64), steps=25)  a flow-matching net
    wrap(autoencoder=vae, shape=(3, 64, 64))         an autoencoder; or encoder= and decoder=
    wrap(decode=generator, latent=(100, 1, 1), shape=(3, 64, 64))   a generator without an encoder, by a search

Nothing of another library is imported to find out what an object is.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch

from transflow.adapters import measure
from transflow.adapters.recognise import recognise
from transflow.base_model import BaseModel
from transflow.conditioning.model import Model
from transflow.protocols import MUST, has

KINDS: dict[frozenset[str], tuple[str, tuple[str, ...]]] = {  # what is given by keyword -> adapter, its first arguments
    frozenset({"velocity"}): ("velocity", ("velocity",)),
    frozenset({"encode", "decode"}): ("functions", ("encode", "decode")),
    frozenset({"autoencoder"}): ("autoencoder", ("autoencoder",)),
    frozenset({"encoder", "decoder"}): ("autoencoder", ("encoder", "decoder")),
    frozenset({"decode", "latent"}): ("generator", ("decode",)),
}
WORDS = frozenset().union(*KINDS)


@torch.inference_mode(False)  # weights that gradients may pass, wherever it is called
def wrap(model: Any = None, *, name: str = "model", **options: Any) -> Model:
    """Return a model that can be conditioned, sampled, scored, of whatever is given.

    Args:
        model: a flow of another library, a diffusers pipeline, an object with ``encode``, ``decode`` and ``prior``, or
            nothing where keywords say what it is, as above.
        name: what it is called; a posterior's file keeps it.
        options: ``shape``, (channels, height, width) of a picture; ``pixels``, a `PixelFormat`; and those of the
            adapter (see docs/models.md), such as ``steps`` of a velocity or ``context`` of a conditional flow.

    Raises:
        TypeError: it is nothing that is known, an option is missing or unknown.
        ValueError: it does not do what a model must: its decode does not undo its encode, it gives NaN.

    >>> import torch
    >>> double = wrap(encode=lambda x: 2 * x.flatten(1), decode=lambda z: z.view(-1, 1, 2, 2) / 2, shape=(1, 2, 2))
    >>> double.encode(torch.zeros(3, 1, 2, 2, dtype=torch.uint8)).shape
    torch.Size([3, 4])
    """
    given = {word: options.pop(word) for word in sorted(WORDS & options.keys()) if options[word] is not None}
    if model is not None and given:
        raise TypeError(f"Expected a model, or {_ways()}; got a model and {', '.join(given)}=.")
    if isinstance(model, Model):
        return model
    if isinstance(model, BaseModel):
        return Model(model.source, model.name, model.file)
    if model is None:
        if frozenset(given) not in KINDS:
            raise TypeError(f"Expected a model, or {_ways()}; got {' and '.join(f'{w}=' for w in given) or 'none'}.")
        adapter, first = KINDS[frozenset(given)]
        values = [given.pop(word) for word in first]
        if adapter == "autoencoder" and len(values) == 2:
            values = [tuple(values)]
        return Model(_adapt(import_module(f"transflow.adapters.{adapter}"), values, given | options), name)
    if (found := recognise(model)) is not None:
        return Model(_adapt(found, [model], options), name)
    if all(has(model, member) for member in MUST):
        inexact = bool(options.pop("inexact", False))
        if options:
            got = ", ".join(options)
            raise TypeError(f"Expected no options but inexact= for an object with encode, decode and prior; got {got}.")
        return Model(model, name) if inexact else check_exact(Model(model, name))
    raise TypeError(
        "Expected a flow of zuko, normflows, nflows, FrEIA, torchflows or torch.distributions, a diffusers pipeline, "
        f"an object with encode, decode and prior, or {_ways()}; got {type(model).__name__}."
    )


def check_exact(model: Model) -> Model:
    """Return a model of somebody's own object, after trying whether its decode undoes its encode.

    One that says its own `exactness`, or in `lacks` why it has none, is taken at its word.

    Raises:
        ValueError: the error on one of three test pictures is above the bound.
    """
    if model.can("exactness") or model.why_not("exactness"):
        return model
    pixels = measure.pictures(model.shape)
    decoded = model.decode_unclamped(model.encode_pixels(pixels)).cpu()
    error = (decoded - model.quantise(pixels)).abs().max().item()
    if not error <= measure.BOUND:
        raise ValueError(
            f"Expected a model whose decode undoes its encode to {measure.BOUND} of the pixel range; got {model.name}, "
            f"which errs by {error:.2g}. Give it pixels, if it sees them otherwise, or wrap it with inexact=True."
        )
    return model


def _adapt(adapter: Any, values: list[Any], options: Mapping[str, Any]) -> Any:
    """Call an adapter, whose signature says which options there are."""
    parameters = inspect.signature(adapter.adapt).parameters
    known = list(parameters)[len(values) :]
    kind = adapter.__name__.rpartition(".")[2]
    if unknown := [option for option in options if option not in known]:
        raise TypeError(f"Expected options of the adapter {kind}, {', '.join(known)}; got {', '.join(unknown)}.")
    missing = [option for option in known if parameters[option].default is inspect.Parameter.empty]
    if missing := [option for option in missing if option not in options]:
        example = "; shape=(channels, height, width) of a picture" if "shape" in missing else ""
        raise TypeError(
            f"Expected {', '.join(f'{option}=' for option in missing)} for the adapter {kind}{example}; got none."
        )
    return adapter.adapt(*values, **options)


def _ways() -> str:
    return ", or ".join(" and ".join(f"{word}=" for word in sorted(words)) for words in KINDS)
