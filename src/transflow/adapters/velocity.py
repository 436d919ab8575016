"""Flow matching: any network v(x, t) that learned to take noise to pictures, used by Euler's or Heun's steps.

On the straight path x_t = (1 - t) noise + t picture, noise at t = 0, the velocity is E[picture - noise | x_t].
Libraries write the same model in other ways, and a wrong guess does not fail, it draws worse pictures. So the way is
asked for:

    convention        noise at   the network is given   and gives
    "flow_matching"   t = 0      t                      picture - noise    (torchcfm, flow_matching)
    "diffusers"       s = 1      1000 s                 noise - picture    (FlowMatchEuler: SD3, FLUX)
    Convention(...)   anything of that kind, and networks that give the picture (a denoiser)

Reference: Lipman et al. 2023, *Flow matching for generative modeling*, arXiv 2210.02747; Liu, Gong and Liu 2023, *Flow
straight and fast*, arXiv 2209.03003.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from transflow.generative import ode
from transflow.generative.ode_model import RANGE, OdeModel, like
from transflow.pictures.pixels import PixelFormat
from transflow.store.identity import options

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


def adapt(
    net: Callable[..., Any],
    shape: tuple[int, int, int],
    *,
    steps: int = 20,
    method: str = "euler",
    power: float = 1.5,
    time_first: bool | None = None,
    convention: str | Convention = "flow_matching",
    pixels: PixelFormat = RANGE,
    temperature: float = 1.0,
) -> OdeModel:
    """Return a velocity network as an exactly invertible model of pictures.

    Args:
        net: a module, which is copied and put in eval mode, or a function. Classes and other arguments are bound
            before (`functools.partial`).
        shape: of a picture, (C, H, W).
        steps: of the sampler. Their number and grid are part of the model: with others, latents are others.
        method: "euler", or "heun" with two evaluations a step.
        power: of the grid (`ode.time_grid`). 1 is equal steps, which not all pictures can be undone through.
        time_first: whether it is called as net(t, x); None reads it from the names of its parameters.
        convention: how it was trained, see above.
        pixels: what it sees of pictures.
        temperature: at which its samples are best left.

    Raises:
        ValueError: an option is not one of these, or the network does not fit them.
    """
    check_shape(shape)
    if method not in ode.METHODS:
        raise ValueError(f"Expected the method {' or '.join(map(repr, ode.METHODS))}; got {method!r}.")
    how = CONVENTIONS.get(convention) if isinstance(convention, str) else convention
    if not isinstance(how, Convention):
        raise ValueError(f"Expected a convention of {', '.join(map(repr, CONVENTIONS))}; got {convention!r}.")
    if how.predicts == "picture" and method == "heun":
        raise ValueError(
            'Expected the method "euler" for a network that gives the picture; got "heun", which asks it at the '
            "picture's own time, where that says nothing of the velocity."
        )
    times = ode.time_grid(steps, power)
    first = takes_time_first(net) if time_first is None else time_first
    own = frozen(net)
    velocity = Velocity(own, how, first).eval()
    try_once(velocity, shape)
    sampler = ode.Sampler(ode.METHODS[method](velocity, times))
    configuration = None
    if isinstance(own, nn.Module):
        grid = {"steps": steps, "method": method, "power": float(power)}
        configuration = {"class": type(own).__name__, "shape": shape, "convention": options(how), **grid}
    card = {"family": "velocity", "notes": [f"{steps} steps ({method}), grid power {power:g}: part of the model"]}
    return OdeModel(sampler, velocity, shape, pixels, "velocity", configuration, card, temperature)


def check_shape(shape: Any) -> None:
    """Raise `ValueError` unless this is (C, H, W)."""
    if not isinstance(shape, tuple) or len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(f"Expected a shape (C, H, W); got {shape}.")


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


def frozen(net: Any) -> Any:
    """Return a copy of a network in eval mode, without gradients, in float32 or float64; functions as they are."""
    if not isinstance(net, nn.Module):
        return net
    own = copy.deepcopy(net).requires_grad_(False).eval()
    return own if like(own).dtype in (torch.float32, torch.float64) else own.float()


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
            out = network(x, torch.tensor(time, dtype=torch.long if isinstance(time, int) else x.dtype).to(x.device))
    except (TypeError, RuntimeError, ValueError, IndexError, AttributeError) as error:
        why = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise ValueError(
            f"Expected a network that takes pictures {shape} and a time; got an error from it: {why}. "
            "Check the shape, the order of x and t, and that other arguments are bound."
        ) from error
    if out.shape != x.shape or not torch.isfinite(out).all():
        got = tuple(out.shape[1:]) if out.shape != x.shape else "NaN or infinity"
        raise ValueError(f"Expected a network that gives finite numbers of shape {shape}; got {got}.")
