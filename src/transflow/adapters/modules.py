"""A foreign model as it is kept: recognised by name, copied, in eval mode, and described for its fingerprint.

Nothing of another library is imported: a class is known by the top package of its module and its own name, along the
method resolution order. The user's module is never touched; what is used is a deep copy in eval(), without gradients.
Its description holds what changes the map and is no weight: classes by path, and their plain options.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from types import FunctionType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from transflow.store import identity

Model = TypeVar("Model")

FLAGS = {"training", "first_training_batch_pass", "init_on_next_batch"}  # states, not options
PASSING = ("last_n_samples", "last_firmom", "last_secmom", "device_buffer")  # buffers that say nothing of the map
INNER = set(vars(nn.Module()))
TORCH_OPTIONS = {"num_heads"}  # of torch's layers, beside those that they call constants


def is_a(thing: Any, name: str) -> bool:
    """Return whether a thing is of a class such as "zuko.Flow", of any submodule, or of one made from it.

    >>> is_a(nn.ReLU(), "torch.Module"), is_a(nn.ReLU(), "zuko.Flow")
    (True, False)
    """
    return any(f"{kind.__module__.split('.')[0]}.{kind.__name__}" == name for kind in type(thing).__mro__)


def find(module: nn.Module, *names: str) -> list[tuple[str, Any]]:
    """Return the layers of a module that are of one of the classes, with their paths."""
    return [(path, layer) for path, layer in module.named_modules() if any(is_a(layer, name) for name in names)]


def still(model: Model, *, double: bool = False) -> Model:
    """Return a copy of a module in eval mode, without gradients, half precision made single.

    Args:
        model: a module, or another object of a library that can be copied.
        double: whether to make it double.

    Raises:
        ValueError: it cannot be copied.
    """
    try:
        copied = copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"Expected a model that can be copied; got a {type(model).__name__} that cannot ({error}). "
            "Build it, load it, or run it once under torch.no_grad()."
        ) from None
    if isinstance(copied, nn.Module):
        copied.eval().requires_grad_(False)
        half = place(copied).dtype in (torch.float16, torch.bfloat16)
        if double or half:
            copied.to(torch.float64 if double else torch.float32)
    return copied


def place(module: nn.Module) -> Tensor:
    """Return an empty tensor of a module's dtype and device: those of its first weight of floats."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            return tensor.detach().new_empty(0)
    return torch.empty(0, dtype=torch.float32, device="cpu")


def fingerprint(family: str, model: Any, configuration: dict[str, Any], **weights: Tensor | None) -> str:
    """Return the identity of a foreign model.

    Args:
        family: the adapter's name.
        model: a module, or another object made of tensors, modules and plain values.
        configuration: what the adapter adds to the map, plain.
        weights: tensors that the adapter adds, such as a context; None is left out.
    """
    tensors = {f"adapter.{name}": tensor for name, tensor in weights.items() if tensor is not None}
    options: dict[str, Any] = {}
    for path, value in _walk(model, "", set()):
        (tensors if isinstance(value, Tensor) else options)[path] = value
    return identity.fingerprint(family, {"model": options, **configuration}, tensors)


def _walk(value: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Every tensor and plain option of an object, by path."""
    if isinstance(value, nn.Module):
        for name, tensor in value.state_dict().items():
            if not name.endswith(PASSING) and isinstance(tensor, Tensor):
                yield f"{path}{name}", tensor
        for name, layer in value.named_modules():
            yield f"{path}{name}:", type(layer).__name__
            yield from _options(layer, f"{path}{name}:")
    elif isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, partial):
        yield from _walk(value.func, f"{path}.func", seen)
        yield from _walk(list(value.args), f"{path}.args", seen)
        yield from _walk(value.keywords, f"{path}.keywords", seen)
    elif isinstance(value, (list, tuple)) and _plain(value) is None:
        for i, part in enumerate(value):
            yield from _walk(part, f"{path}[{i}]", seen)
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            yield from _walk(value[key], f"{path}.{key}", seen)
    elif (plain := _plain(value)) is not None:
        yield path, plain[0]
    elif isinstance(value, (type, type(_walk))):
        yield path, value.__qualname__
    elif value is not None and id(value) not in seen:
        seen.add(id(value))
        yield f"{path}:", type(value).__name__
        if type(value).__module__.split(".")[0] != "builtins":
            yield from _walk(dict(getattr(value, "__dict__", {})), path, seen)


def _options(layer: nn.Module, path: str) -> Iterator[tuple[str, Any]]:
    """The options of one layer: of torch's own those that torch calls constants, of others all that are plain."""
    if type(layer).__module__.startswith("torch."):
        names = set(getattr(layer, "__constants__", ())) | TORCH_OPTIONS & vars(layer).keys()
    else:
        names = set(vars(layer)) - INNER - FLAGS
    for name in sorted(names):
        value = getattr(layer, name, None)
        if (plain := _plain(value)) is not None:
            yield f"{path}{name}", plain[0]
        elif isinstance(value, (partial, FunctionType)):
            yield from _walk(value, f"{path}{name}", set())


def _plain(value: Any) -> tuple[Any] | None:
    """A plain value in its form in JSON, wrapped; None for what is not plain."""
    if isinstance(value, (bool, int, str)):
        return (value,)
    if isinstance(value, float):
        return (value if abs(value) < float("inf") else str(value),)
    if isinstance(value, (list, tuple)):
        parts = [_plain(part) if part is not None else (None,) for part in value]
        return ([part[0] for part in parts if part],) if all(parts) else None
    return None
