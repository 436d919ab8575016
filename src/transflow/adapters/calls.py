"""Functions that a user gives: copied where they can be, called with tensors or arrays, for one latent or a list."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from transflow.adapters import modules
from transflow.adapters.flow import FlowSource, Shape
from transflow.adapters.whiten import flatten, shapes, split


@dataclass(frozen=True)
class Functions:
    """Functions between floats and latents of any form, called with tensors or with arrays.

    Attributes:
        encode: x (B, C, H, W) -> latents (B, ...), or a list or tuple of them.
        decode: what `encode` gives -> x, of B C H W numbers.
        density: x -> log p(x), (B,), nats; or None.
        shape: (C, H, W).
        parts: the shapes of the latents, without the batch.
        kind: in what the latents come: Tensor for a single one, else list or tuple.
        arrays: whether the functions take numpy arrays.
        like: an empty tensor of the dtype and on the device that they take.
    """

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    density: Callable[[Any], Any] | None
    shape: Shape
    parts: tuple[tuple[int, ...], ...]
    kind: type
    arrays: bool
    like: Tensor

    def measured(self, x: Tensor) -> Functions:
        """Return the same functions with the form of the latents that they give for x (B, C, H, W)."""
        found, kind = self._encoded(x)
        return replace(self, parts=shapes(found), kind=kind)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Return flat latents (B, D) of x (B, C, H, W)."""
        found, kind = self._encoded(x)
        if (shapes(found), kind) != (self.parts, self.kind):
            raise ValueError(f"Expected encode to give latents of shapes {self.parts}; got {shapes(found)}.")
        return flatten(found), None

    def inverse(self, z: Tensor) -> Tensor:
        """Return x (B, C, H, W) of flat latents (B, D)."""
        parts = [self.given(part) for part in split(z, self.parts)]
        x = self.tensor(self.decode(parts[0] if self.kind is Tensor else self.kind(parts)), "decode")
        if x.shape[:1] != z.shape[:1] or x[0].numel() != math.prod(self.shape) or self._turned(x.shape[1:]):
            raise ValueError(
                f"Expected decode to give pictures of shape {(len(z), *self.shape)}; got {tuple(x.shape)}. "
                "Give the shape=(channels, height, width) of the model, or transpose in the functions."
            )
        return x.reshape(-1, *self.shape)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x), (B,), double, in nats."""
        assert self.density is not None
        found = self.tensor(self.density(self.given(x)), "log_prob")
        if found.numel() != len(x):
            raise ValueError(f"Expected log_prob to give {len(x)} numbers, one a picture; got {tuple(found.shape)}.")
        if found.isnan().any():
            raise ValueError(
                f"Expected log densities; got NaN for picture {int(found.flatten().isnan().nonzero()[0])}."
            )
        return found.double().flatten()

    def given(self, tensor: Tensor) -> Any:
        """Return a tensor as the functions take it; they may write into it."""
        return tensor.detach().cpu().numpy().copy() if self.arrays else tensor.clone()

    def tensor(self, value: Any, name: str) -> Tensor:
        """Return what a function of this name gave as a tensor."""
        if isinstance(value, Tensor):
            return value.to(self.like)
        if not hasattr(value, "__array__"):
            raise ValueError(f"Expected {name} to give a tensor or an array; got {type(value).__name__}.")
        return torch.from_numpy(np.array(value)).to(self.like)

    def _encoded(self, x: Tensor) -> tuple[list[Tensor], type]:
        found = self.encode(self.given(x))
        kind = list if isinstance(found, list) else tuple if isinstance(found, tuple) else Tensor
        parts = [self.tensor(part, "encode") for part in ((found,) if kind is Tensor else found)]
        for part in parts:
            if part.ndim < 2 or len(part) != len(x):
                raise ValueError(
                    f"Expected encode to give latents alone, each of shape ({len(x)}, ...); got {tuple(part.shape)}. "
                    "A log-determinant belongs into log_prob=."
                )
        return parts, kind

    def _turned(self, found: Sequence[int]) -> bool:
        """Whether pictures have their axes in another order."""
        return len(found) == 3 and tuple(found) != self.shape


@dataclass(frozen=True, eq=False)
class CallingSource(FlowSource):
    """A source that calls what a user gives. It pickles if that does, and says in one line if not."""

    @property
    def called(self) -> dict[str, Any]:
        """What is called, by its role."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        """Refuse functions that no other process can find: lambdas, and those inside others."""
        for role, function in self.called.items():
            name = getattr(function, "__qualname__", "")
            if "<lambda>" in name or "<locals>" in name:
                raise pickle.PicklingError(
                    f"Expected functions defined at the top of a module, which pickle; got {name} for {role}. "
                    "Move it there."
                )
        return dict(vars(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself: it does not change."""
        return self


def still_functions(functions: Sequence[Any], module: Any = None) -> tuple[list[Any], Any, Tensor]:
    """Return functions that nothing outside changes, what they are made of, and where.

    Args:
        functions: modules and methods of modules, which are copied, in eval mode; other functions, which are used as
            they are; None, which stays.
        module: what those are made of: a module, or a list or tuple of modules, tensors and plain values.

    Returns:
        The functions; `module`, or the modules that the functions are or are methods of where all are such, else None;
        and an empty tensor of their dtype and on their device.

    Raises:
        ValueError: a module cannot be copied, or is in training mode where it cannot be copied for the functions.
    """
    made_of = list(module) if isinstance(module, (list, tuple)) else [module]
    given = [part for part in made_of if isinstance(part, nn.Module)]
    copied: list[Any] = modules.still(list(functions))  # at once: a module that they share stays one
    owners = [getattr(function, "__self__", function) for function in copied if function is not None]
    found = list({id(owner): owner for owner in owners if isinstance(owner, nn.Module)}.values())
    for owner in found:
        owner.eval().requires_grad_(False)
    if any(part.training for part in given) and not all(isinstance(owner, nn.Module) for owner in owners):
        raise ValueError("Expected a module in eval mode; got one in training mode. Call module.eval() first.")
    if module is None and all(isinstance(owner, nn.Module) for owner in owners):
        module = found[0] if len(found) == 1 else found
    return copied, module, modules.place(nn.ModuleList(given or found))
