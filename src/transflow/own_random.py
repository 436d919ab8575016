"""Random numbers of our own while a module is built: torch's global generator belongs to its user, in every thread.

So do the default device and dtype: weights are made on the processor in float32, whatever the defaults are.

Putting the global state back afterwards (`torch.random.fork_rng`) takes back what other threads drew meanwhile, who
then draw the same numbers twice. Here every function that draws is given a generator instead. A generator of a seed
draws what the global one would have drawn after ``torch.manual_seed`` of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

DRAWING = ("rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "poisson")
MAKING = (
    "zeros",
    "ones",
    "empty",
    "full",
    "eye",
    "rand",
    "randn",
    "linspace",
    "arange",
    "tensor",
    "randint",
    "randperm",
)
DRAWING_IN_PLACE = ("normal_", "uniform_", "random_", "bernoulli_", "exponential_", "log_normal_", "geometric_")
FUNCTIONS: set[Callable[..., Any]] = {
    *(getattr(torch, name) for name in DRAWING),
    *(getattr(torch.Tensor, name) for name in DRAWING_IN_PLACE),
    *(f for f in vars(nn.init).values() if inspect.isfunction(f) and "generator" in inspect.signature(f).parameters),
}
PLACED: set[Callable[..., Any]] = {getattr(torch, name) for name in MAKING}
WITHOUT_VALUES: set[Callable[..., Any]] = {
    getattr(torch, name) for name in ("zeros", "ones", "empty", "eye", "rand", "randn", "linspace")
}  # what is made of values has their dtype, but floats


class OwnRandom(TorchFunctionMode):
    """Within it, in this thread, what draws draws from a generator of this seed, and tensors are made on the processor.

    >>> state = torch.random.get_rng_state()
    >>> with OwnRandom(0):
    ...     first = torch.nn.Linear(2, 2).weight
    >>> bool((state == torch.random.get_rng_state()).all())
    True

    Args:
        seed: as `torch.manual_seed` takes it.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator(device="cpu").manual_seed(seed)

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, with the generator where it draws and has none."""
        given = dict(kwargs or {})
        if func is F.dropout:
            return self._dropout(*args, **given)
        if func in FUNCTIONS and given.get("generator") is None:
            given["generator"] = self.generator
        if func in PLACED:
            if given.get("device") is None:
                given["device"] = "cpu"
            if given.get("dtype") is None and func in WITHOUT_VALUES:
                given["dtype"] = torch.float32
            made = func(*args, **given)
            return made.float() if given.get("dtype") is None and made.dtype == torch.get_default_dtype() else made
        return func(*args, **given)

    def _dropout(self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        """What torch does on the processor, whose own function takes no generator."""
        if not training or not p:
            return x
        return x * torch.empty_like(x).bernoulli_(1 - p, generator=self.generator).div_(1 - p)
