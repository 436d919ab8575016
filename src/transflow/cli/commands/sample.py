"""``transflow sample``: pictures drawn from a posterior, or from a model's prior."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from transflow.cli.arguments import MODEL, add_draws, add_learn, add_model, add_output, positive_integer
from transflow.cli.messages import say

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from transflow.conditioning.posterior import Posterior

BLOCK = 256  # samples that are drawn, decoded and written at a time: so many are the same however many follow
HELP = "draw new pictures from a posterior, or from a model itself"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("posterior", metavar="POSTERIOR", help=f"a posterior file; or a model: {MODEL}")
    add_model(parser, None, "the one named in the file")
    add_learn(parser, "as the posterior was made")
    words = "vary one evidence picture: the number that it had among them, from 1"
    parser.add_argument("--vary", type=positive_integer, metavar="NUMBER", help=words)
    words = "print which evidence pictures each sample is made of, by their numbers, with their weights"
    parser.add_argument("--parents", action="store_true", help=words)
    add_draws(parser, 16)
    add_output(parser, "picture file of all samples; or a folder, ending in /, for one file each")


def run(options: argparse.Namespace) -> None:
    """Write the samples, a block at a time; print their seed."""
    import torch

    from transflow.cli.inputs import files_of, load_model, posterior_of, seed_of
    from transflow.cli.learned import as_asked
    from transflow.cli.output import Output
    from transflow.conditioning import posterior_file
    from transflow.conditioning.quality import Quality, decode
    from transflow.pictures.grids import encode_image, grid, to_uint8

    one_each = options.output.endswith("/") or Path(options.output).is_dir()
    kind = Output.folder if one_each else Output.picture
    read = posterior_file.read_if(options.posterior)
    files = [options.posterior, *files_of(read[1]["model"], options.model)] if read else files_of(options.posterior)
    output = kind(options.output, files, overwrite=options.overwrite)
    seed = seed_of(options)
    generator = torch.Generator().manual_seed(seed)
    known: list[Quality] = []
    counts = [min(BLOCK, options.n - begin) for begin in range(0, options.n, BLOCK)]
    if read:
        posterior = as_asked(posterior_of(options, options.posterior, *read), options)
        shape = posterior.model.shape

        def made(begin: int, count: int) -> Tensor:
            latents = drawn_latents(posterior, options, generator, begin, count)
            pictures, quality = decode(posterior.model, latents, posterior.kept)
            known.append(quality)
            return pictures
    else:
        if any((options.learn, options.novelty is not None, options.long, options.vary, options.parents)):
            raise ValueError(
                "Expected a posterior file for --learn, --novelty, --long, --vary and --parents; got a model."
            )
        if options.model:
            raise ValueError(f"Expected a posterior file for --model; got a model, {options.posterior}. Leave -m out.")
        model = load_model(options, options.posterior)
        shape = model.shape

        def made(begin: int, count: int) -> Tensor:
            return model.pictures(model.prior, count, generator, options.temperature)

    parts = (to_uint8(made(i * BLOCK, count)) for i, count in enumerate(counts))
    if one_each:
        each = (picture for part in parts for picture in part)
        output.write_numbered(encode_image(grid(picture[None], zoom=1, gap=0), ".png") for picture in each)
    else:
        output.check_sheet(shape, options.n)
        output.write_picture(grid(torch.cat(list(parts))))
    quality = str(Quality.of_all(known, counts)) if known else ""
    say(f"{output}: {options.n} samples{', ' if quality else ''}{quality} (seed {seed})")


def drawn_latents(
    posterior: Posterior, options: argparse.Namespace, generator: Generator, begin: int, count: int
) -> Tensor:
    """Return latents, as the options ask for them; print what they are made of, where that is asked for.

    Args:
        posterior: to draw from.
        options: which say how.
        generator: the stream of random numbers.
        begin: how many were drawn before.
        count: how many to draw.
    """
    draws = {"generator": generator, "temperature": options.temperature}
    if options.vary:
        drawn = posterior.vary(options.vary - 1, count, **draws)
    elif options.parents:
        drawn = posterior.draw(count, **draws)
    else:
        return posterior.sample(count, **draws)
    if options.parents:
        for number, (pictures, weights) in enumerate(zip(drawn.parents, drawn.weights, strict=True), begin + 1):
            parts = zip(pictures.tolist(), weights.tolist(), strict=True)
            words = ", ".join(f"{picture + 1} ({weight:.2f})" for picture, weight in parts)
            say(f"sample {number}: evidence pictures {words}")
    return drawn.latents
