"""``transflow condition``: pictures to a posterior, or pictures into and out of one."""

from __future__ import annotations

import argparse

from transflow.cli.arguments import NOISE, add_align, add_learn, add_model, add_output, add_pictures
from transflow.cli.messages import note, say
from transflow.library.names import DEFAULT

HELP = "condition a model on pictures: evidence in, a new model out"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_pictures(parser)
    add_align(parser)
    add_model(parser, None, f"{DEFAULT}; with --add and --remove, the one named in the file")
    add_learn(parser, "parents; the mean with --noise")
    parser.add_argument("--noise", help=f"the paper's way: {NOISE}. Default: typical, with --learn mean")
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--add", metavar="POSTERIOR", help="add PICTURES to the evidence of this posterior file")
    change.add_argument(
        "--remove", metavar="POSTERIOR", help="remove PICTURES from the evidence of this posterior file"
    )
    words = "posterior file to write, .safetensors (default with --add and --remove: the same file)"
    add_output(parser, words, required=False)


def run(options: argparse.Namespace) -> None:
    """Write the posterior; print its size and noise."""
    from transflow.cli.inputs import files_of, load_model, load_posterior, stream
    from transflow.cli.learned import described
    from transflow.cli.output import Output
    from transflow.conditioning.notes import notes

    base = options.add or options.remove
    path = options.output or base
    if path is None:
        raise ValueError("Expected an output file for the posterior; give -o FILE")
    for word in ("noise", "learn", "novelty", "long"):
        if base and getattr(options, word) not in (None, False):
            raise ValueError(f"Expected no --{word} with --add or --remove; got one. The posterior keeps its own.")
    name = options.model or DEFAULT
    models = files_of(options.model if base else name) + files_of(base)[1:]  # the base itself may be written anew
    output = Output.file(
        path,
        [*options.pictures, *models],
        suffix=".safetensors",
        kind="posterior",
        overwrite=options.overwrite,
        known=base,
    )
    names: list[str] = []
    if base:
        before = load_posterior(options, base)
        encoded = stream(options, before.model)
        posterior = before.add(encoded) if options.add else before.remove(encoded)
    else:
        model = load_model(options, name)
        encoded = stream(options, model, names=names)
        way = {"learn": options.learn, "novelty": options.novelty, "long": options.long}
        posterior = model.condition(encoded, options.noise, **way)
    posterior.save(output.path)
    for text in notes(posterior, names):
        note(f"note: {text}")
    holds = "" if posterior.kept is None else "; it holds latents of them, which the model turns into pictures again"
    say(f"{output}: {posterior.evidence.count} pictures, {described(posterior)}{holds}")
