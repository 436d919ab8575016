"""Checkpoints of other people's Glows: rosinality, chaiyujin and y0ast (normflows has its own file).

All have levels of [squeeze, K x (actnorm, 1x1 convolution, coupling), split] and the same order of channels after a
squeeze. They differ in names, and in what this table says; here the differences are worked into the weights, once, in
double, so that one set of layers serves all (see `layered_flow`).

| | rosinality | chaiyujin, y0ast | normflows |
|---|---|---|---|
| actnorm | ``scale (x + loc)`` | ``exp(logs) (x + bias)`` | ``exp(-s) (x - t)`` |
| coupling | ``(x + t) sigmoid(raw + 2)`` | the same | ``(x - t) sigmoid(raw + 2)`` |
| its channels | raw, then t | t even, raw odd | t even, raw odd |
| its last layer | times ``exp(3 scale)``; 1 beyond the border | times ``exp(3 logs)`` | plain |
| prior of a split | given what stays | given what stays | of its own |
| top prior | of a convolution of zeros, not the same everywhere | one a channel, or N(0, I) | learned |
"""

from __future__ import annotations

import re

from torch import nn

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
    zero_convolution,
)
from transflow.adapters.layered_flow import Affine, Convolution, Coupling, Cut, LayeredFlow, Squeeze, Standardise
from transflow.pictures.preprocess import Shape

Y0AST_NAMES = (  # as chaiyujin's
    (r"\.block\.", ".f."),
    (r"^learn_top_fn\.", "learn_top."),
    (r"\.(conv|linear)\.(weight|bias)$", r".\2"),
    (r"\.lower$", ".l"),
    (r"\.upper$", ".u"),
)


def rosinality(weights: Weights, shape: Shape | None) -> LayeredFlow:
    """Return the flow of rosinality/glow-pytorch.

    Args:
        weights: double, by their names in the file.
        shape: of a picture; the file does not say it.
    """
    layers: list[nn.Module] = []
    levels = numbered(weights, r"blocks\.(\d+)\.")
    channels = len(weights["blocks.0.flows.0.actnorm.loc"].flatten()) // 4
    shape = given(shape, channels, len(levels))
    for level in levels:
        layers.append(Squeeze())
        for step in numbered(weights, rf"blocks\.{level}\.flows\.(\d+)\."):
            at = f"blocks.{level}.flows.{step}"
            if not weights[f"{at}.actnorm.initialized"]:
                raise ValueError(f"Expected a trained checkpoint; got one whose {at}.actnorm was never initialised.")
            scale, loc = weights[f"{at}.actnorm.scale"].flatten(), weights[f"{at}.actnorm.loc"].flatten()
            matrix = mixing(weights, f"{at}.invconv", ("w_p", "w_l", "w_u", "s_sign", "w_s"), "weight")
            net = f"{at}.coupling.net"
            last, bias = zero_convolution(weights, f"{net}.4.conv", f"{net}.4.scale")
            affine = len(bias) == len(loc)
            if affine:  # (raw, t) to (t, raw)
                last, bias = last.roll(len(bias) // 2, 0), bias.roll(len(bias) // 2, 0)
            layers.append(Affine(matrix * scale, (matrix * scale) @ loc))
            first, middle = (Convolution(weights[f"{net}.{i}.weight"], weights[f"{net}.{i}.bias"]) for i in (0, 2))
            layers.append(coupling(first, middle, Convolution(last, bias, border=1.0), "sigmoid" if affine else None))
        at = f"blocks.{level}.prior"
        weight, bias = zero_convolution(weights, f"{at}.conv", f"{at}.scale")
        if level != levels[-1]:
            mean_and_log_std = Convolution(negate_first_half(weight), negate_first_half(bias), border=1.0)
            layers += [Coupling(mean_and_log_std, len(bias), "exp"), Cut()]
        else:
            c, (h, w) = len(bias) // 2, (side >> len(levels) for side in shape[1:])
            found = Convolution(weight, bias, border=1.0)(weight.new_zeros(1, c, h, w))[0]
            layers.append(Standardise(*found.chunk(2)))
    return LayeredFlow(layers, shape)


def y0ast(weights: Weights, shape: Shape | None, label: Label) -> LayeredFlow:
    """Return the flow of y0ast/Glow-PyTorch, which is that of chaiyujin under other names."""
    renamed = {}
    for name, tensor in weights.items():
        for pattern, replacement in Y0AST_NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return chaiyujin(renamed, shape, label)


def chaiyujin(weights: Weights, shape: Shape | None, label: Label) -> LayeredFlow:
    """Return the flow of chaiyujin/glow-pytorch.

    Args:
        weights: double, by their names in the file.
        shape: of a picture; read off the buffer ``prior_h`` where the file has it.
        label: the class that the prior is taken for, or weights of classes.
    """
    found = numbered(weights, r"flow\.layers\.(\d+)\.")
    splits = numbered(weights, r"flow\.layers\.(\d+)\.conv\.weight")
    levels = len(splits) + 1
    channels = len(weights[f"flow.layers.{found[0]}.actnorm.bias"].flatten()) // 4
    if "prior_h" in weights:
        side_h, side_w = weights["prior_h"].shape[2:]
        read = (channels, side_h << levels, side_w << levels)
        if shape not in (None, read):
            raise ValueError(f"Expected the shape {read} of this checkpoint; got {shape}. Leave shape away.")
        shape = read
    shape = given(shape, channels, levels)
    layers: list[nn.Module] = []
    for i in range(found[-1] + 1):
        at = f"flow.layers.{i}"
        if i not in found:
            layers.append(Squeeze())
        elif i in splits:
            weight, bias = zero_convolution(weights, f"{at}.conv", f"{at}.conv.logs")
            mean_and_log_std = Convolution(negate_first_half(halves(weight)), negate_first_half(halves(bias)))
            layers += [Coupling(mean_and_log_std, len(bias), "exp"), Cut()]
        else:
            scale, loc = weights[f"{at}.actnorm.logs"].flatten().exp(), weights[f"{at}.actnorm.bias"].flatten()
            if not any(name.startswith(f"{at}.invconv.") for name in weights):
                raise ValueError(
                    "Expected a checkpoint with 1x1 convolutions; got one with a fixed shuffle of channels, which is "
                    "not in the file. Wrap the model itself instead: transflow.wrap."
                )
            matrix = mixing(weights, f"{at}.invconv", ("p", "l", "u", "sign_s", "log_s"), "weight")
            last, bias = zero_convolution(weights, f"{at}.f.4", f"{at}.f.4.logs")
            affine = len(bias) == len(loc)
            if affine:
                last, bias = halves(last), halves(bias)
            first, middle = (normalised(weights, f"{at}.f.{j}") for j in (0, 2))
            layers.append(Affine(matrix * scale, (matrix * scale) @ loc))
            layers.append(coupling(first, middle, Convolution(last, bias), "sigmoid" if affine else None))
    top = shape[0] * 2 ** (levels + 1)
    prior = next(iter(weights.values())).new_zeros(2 * top)
    if "learn_top.weight" in weights:  # a convolution of zeros: its bias
        prior = zero_convolution(weights, "learn_top", "learn_top.logs")[1]
    if "project_ycond.weight" in weights:
        weight, bias = zero_convolution(weights, "project_ycond", "project_ycond.logs")
        prior = prior + weight @ one_of(label, weight.shape[1]) + bias
    else:
        one_of(label, 0)
    layers.append(Standardise(*prior[:, None, None].chunk(2)))
    return LayeredFlow(layers, shape)


def normalised(weights: Weights, at: str) -> Convolution:
    """Return a convolution without bias and the actnorm after it, as one."""
    scale, loc = weights[f"{at}.actnorm.logs"].flatten().exp(), weights[f"{at}.actnorm.bias"].flatten()
    return Convolution(weights[f"{at}.weight"] * scale[:, None, None, None], loc * scale)
