"""Checkpoints of `normflows.MultiscaleFlow`: its Glow, as its examples build it.

Its layers are written from latents to pictures, the deepest level first. The other way round a step is
``x -> exp(-s) (x - t)``, a 1x1 convolution, and a coupling ``(x_b - t) sigmoid(raw + 2)`` with t in the even and raw in
the odd outputs of its network. Each level's latent has a learned base of its own, ``N(loc, exp(log_scale)^2)``, either
for each pixel or for each channel; the latter multiplies both by ``exp(3 logs)``.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from transflow.adapters.checkpoint_weights import (
    Label,
    Weights,
    coupling,
    given,
    halves,
    mixing,
    negate_first_half,
    numbered,
    one_of,
)
from transflow.adapters.layered_flow import (
    LOG_SCALES,
    Affine,
    Convolution,
    Cut,
    LayeredFlow,
    ScaleMap,
    Squeeze,
    Standardise,
)
from transflow.pictures.preprocess import Shape


def normflows(weights: Weights, shape: Shape | None, label: Label, scale_map: ScaleMap | None) -> LayeredFlow:
    """Return the flow of a `normflows.MultiscaleFlow` of `GlowBlock`s and Squeezes, as its examples build it.

    Args:
        weights: double, by their names in the file.
        shape: of a picture; read off the base where that has a mean for each pixel.
        label: the class that the base is taken for, or weights of classes.
        scale_map: of the couplings; the file does not say it.
    """
    layers: list[nn.Module] = []
    levels = numbered(weights, r"flows\.(\d+)\.")
    bases = [base(weights, f"q0.{level}", label) for level in levels]
    channels = len(weights[f"flows.{levels[-1]}.0.flows.2.t"].flatten()) // 4
    side_h, side_w = bases[-1][0].shape[1:]  # of the finest level
    if shape is None and (side_h, side_w) != (1, 1):
        shape = (channels, 2 * side_h, 2 * side_w)
    shape = given(shape, channels, len(levels))
    for level in reversed(levels):  # the deepest is the first of the file
        layers.append(Squeeze())
        for step in reversed(numbered(weights, rf"flows\.{level}\.(\d+)\.")):
            at = f"flows.{level}.{step}.flows"
            done = weights.get(f"{at}.2.data_dep_init_done")
            if done is not None and not done:
                raise ValueError(f"Expected a trained checkpoint; got one whose {at}.2 was never initialised.")
            scale, t = (-weights[f"{at}.2.s"].flatten()).exp(), weights[f"{at}.2.t"].flatten()
            matrix = mixing(weights, f"{at}.1", ("P", "L", "U", "sign_S", "log_S"), "W")
            layers.append(Affine(matrix * scale, -(matrix * scale) @ t))
            convolutions = networks(weights, f"{at}.0.flows.1.param_map.net")
            if len(convolutions) != 3 or convolutions[0].weight.shape[1] != len(t) - len(t) // 2:
                raise ValueError(
                    "Expected couplings of three convolutions that see the first half of the channels "
                    f"(split_mode='channel'); got others at {at}.0. Wrap the model itself instead: transflow.wrap."
                )
            weight, bias = convolutions[2].weight, convolutions[2].bias
            affine = len(bias) == 2 * (len(t) // 2)
            if affine and scale_map not in LOG_SCALES:
                raise ValueError(
                    f"Expected scale_map= {', '.join(LOG_SCALES)} (GlowBlock's own is sigmoid), which a normflows file "
                    f"does not say; got {scale_map}."
                )
            if affine:
                weight, bias = negate_first_half(halves(weight)), negate_first_half(halves(bias))
            else:
                weight, bias = -weight, -bias
            last = Convolution(weight, bias)
            layers.append(coupling(convolutions[0], convolutions[1], last, scale_map if affine else None))
        mean, log_std = bases[level]
        stays = mean.new_zeros(len(mean) if level else 0, *mean.shape[1:])
        layers.append(Standardise(torch.cat([stays, mean]), torch.cat([stays, log_std])))
        if level:
            layers.append(Cut())
    return LayeredFlow(layers, shape)


def networks(weights: Weights, at: str) -> list[Convolution]:
    """Return the convolutions of a normflows ConvNet2d, each with the actnorm after it, ``x exp(s) + t``."""
    made = []
    for i in numbered(weights, rf"{re.escape(at)}\.(\d+)\.weight"):
        weight = weights[f"{at}.{i}.weight"]
        if f"{at}.{i + 1}.actNorm.s" in weights:
            s, t = (weights[f"{at}.{i + 1}.actNorm.{name}"].flatten() for name in "st")
            made.append(Convolution(weight * s.exp()[:, None, None, None], t))
        else:
            made.append(Convolution(weight, weights[f"{at}.{i}.bias"]))
    return made


def base(weights: Weights, at: str, label: Label) -> tuple[Tensor, Tensor]:
    """Return mean and log standard deviation of a normflows base, (C, H, W) or (C, 1, 1) each.

    Raises:
        ValueError: it is learned for each class and there is no label.
    """
    mean, log_std = weights[f"{at}.loc"], weights[f"{at}.log_scale"]
    by_channel, by_class = f"{at}.loc_logs" in weights, f"{at}.loc_cc" in weights
    if by_channel:
        mean = mean * (3 * weights[f"{at}.loc_logs"]).exp()
        log_std = log_std * (3 * weights[f"{at}.log_scale_logs"]).exp()
    each_pixel = not by_channel and mean.shape[0] != 1  # the classes are last
    if by_class:
        mean_of, log_std_of = weights[f"{at}.loc_cc"], weights[f"{at}.log_scale_cc"]
        chosen = one_of(label, len(mean_of))
        mean = mean + (chosen @ mean_of).view(1, -1, 1, 1)
        log_std = log_std + (chosen @ log_std_of).view(1, -1, 1, 1)
    elif each_pixel:
        chosen = one_of(label, mean.shape[-1])
        return mean @ chosen, log_std @ chosen
    else:
        one_of(label, 0)
    return mean[0], log_std[0]
