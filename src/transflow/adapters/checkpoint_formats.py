"""The formats of other people's checkpoints that are known: the names of their weights, as data.

A file is of a format when the format knows every name in it. Where none does, the nearest is named, with a name that it
does not know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from transflow.adapters.coupling_checkpoints import uva
from transflow.adapters.glow_checkpoints import chaiyujin, rosinality, y0ast
from transflow.adapters.layered_flow import LayeredFlow
from transflow.adapters.normflows_checkpoints import normflows
from transflow.adapters.tarflow_checkpoints import OfClass, tarflow
from transflow.pictures.pixels import PixelFormat
from transflow.store.files import PathLike


@dataclass(frozen=True)
class Format:
    """A format of checkpoints.

    Attributes:
        build: from weights, in double, and options to a flow.
        names: of its weights; ``#`` stands for a number, ``{a,b}`` for one of these.
        unused: names that are no part of the map, such as masks, in the same form.
        pixels: how its training script makes floats of pixels; None where there is no such script.
        notes: what a user must know.
        options: which of label and scale_map it takes.
        lacks: what its models have not, and why.
    """

    build: Callable[..., LayeredFlow | OfClass]
    names: tuple[str, ...]
    unused: tuple[str, ...]
    pixels: PixelFormat | None
    notes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    lacks: tuple[tuple[str, str], ...] = ()

    def knows(self, name: str) -> bool:
        """Return whether files of this format have weights of this name."""
        return any(re.fullmatch(pattern(text), name) for text in (*self.names, *self.unused))

    def uses(self, name: str) -> bool:
        """Return whether the map depends on the weights of this name."""
        return not any(re.fullmatch(pattern(text), name) for text in self.unused)


def pattern(text: str) -> str:
    """Return the regular expression of names written with ``#`` and ``{a,b}``.

    >>> pattern("blocks.#.{w,b}")
    'blocks\\\\.\\\\d+\\\\.(?:w|b)'
    """
    for mark, meaning in ((".", r"\."), ("#", r"\d+"), ("{", "(?:"), (",", "|"), ("}", ")")):
        text = text.replace(mark, meaning)
    return text


STEPS = "flow.layers.#"  # of chaiyujin and y0ast
FORMATS = {
    "rosinality": Format(
        rosinality,
        (
            "blocks.#.flows.#.actnorm.{loc,scale}",
            "blocks.#.flows.#.invconv.{w_p,w_l,w_u,s_sign,w_s,weight}",
            "blocks.#.flows.#.coupling.net.{0,2,4.conv}.{weight,bias}",
            "blocks.#.flows.#.coupling.net.4.scale",
            "blocks.#.prior.{conv.weight,conv.bias,scale}",
        ),
        ("blocks.#.flows.#.actnorm.initialized", "blocks.#.flows.#.invconv.{u_mask,l_mask,l_eye}"),
        PixelFormat(5, -0.5, 0.5),
        ("Pixels are taken to have 5 bits, as its training script has it without --n_bits.",),
    ),
    "chaiyujin": Format(
        chaiyujin,
        (
            f"{STEPS}.{{actnorm,f.0.actnorm,f.2.actnorm}}.{{bias,logs}}",
            f"{STEPS}.invconv.{{weight,p,sign_s,l,log_s,u}}",
            f"{STEPS}.f.{{0,2}}.weight",
            f"{STEPS}.{{f.4,conv}}.{{weight,bias,logs}}",
            "{learn_top,project_ycond}.{weight,bias,logs}",
        ),
        ("project_class.{weight,bias,logs}", "prior_h"),
        PixelFormat(8, 0.0, 1.0, ends=True),
        ("It was trained with normal noise of 1/256 in place of uniform noise: densities are of its own floats.",),
        ("label",),
    ),
    "y0ast": Format(
        y0ast,
        (
            f"{STEPS}.{{actnorm,block.0.actnorm,block.2.actnorm}}.{{bias,logs}}",
            f"{STEPS}.invconv.{{weight,p,sign_s,lower,log_s,upper}}",
            f"{STEPS}.block.{{0,2}}.conv.weight",
            f"{STEPS}.{{block.4,conv}}.{{conv.weight,conv.bias,logs}}",
            "learn_top_fn.{conv.weight,conv.bias,logs}",
            "project_ycond.{linear.weight,linear.bias,logs}",
        ),
        ("project_class.{linear.weight,linear.bias,logs}", "prior_h"),
        PixelFormat(8, -0.5, 0.5),
        (),
        ("label",),
    ),
    "normflows": Format(
        normflows,
        (
            "q0.#.{loc,log_scale,loc_logs,log_scale_logs,loc_cc,log_scale_cc}",
            "flows.#.#.flows.0.flows.1.param_map.net.#.{weight,bias,actNorm.s,actNorm.t}",
            "flows.#.#.flows.1.{P,L,U,sign_S,log_S,W}",
            "flows.#.#.flows.2.{s,t}",
        ),
        (
            "flows.#.#.flows.1.eye",
            "flows.#.#.flows.2.data_dep_init_done",
            "flows.#.#.flows.0.flows.1.param_map.net.#.actNorm.data_dep_init_done",
        ),
        None,
        ("Couplings are taken to see the first half of the channels and to have ReLUs (leaky=0).",),
        ("label", "scale_map"),
    ),
    "tarflow": Format(
        tarflow,
        (
            "var",
            "blocks.#.{pos_embed,class_embed}",
            "blocks.#.{proj_in,proj_out}.{weight,bias}",
            "blocks.#.attn_blocks.#.attention.{norm,qkv,proj}.{weight,bias}",
            "blocks.#.attn_blocks.#.mlp.{norm,main.0,main.2}.{weight,bias}",
        ),
        ("blocks.#.attn_mask",),
        PixelFormat(8, -1.0, 1.0, ends=True),
        ("It was trained on pictures with Gaussian noise, and draws such: TarFlow.denoise takes the noise away.",),
        ("label",),
        (
            ("levels", "its latents are patches of one size"),
            ("exactness", "decoding takes a pass for each patch, and is not tried when a file is opened"),
        ),
    ),
    "uva": Format(
        uva,
        (
            "flows.#.{scaling_factor,mask}",
            "flows.#.network.nn.#.{weight,bias,gamma,beta}",
            "flows.#.network.nn.#.net.{1,3}.{weight,bias}",
        ),
        (
            "flows.0.flows.#.{scaling_factor,mask}",
            "flows.0.flows.#.network.nn.#.{,net.1.,net.3.}{weight,bias,gamma,beta}",
        ),
        PixelFormat(8, logit=5e-6),
    ),
}


def recognise(names: Collection[str], path: PathLike, formats: Collection[str] = tuple(FORMATS)) -> str:
    """Return the format of a checkpoint whose weights have these names.

    Args:
        names: of the weights.
        path: the file, to be named in the error.
        formats: those that it may have.

    Raises:
        ValueError: there are names that none of the formats knows.
    """
    unknown = {format: [name for name in names if not FORMATS[format].knows(name)] for format in formats}
    nearest = min(unknown, key=lambda format: len(unknown[format]))
    if not unknown[nearest]:
        return nearest
    fit = len(names) - len(unknown[nearest])
    near = f"Nearest is {nearest}, which knows {fit} of {len(names)} names." if fit else "None knows any of its names."
    raise ValueError(
        f"Expected a checkpoint of {', '.join(formats)}; got one with other weights, such as {unknown[nearest][0]}: "
        f"{path}. {near} Wrap the model itself instead: transflow.wrap."
    )
