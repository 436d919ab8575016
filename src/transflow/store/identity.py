"""What things are known by: a model by its fingerprint, bytes by their digest.

    fingerprint = sha256(family, canonical JSON of the configuration, weights by name in float32)

The configuration leaves out every option that has its default, so a new option with a default changes no
fingerprint, and neither does a renamed class. Two rules follow: a default that has shipped never changes, and weights
keep the names that they have in the model's file. Precision and device are no part of a model's identity.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from transflow.plain_values import quoted

Config = TypeVar("Config")


def digest(content: Any) -> str:
    """Return a hash of bytes, 32 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()[:32]


def fingerprint(family: str, configuration: Any, weights: Mapping[str, Tensor]) -> str:
    """Return the identity of a model, 64 hexadecimal digits.

    Args:
        family: the architecture's name, such as "glow".
        configuration: a dataclass, or plain values as `canonical` takes them; what changes the map but is not a weight.
        weights: by their names in the model's file; of any precision, device and order.

    >>> import torch
    >>> fingerprint("shift", {"size": 2}, {"by": torch.ones(2)})[:16]
    '8d4b33b429e6f6aa'
    """
    whole = hashlib.sha256(f"{family}\n{canonical(configuration)}\n".encode())
    for name in sorted(weights):
        tensor = weights[name].detach().float().cpu().contiguous()
        whole.update(f"{name} {list(tensor.shape)}\n".encode())
        whole.update(tensor.numpy().tobytes())
    return whole.hexdigest()


def canonical(value: Any) -> str:
    """Return plain values as JSON of one form: keys sorted, no spaces; dataclasses without their defaults.

    Raises:
        ValueError: a number is NaN or infinite.
        TypeError: a value has no plain form.

    >>> canonical({"b": (1, 2.0), "a": None})
    '{"a":null,"b":[1,2.0]}'
    """
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(value: Any) -> Any:
    """Return a value as JSON has it: numbers of numpy and torch as Python's, tuples as lists, dataclasses as options.

    >>> import torch
    >>> plain((np.float32(0.5), torch.tensor(3), {"size": np.int64(8)}))
    [0.5, 3, {'size': 8}]
    """
    if is_dataclass(value) and not isinstance(value, type):
        return options(value)
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, (np.generic, np.ndarray, Tensor)):
        return plain(value.tolist())
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"Expected a configuration of finite numbers; got {value}.")
        return value
    raise TypeError(f"Expected a configuration of plain values; got {type(value).__name__}.")


def options(config: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that differ from their defaults, as plain values."""
    found = {}
    for part in fields(config):
        default = part.default_factory() if part.default_factory is not MISSING else part.default
        value = getattr(config, part.name)
        if default is MISSING or plain(value) != plain(default):
            found[part.name] = plain(value)
    return found


def read_options(kind: type[Config], found: Any, path: Any) -> Config:
    """Return a configuration from the options in a file.

    Args:
        kind: a dataclass, all of whose fields have defaults.
        found: what the file has: some of its fields, and their values.
        path: the file.

    Raises:
        ValueError: the file has options that this version does not know, or values that do not fit.
    """
    if not isinstance(found, dict):
        raise ValueError(f"Expected a model file with its options by name; got a damaged one: {path}")
    known = {part.name for part in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(map(str, found)) - known):
        raise newer(f"the option {', '.join(unknown)}", path)
    try:
        return kind(**found)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Expected a whole model file; got a damaged one ({quoted(str(error))}): {path}") from None


def newer(what: str, path: Any) -> ValueError:
    """Return the error that a file has something that this version does not know."""
    return ValueError(
        f"Expected a file that this version of transflow can read; got one with {quoted(what)}, "
        f"made by a newer transflow: {path}. Upgrade transflow."
    )


def fingerprint_0_1(glow: Any, bits: int, weights: Mapping[str, Tensor]) -> str:
    """Return the fingerprint that version 0.1.0 wrote for a Glow into posteriors, latents and classifiers.

    Args:
        glow: the options of its configuration, as attributes.
        bits: a pixel and channel.
        weights: by name.
    """
    config = (
        f"GlowConfig(channels={glow.channels}, size={glow.size}, steps={glow.steps}, width={glow.width}, "
        f"coupling={glow.coupling!r}, permutation={glow.permutation!r})"
    )
    whole = hashlib.sha256(f"({config}, PixelFormat(bits={bits}))".encode())
    for name, tensor in sorted(weights.items()):
        whole.update(name.encode())
        whole.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()
