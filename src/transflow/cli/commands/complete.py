"""``transflow complete``: pictures that agree with what is known of one: a part, its grey, or its small copy."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from transflow.cli.arguments import add_model, add_output, positive_integer, seed_number
from transflow.cli.messages import note, say

if TYPE_CHECKING:
    from transflow.base_model import BaseModel
    from transflow.conditioning.operators import Operator

HELP = "complete a picture of which a part is known: a hole, a half, colours, a small picture enlarged"
SIDES = ("left", "right", "top", "bottom")  # as `conditioning.operators` has them
WORST = 3.0  # times the noise: an error above is noted


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    words = "a picture file; its transparent pixels are unknown, where nothing else is given"
    parser.add_argument("picture", metavar="PICTURE", help=words)
    known = parser.add_mutually_exclusive_group()
    words = "a picture of the same size, white, or transparent, where PICTURE is not known"
    known.add_argument("--mask", metavar="FILE", help=words)
    known.add_argument("--hide", choices=SIDES, help="this half of PICTURE is not known")
    known.add_argument("--grey", action="store_true", help="the colours of PICTURE are not known")
    words = "PICTURE is small: its side times FACTOR is the model's (default: the least that its size asks for)"
    known.add_argument("--enlarge", type=positive_integer, nargs="?", const=0, metavar="FACTOR", help=words)
    add_model(parser, None, "the one named in --evidence, else faces-32")
    words = "a posterior file: complete PICTURE as one of its pictures"
    parser.add_argument("--evidence", metavar="POSTERIOR", help=words)
    parser.add_argument("-n", type=positive_integer, default=8, metavar="N", help="number of samples (default: 8)")
    parser.add_argument("--seed", type=seed_number, help="seed of the random draws (default: a new one, printed)")
    words = "standard deviation of what is known, the range of pixels being 1 (default: 0.02)"
    parser.add_argument("--noise", type=float, default=0.02, help=words)
    words = "factor on the standard deviation of the prior: smaller is smoother (default: 0.9)"
    parser.add_argument("--temperature", type=float, default=0.9, help=words)
    words = "trajectories of Monte Carlo after the search, ten evaluations each: nearer to the posterior (default: 0)"
    parser.add_argument("--refine", type=positive_integer, default=0, metavar="N", help=words)
    words = "picture file: what is known, the samples, and their mean; or a folder, ending in /, of the samples"
    add_output(parser, words)


def run(options: argparse.Namespace) -> None:
    """Write the samples; print how well they agree with what is known, and their seed."""
    import torch

    from transflow.cli.inputs import files_of, load_model, load_posterior, seed_of
    from transflow.cli.output import Output
    from transflow.conditioning.completion import complete
    from transflow.conditioning.operators import shown
    from transflow.library.names import DEFAULT
    from transflow.pictures.grids import encode_image, grid

    one_each = options.output.endswith("/") or Path(options.output).is_dir()
    reads = [options.picture, *filter(None, [options.mask]), *files_of(options.evidence, options.model)]
    output = (Output.folder if one_each else Output.picture)(options.output, reads, overwrite=options.overwrite)
    posterior = load_posterior(options, options.evidence) if options.evidence else None
    model = posterior.model if posterior else load_model(options, options.model or DEFAULT)
    operator = _operator(options, model)
    seed = seed_of(options)
    if not one_each:
        shown_too = options.n + 2  # what is known, and the mean
        output.check_sheet(model.shape, shown_too, shown_too if shown_too <= 10 else None)
    found = complete(
        model,
        options.picture,
        operator,
        options.noise,
        options.n,
        seed=seed,
        prior=posterior,
        temperature=options.temperature,
        refine=options.refine,
    )
    if one_each:
        output.write_numbered(encode_image(grid(picture[None], zoom=1, gap=0), ".png") for picture in found.pictures)
    else:
        sheet = torch.cat([shown(operator, found.observed, model.shape), found.pictures.cpu(), found.mean[None].cpu()])
        output.write_picture(grid(sheet, len(sheet) if len(sheet) <= 10 else None))
    error = found.errors.mean().item()
    if error > WORST * options.noise:
        note(f"note: the known part is missed by {error:.3f} on average; {model.name} can hardly make such a picture")
    say(f"{output}: {options.n} samples, known part to {error:.3f} of the range (seed {seed})")


def _operator(options: argparse.Namespace, model: BaseModel) -> Operator:
    """What is known, as the options say."""
    from transflow.conditioning.operators import Grey, Known, as_operator, least_factor
    from transflow.pictures.masks import has_holes, read_mask, size_of

    _, height, width = model.shape
    if options.grey:
        return Grey()
    if options.hide:
        return Known.without_half(options.hide, height, width)
    if options.enlarge is not None:
        return least_factor(size_of(options.picture), model.shape, options.enlarge)
    if options.mask:
        mask = read_mask(options.mask, model.shape, size=size_of(options.picture))
    elif has_holes(options.picture):
        mask = read_mask(options.picture, model.shape)
    else:
        raise ValueError(
            "Expected a picture of which something is unknown; got one without transparent pixels. Give --mask FILE, "
            "--hide SIDE, --grey or --enlarge."
        )
    return as_operator(mask, model)
