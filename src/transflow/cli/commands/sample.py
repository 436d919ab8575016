"""``transflow sample``: pictures drawn from a posterior, or from a model's prior."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from transflow.cli.arguments import MODEL, add_draws, add_learn, add_model, add_output, positive_integer
from transflow.cli.messages import say

if TYPE_CHECKING:
    from torch import Tensor

    from transflow.conditioning.posterior import Posterior

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
    """Write the samples; print their seed."""
    from transflow.cli.inputs import files_of, load_model, load_posterior, seed_of
    from transflow.cli.learned import as_asked
    from transflow.cli.output import Output
    from transflow.conditioning.quality import decode
    from transflow.pictures.grids import encode_image, grid
    from transflow.store.container import is_kind

    one_each = options.output.endswith("/") or Path(options.output).is_dir()
    kind = Output.folder if one_each else Output.picture
    output = kind(options.output, files_of(options.posterior, options.model), overwrite=options.overwrite)
    seed = seed_of(options)
    if is_kind(options.posterior, "posterior"):
        posterior = as_asked(load_posterior(options, options.posterior), options)
        latents = drawn_latents(posterior, options, seed)
        pictures, quality = decode(posterior.model, latents, posterior.kept)
        found = f", {quality}" if str(quality) else ""
    else:
        if any((options.learn, options.novelty is not None, options.long, options.vary, options.parents)):
            raise ValueError(
                "Expected a posterior file for --learn, --novelty, --long, --vary and --parents; got a model."
            )
        found = ""
        model = load_model(options, options.posterior)
        pictures = model.pictures(model.prior, options.n, seed=seed, temperature=options.temperature)
    if one_each:
        output.write_numbered(encode_image(grid(picture[None], zoom=1, gap=0), ".png") for picture in pictures)
    else:
        output.write_picture(grid(pictures))
    say(f"{output}: {options.n} samples{found} (seed {seed})")


def drawn_latents(posterior: Posterior, options: argparse.Namespace, seed: int) -> Tensor:
    """Return the latents that the options ask for; print what they are made of, where that is asked for."""
    draws = {"seed": seed, "temperature": options.temperature}
    if options.vary:
        drawn = posterior.vary(options.vary - 1, options.n, **draws)
    elif options.parents:
        drawn = posterior.draw(options.n, **draws)
    else:
        return posterior.sample(options.n, **draws)
    if options.parents:
        for number, (pictures, weights) in enumerate(zip(drawn.parents, drawn.weights, strict=True), 1):
            parts = zip(pictures.tolist(), weights.tolist(), strict=True)
            words = ", ".join(f"{picture + 1} ({weight:.2f})" for picture, weight in parts)
            say(f"sample {number}: evidence pictures {words}")
    return drawn.latents
