"""Other people's networks in the form that the steps of a sampler call: x (B, ...) and one time to (B, ...).

They differ in the order of their arguments, in what they call time, in what they predict and in what they wrap it in.
A network of flow matching becomes its velocity, picture minus noise, whatever its convention.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from transflow.generative.ode_model import like

TIME_NAMES = {"t", "time", "times", "timestep", "timesteps"}
PREDICTIONS = ("picture - noise", "noise - picture", "picture")


@dataclass(frozen=True)
class Convention:
    """How a network was trained.

    Attributes:
        noise_at: 0 or 1, the time at which x is noise.
        predicts: "picture - noise", "noise - picture" or "picture".
        time_scale: the network is given time times this.
        scalar_time: give time as a number without dimensions instead of one for each picture, (B,).
    """

    noise_at: int = 0
    predicts: str = "picture - noise"
    time_scale: float = 1.0
    scalar_time: bool = False

    def __post_init__(self) -> None:
        if self.noise_at not in (0, 1):
            raise ValueError(f"Expected noise at time 0 or 1; got {self.noise_at}.")
        if self.predicts not in PREDICTIONS:
            raise ValueError(f"Expected a prediction of {', '.join(map(repr, PREDICTIONS))}; got {self.predicts!r}.")
        if not 0 < self.time_scale < math.inf:
            raise ValueError(f"Expected a time scale above 0; got {self.time_scale}.")


CONVENTIONS = {"flow_matching": Convention(), "diffusers": Convention(1, "noise - picture", 1000.0)}


class Velocity(nn.Module):
    """v(x, t), picture minus noise with noise at t = 0, of a network of any convention.

    Args:
        net: a module or a function.
        convention: how it was trained.
        time_first: whether it takes (t, x) instead of (x, t).
    """

    def __init__(self, net: Callable[..., Any], convention: Convention, time_first: bool = False) -> None:
        super().__init__()
        self.net, self.convention, self.time_first = net, convention, time_first

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the velocity at x (B, ...), shaped as x; t has no dimensions."""
        how = self.convention
        time = (1 - t if how.noise_at else t) * how.time_scale
        time = time if how.scalar_time else time.expand(len(x))
        out = only(self.net(time, x) if self.time_first else self.net(x, time))
        if how.predicts == "picture":
            return (out - x) / (1 - t)
        return out if how.predicts == "picture - noise" else -out


def takes_time_first(net: Callable[..., Any]) -> bool:
    """Return whether the first parameter of a network is its time, by the names of its parameters.

    Raises:
        ValueError: it is not one of the first two that has such a name.
    """
    function = net.forward if isinstance(net, nn.Module) else net
    names = list(inspect.signature(function).parameters)[:2]
    found = [name.lower() in TIME_NAMES for name in names]
    if len(found) != 2 or found[0] == found[1]:
        raise ValueError(
            f"Expected a network that takes x and t; got parameters {', '.join(names) or 'of no name'}. "
            "Give time_first=True for net(t, x), time_first=False for net(x, t)."
        )
    return found[0]


def only(out: Any) -> Tensor:
    """Return the tensor that a network gives: alone, first of a tuple, or as `sample` of an output of diffusers."""
    if isinstance(out, tuple):
        out = out[0]
    return out if isinstance(out, Tensor) else out.sample


def try_once(network: nn.Module, shape: tuple[int, ...], time: float = 0.5) -> None:
    """Evaluate a network of (x, t) once, at zero.

    Raises:
        ValueError: it does not take such pictures, or gives anything but finite numbers of the same shape.
    """
    example = like(network)
    x = torch.zeros(1, *shape, dtype=example.dtype, device=example.device)
    try:
        with torch.no_grad():
            at = torch.tensor(time, dtype=torch.long if isinstance(time, int) else x.dtype, device=x.device)
            out = network(x, at)
    except (TypeError, RuntimeError, ValueError, IndexError, AttributeError) as error:
        why = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise ValueError(
            f"Expected a network that takes pictures {shape} and a time; got an error from it: {why}. "
            "Check the shape, the order of x and t, and that other arguments are bound."
        ) from error
    if out.shape != x.shape or not torch.isfinite(out).all():
        got = tuple(out.shape[1:]) if out.shape != x.shape else "NaN or infinity"
        raise ValueError(f"Expected a network that gives finite numbers of shape {shape}; got {got}.")
