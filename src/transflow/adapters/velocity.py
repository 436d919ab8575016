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

from collections.abc import Callable
from typing import Any

from torch import nn

from transflow.adapters import modules
from transflow.adapters.flow import of_shape
from transflow.adapters.networks import (
    CONVENTIONS,
    Convention,
    Velocity,
    takes_time_first,
    try_once,
)
from transflow.generative import ode
from transflow.generative.ode_model import RANGE, TEMPERATURE, OdeModel
from transflow.pictures.pixels import PixelFormat


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
    temperature: float = TEMPERATURE,
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
        temperature: length of latents, over sqrt(D), at which its pictures look best: tau of the noise "typical".

    Raises:
        ValueError: an option is not one of these, or the network does not fit them.
    """
    shape = of_shape(shape)
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
    own = modules.still(net) if isinstance(net, nn.Module) else net
    velocity = Velocity(own, how, first)
    try_once(velocity, shape)
    sampler = ode.Sampler(ode.METHODS[method](velocity, times))
    fingerprint = None
    if isinstance(own, nn.Module):
        options = {"shape": shape, "convention": how, "steps": steps, "method": method, "power": float(power)}
        fingerprint = modules.fingerprint("velocity", own, {**options, "pixels": pixels})
    card = {"family": "velocity", "notes": [f"{steps} steps ({method}), grid power {power:g}: part of the model"]}
    network = own if isinstance(own, nn.Module) else velocity
    return OdeModel(sampler, network, shape, pixels, fingerprint, card, temperature)
