"""The steps of diffusers' deterministic samplers as affine maps, read off the schedulers themselves.

A step of DDIM with eta = 0 is x' = a x + b out for each kind of prediction (epsilon, sample, v_prediction), so

    a = step(out = 0, t, x = 1),   b = step(out = 1, t, x = 0)

reads a scheduler off to rounding, whatever its spacing and offsets; with clipped samples it is not affine, and has no
inverse. A network that predicts the picture (sample) ends in a step with a = 0, so it is used by the noise that follows
from it, which is affine too. FlowMatchEuler's step is Euler's, of the velocity.

`power` says how the time grid is spaced, finer near the pictures: timesteps (T - 1) (1 - i/N)^power, and sigmas
(1 - i/N)^power. None is the scheduler's own grid, which ends in a long step that cannot be undone for all pictures.

Reference: Song, Meng and Ermon 2021, *Denoising diffusion implicit models*, arXiv 2010.02502.
"""

from __future__ import annotations

import copy
import importlib
import inspect
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from transflow.adapters.networks import Convention, Velocity, only
from transflow.generative import ode
from transflow.generative.ode import Step

DIFFUSION = ("DDIMScheduler", "DDPMScheduler")
FLOW = "FlowMatchEulerDiscreteScheduler"


class Output(nn.Module):
    """p x + q out, of a network's output: the output itself, or the noise that follows from a predicted picture."""

    def __init__(self, net: nn.Module, p: float = 0.0, q: float = 1.0) -> None:
        super().__init__()
        self.net, self.p, self.q = net, p, q

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return it, shaped as x (B, ...), at one time."""
        out = only(self.net(x, t))
        return out if not self.p and self.q == 1 else self.p * x + self.q * out


def timestep_grid(steps: int, power: float, last: int = 999) -> tuple[int, ...]:
    """Return timesteps from noise to pictures, ``last (1 - i/steps)^power``, i < steps, rounded, all different.

    >>> timestep_grid(5, power=2)
    (999, 639, 360, 160, 40)
    """
    if steps > last + 1:
        raise ValueError(f"Expected at most {last + 1} steps; got {steps}.")
    found: list[int] = []
    for t in reversed(ode.time_grid(steps, power)[:-1]):
        lowest, highest = found[-1] + 1 if found else 0, last + 1 - steps + len(found)
        found.append(min(max(round(last * (1 - t)), lowest), highest))
    return tuple(reversed(found))


def steps_of(net: nn.Module, scheduler: Any, steps: int, method: str, power: float | None) -> tuple[Step, ...]:
    """Return the steps of a network under a scheduler, from noise to pictures.

    Args:
        net: of diffusers.
        scheduler: DDIM, DDPM (its steps are DDIM's) or FlowMatchEuler; it is left as it is.
        steps: how many.
        method: "euler", or "heun" for flow matching.
        power: of the grid, or None for the scheduler's own.

    Raises:
        ValueError: a scheduler of another kind, or settings that have no inverse.
    """
    kind = type(scheduler).__name__
    if method not in ode.METHODS:
        raise ValueError(f"Expected the method {' or '.join(map(repr, ode.METHODS))}; got {method!r}.")
    if kind == FLOW:
        return _flow_steps(net, scheduler, steps, method, power)
    if kind not in DIFFUSION:
        raise ValueError(
            f"Expected a scheduler of {', '.join(DIFFUSION)} or {FLOW}; got {kind}. "
            "Give (unet, DDIMScheduler.from_config(pipeline.scheduler.config))."
        )
    if method != "euler":
        raise ValueError(f'Expected the method "euler" under {kind}, whose steps are those of DDIM; got {method!r}.')
    return _diffusion_steps(net, scheduler, steps, power)


def _flow_steps(net: nn.Module, scheduler: Any, steps: int, method: str, power: float | None) -> tuple[Step, ...]:
    config = scheduler.config
    for name in ("stochastic_sampling", "invert_sigmas"):
        if config.get(name):
            raise ValueError(f"Expected a scheduler with a fixed way to the picture; got {FLOW} with {name}=True.")
    velocity = Velocity(net, Convention(1, "noise - picture", float(config.num_train_timesteps), scalar_time=True))
    if power is not None:
        return ode.METHODS[method](velocity, ode.time_grid(steps, power))
    if config.get("use_dynamic_shifting"):
        raise ValueError(f"Expected a grid that is fixed; got {FLOW} with use_dynamic_shifting=True. Give power=1.5.")
    own = copy.deepcopy(scheduler)
    own.set_timesteps(steps)
    return ode.METHODS[method](velocity, [1 - sigma for sigma in own.sigmas.double().tolist()])


def _diffusion_steps(net: nn.Module, scheduler: Any, steps: int, power: float | None) -> tuple[Step, ...]:
    own, total = ddim(scheduler), int(scheduler.config.num_train_timesteps)
    if not isinstance(steps, int) or not 1 <= steps <= total:
        raise ValueError(f"Expected 1 to {total} steps; got {steps}.")
    if power is None:
        own.set_timesteps(steps)
        times = own.timesteps.tolist()
        targets = [t - total // steps for t in times]
    else:
        times = list(timestep_grid(steps, power, total - 1))
        targets = [*times[1:], -1]
    as_noise = ddim(scheduler, prediction_type="epsilon")
    predicts_picture, made = own.config.prediction_type == "sample", []
    for t, target in zip(times, targets, strict=True):
        a, b = affine(own, t, target)
        p, q = 0.0, 1.0
        if predicts_picture:
            (a, b), (a_picture, b_picture) = affine(as_noise, t, target), (a, b)
            p, q = ((a_picture - a) / b, b_picture / b) if b else (0.0, 1.0)
        if b:  # else the scheduler repeats itself, as DDIM's last step does without set_alpha_to_one
            made.append(Step(Output(net, p, q), t, a, b))
    return tuple(made)


def ddim(scheduler: Any, **options: Any) -> Any:
    """Return the DDIM scheduler, without clipping, of the configuration of another."""
    diffusers = importlib.import_module("diffusers")
    options = {"clip_sample": False, "thresholding": False, **options}
    return diffusers.DDIMScheduler.from_config(scheduler.config, **options)


def affine(scheduler: Any, t: int, target: int) -> tuple[float, float]:
    """Return a and b of the step from one timestep to another, below 0 for the picture.

    Raises:
        ValueError: the scheduler's step is not affine, or not finite.
    """
    scheduler.num_inference_steps = Fraction(int(scheduler.config.num_train_timesteps), t - target)
    zero, one = torch.zeros(1, dtype=torch.float64, device="cpu"), torch.ones(1, dtype=torch.float64, device="cpu")
    a, b, both = (
        scheduler.step(out, t, x).prev_sample.item() for out, x in ((zero, one), (one, zero), (3 * one, 2 * one))
    )
    if not abs(both - 2 * a - 3 * b) <= 1e-9 * (1 + abs(a) + abs(b)):
        raise ValueError(
            f"Expected a scheduler whose step at timestep {t} is affine, so that it can be undone; got "
            f"{type(scheduler).__name__} with clipping, or without a signal there (rescale_betas_zero_snr)."
        )
    return a, b


def changed(component: Any) -> dict[str, Any]:
    """Return the options of a component's configuration that differ from its class's defaults."""
    defaults = {name: part.default for name, part in inspect.signature(type(component).__init__).parameters.items()}
    same = {name: value if not isinstance(value, tuple) else list(value) for name, value in defaults.items()}
    found = {}
    for name, value in component.config.items():
        plain = list(value) if isinstance(value, tuple) else value
        if not name.startswith("_") and (name not in same or plain != same[name]):
            found[name] = plain
    return found
