"""The command line: words and files to calls, and back. It holds no mathematics.

Nothing here imports torch before a command needs it, so ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from transflow import __version__, cli_classify

if TYPE_CHECKING:
    from PIL.Image import Image

    from transflow.data import Pictures
    from transflow.transfer import Model

NOISE_HELP = (
    'trust in the evidence: lambda in units of m, the number of pictures ("0.5m"; less trusts it more), lambda itself '
    '("12"), "typical" (samples as long as the model\'s own; "typical:0.6" says how long) or "evidence" (greatest '
    "marginal likelihood). Default: typical"
)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        self.exit(2, f"transflow: error: {message}. See: {self.prog} --help\n")


def parser() -> Parser:
    """Return the parser of all commands."""
    top = Parser(
        prog="transflow",
        description="Repurpose an invertible generative model with a handful of pictures, without training.",
        epilog="Start with: transflow demo -o out/",
    )
    top.add_argument("--version", action="version", version=f"transflow {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)

    def command(name: str, run: Callable[[argparse.Namespace], None], help_: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")
        made.set_defaults(run=run)
        return made

    def pictures(made: argparse.ArgumentParser) -> None:
        made.add_argument("pictures", nargs="+", metavar="PICTURES", help="a folder, a tar, or picture files")
        made.add_argument("--skip-bad", action="store_true", help="leave out files that are no pictures, naming them")

    def model(made: argparse.ArgumentParser, default: str | None = "faces-32") -> None:
        more = f" (default: {default})" if default else " (default: the one named in the file)"
        made.add_argument("-m", "--model", default=default, help="a bundled model's name, or a file" + more)

    def draws(made: argparse.ArgumentParser, n: int) -> None:
        made.add_argument("-n", type=_count, default=n, metavar="N", help=f"how many samples (default: {n})")
        made.add_argument("--seed", type=int, help="of the random draws (default: a new one, printed)")
        made.add_argument("--temperature", type=float, default=1.0, help="multiplies the deviation (default: 1)")

    def out(made: argparse.ArgumentParser, what: str, required: bool = True) -> None:
        made.add_argument("-o", "--output", required=required, metavar="FILE", help=what)

    made = command("demo", _demo, "show the method with the bundled model: pictures, an animation and a page")
    made.add_argument("-o", "--output", default="transflow-demo", metavar="FOLDER", help="default: transflow-demo")
    made.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")

    made = command("models", _models, "list the bundled models and what is known of them")
    made.add_argument("--json", action="store_true", help="print JSON")

    made = command("condition", _condition, "condition a model on pictures: evidence in, a new model out")
    pictures(made)
    model(made, None)
    made.add_argument("--noise", help=NOISE_HELP)
    change = made.add_mutually_exclusive_group()
    change.add_argument("--add", metavar="POSTERIOR", help="add PICTURES to the evidence of this posterior file")
    change.add_argument(
        "--remove", metavar="POSTERIOR", help="take PICTURES out of the evidence of this posterior file"
    )
    out(made, "posterior file to write, .safetensors (default with --add and --remove: the same file)", required=False)

    made = command("sample", _sample, "draw new pictures from a posterior, or from a model as it is")
    made.add_argument("posterior", metavar="POSTERIOR", help="a posterior file, or a model's name or file")
    model(made, None)
    draws(made, 16)
    out(made, "picture file of all samples; or a folder, ending in /, for one file each")

    made = command("sweep", _sweep, "show samples for several noises, of the same random draws")
    pictures(made)
    model(made)
    made.add_argument("--noise", default="0.2m,0.4m,0.6m,0.8m,1m", help="noises, by commas (default: 0.2m to 1m)")
    draws(made, 8)
    out(made, "picture file: one row a noise")

    made = command("interpolate", _interpolate, "show the way from one posterior to another")
    made.add_argument("a", metavar="A", help="posterior file to begin with")
    made.add_argument("b", metavar="B", help="posterior file to end with")
    model(made, None)
    made.add_argument("--steps", type=_count, default=8, help="pictures on the way, both ends included (default: 8)")
    made.add_argument("--direct", action="store_true", help="on straight lines between samples, for comparison")
    draws(made, 4)
    out(made, "picture file, one row a sample; .gif for an animation")

    cli_classify.add(command, pictures, model, out)

    made = command("reconstruct", _reconstruct, "encode and decode pictures, and show them side by side")
    pictures(made)
    model(made)
    out(made, "picture file: originals above, decoded below")

    made = command("train", _train, "train a Glow on pictures")
    pictures(made)
    out(made, "model file to write, .safetensors")
    made.add_argument("--minutes", type=float, help="time budget (default: 60)")
    made.add_argument("--resume", action="store_true", help="go on from the last checkpoint; architecture as it was")
    made.add_argument("--size", type=int, help="picture height and width in pixels (default: 32)")
    made.add_argument("--grey", action="store_true", help="one channel instead of three")
    made.add_argument("--bits", type=int, help="bits a pixel, 1 to 8 (default: 5)")
    made.add_argument("--steps", type=_counts, help="steps of each level, by commas (default: 10,10,10)")
    made.add_argument("--width", type=_counts, help="hidden channels of each level (default: 128,128,128)")
    made.add_argument("--coupling", choices=["affine", "additive"], help="default: affine")
    made.add_argument("--permutation", choices=["lu", "plain"], help="how 1x1 convolutions are kept (default: lu)")
    made.add_argument("--batch", type=_count, help="pictures a step (default: 64)")
    made.add_argument("--learning-rate", type=float, help="of Adam (default: 0.001)")
    made.add_argument("--interval", type=float, help="minutes between checkpoints (default: 3)")
    made.add_argument("--held-out", type=float, help="share kept for validation (default: 0.1)")
    made.add_argument("--groups", metavar="CSV", help="file name, group a line: groups are held out whole")
    made.add_argument("--no-flip", dest="flip", action="store_false", default=None, help="show no picture mirrored")
    made.add_argument("--precision", choices=["auto", "float32", "bfloat16"], help="of the networks (default: auto)")
    made.add_argument(
        "--no-compile", dest="compile", action="store_false", default=None, help="do not use torch.compile"
    )
    made.add_argument("--seed", type=int, help="of weights, split, order and noise (default: 0)")
    made.add_argument("--device", help="cpu or cuda (default: cuda if there is one)")
    made.add_argument("--data", dest="data_note", default="", help="words for the card: what it was trained on")
    made.add_argument("--licence", default="", help="words for the card: licence of the data")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0, or 2 where the input was no good."""
    arguments = parser().parse_args(argv)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        _say("transflow: interrupted")
        return 130
    except (ValueError, TypeError, OSError, FloatingPointError, ImportError) as error:
        _say(f"transflow: error: {' '.join(str(error).split())}")
        return 2
    return 0


def _demo(a: argparse.Namespace) -> None:
    from transflow.showcase import demo

    page = demo(a.output, seed=a.seed, report=_say)
    print(f"{page} (seed {a.seed})")


def _models(a: argparse.Namespace) -> None:
    from transflow.transfer import models

    cards = models()
    if a.json:
        print(json.dumps(cards, indent=2))
        return
    for name, card in cards.items():
        print(name)
        for key, value in card.items():
            print(
                f"  {key.replace('_', ' '):<22}{value:.4g}"
                if isinstance(value, float)
                else f"  {key.replace('_', ' '):<22}{value}"
            )


def _condition(a: argparse.Namespace) -> None:
    from transflow.transfer import DEFAULT_NOISE, load, load_posterior

    base = a.add or a.remove
    output = a.output or base
    if output is None:
        raise ValueError("Expected where to write the posterior; say -o FILE")
    _writable(output, ".safetensors")
    if base:
        if a.noise:
            raise ValueError("Expected no --noise with --add or --remove: the posterior keeps the one it was made with")
        before = load_posterior(base, load(a.model) if a.model else None)
        read = _read(a, before.model)
        posterior = before.add(read.pixels) if a.add else before.remove(read.pixels)
    else:
        model = load(a.model or "faces-32")
        posterior = model.condition(_read(a, model).pixels, a.noise or DEFAULT_NOISE)
    posterior.save(output)
    print(f"{output}: {posterior.evidence.count} pictures", end="")
    if posterior.evidence.count:
        shift = posterior.gaussian.mean.norm() / posterior.gaussian.dim**0.5
        print(f", noise {posterior.noise}; |mean| / sqrt(D) = {shift:.3f}", end="")
        if posterior.noise.note:
            _say(f"transflow: note: {posterior.noise.note}")
    print()


def _sample(a: argparse.Namespace) -> None:
    from transflow import checkpoint, figures, hub
    from transflow.transfer import load, load_posterior

    folder = a.output.endswith("/") or Path(a.output).is_dir()
    if not folder:
        _writable(a.output)
    if checkpoint.header(hub.find(a.posterior))["kind"] == "model":
        model = load(a.posterior)
        gaussian = model.prior
    else:
        posterior = load_posterior(a.posterior, load(a.model) if a.model else None)
        model, gaussian = posterior.model, posterior.gaussian
    seed = _seed(a)
    pictures = model.pictures(gaussian, a.n, seed=seed, temperature=a.temperature)
    if folder:
        Path(a.output).mkdir(parents=True, exist_ok=True)
        for i, picture in enumerate(pictures):
            content = figures.encode_image(figures.grid(picture[None], zoom=1, gap=0), ".png")
            checkpoint.write_bytes(Path(a.output) / f"{i:04d}.png", content)
    else:
        _write_picture(a.output, figures.grid(pictures))
    print(f"{a.output}: {a.n} samples (seed {seed})")


def _sweep(a: argparse.Namespace) -> None:
    from transflow import figures
    from transflow.transfer import load

    _writable(a.output)
    model, seed = load(a.model), _seed(a)
    noises = a.noise.split(",")
    rows = model.sweep(_read(a, model).pixels, noises, a.n, seed=seed, temperature=a.temperature)
    _write_picture(a.output, figures.grid(rows.flatten(0, 1), a.n, rows=noises))
    print(f"{a.output}: one row a noise, {', '.join(noises)} (seed {seed})")


def _interpolate(a: argparse.Namespace) -> None:
    from transflow import checkpoint, figures
    from transflow.transfer import load, load_posterior

    _writable(a.output)
    model = load(a.model) if a.model else None
    begin = load_posterior(a.a, model)
    end = load_posterior(a.b, begin.model)
    seed = _seed(a)
    frames = begin.strip(end, a.steps, a.n, seed=seed, temperature=a.temperature, direct=a.direct)
    if a.output.lower().endswith(".gif"):
        checkpoint.write_bytes(a.output, figures.animation([figures.grid(frame, a.n) for frame in frames]))
    else:
        _write_picture(a.output, figures.grid(frames.transpose(0, 1).flatten(0, 1), a.steps))
    print(f"{a.output}: {a.steps} steps of {a.n} samples (seed {seed})")


def _reconstruct(a: argparse.Namespace) -> None:
    from transflow import figures
    from transflow.transfer import load

    _writable(a.output)
    model = load(a.model)
    result = model.reconstruct(_read(a, model).pixels)
    _write_picture(a.output, figures.pairs(result.pictures, result.decoded))
    print(f"{a.output}: {len(result.errors)} pictures, largest error {result.errors.max():.2e} of the range [0, 1]")


def _train(a: argparse.Namespace) -> None:
    from dataclasses import replace

    from tqdm import tqdm

    from transflow.generative.glow import GlowConfig
    from transflow.training import Progress, TrainConfig, train

    def said(*names: str) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(a, name)) is not None}

    shape = said("size", "steps", "width", "coupling", "permutation") | ({"channels": 1} if a.grey else {})
    if a.resume and (shape or a.bits):
        raise ValueError("Expected no architecture with --resume: a run goes on with the one it was begun with")
    rest = said(
        "bits", "minutes", "batch", "learning_rate", "interval", "held_out", "flip", "precision", "compile", "seed"
    )
    config = replace(TrainConfig(), glow=replace(GlowConfig(), **shape), **rest)
    _writable(a.output, ".safetensors")
    bars: list[tqdm[NoReturn]] = []

    def report(p: Progress) -> None:
        if not bars:  # the first step is done: from here on there is something to show
            bars.append(tqdm(total=100.0, bar_format="{percentage:3.0f}% |{bar:20}| {postfix}"))
        held_out = f", held out {p.held_out:.3f}" if p.held_out is not None else ""
        skipped = f", {p.skipped} skipped" if p.skipped else ""
        words = f"{p.bits_per_dim:.3f} bits/dim{held_out}, {p.pictures_per_second:.0f} images/s, "
        bars[0].set_postfix_str(words + f"{max(0.0, p.minutes_left):.1f} min left{skipped}", refresh=False)
        bars[0].update(100 * p.share - bars[0].n)

    card = {"name": Path(a.output).stem, "data": a.data_note, "licence": a.licence}
    try:
        model = train(
            a.pictures,
            a.output,
            config,
            resume=a.resume,
            groups=a.groups,
            card=card,
            skip_bad=a.skip_bad,
            device=a.device,
            report=report,
        )
    finally:
        for bar in bars:
            bar.close()
    print(
        f"{a.output}: {model.card['bits_per_dim']:.4f} bits/dim on {model.card['held_out_pictures']} held-out pictures"
    )


def _read(a: argparse.Namespace, model: Model) -> Pictures:
    from transflow import data

    channels, size, _ = model.shape
    read = data.read(a.pictures, channels, size, skip_bad=a.skip_bad)
    for message in read.bad:
        _say(f"transflow: skipped: {message}")
    return read


def _writable(path: str, suffix: str = "") -> None:
    """Find out before the work whether its result could be written; without a suffix, it is a picture."""
    from transflow import checkpoint, figures

    checkpoint.check_writable(path)
    if not suffix:
        figures.check_picture_file(path)
    elif not path.endswith(suffix):
        raise ValueError(f"Expected an output file that ends in {suffix}; got: {path}")


def _write_picture(path: str, picture: Image) -> None:
    from transflow import checkpoint, figures

    checkpoint.write_bytes(path, figures.encode_image(picture, Path(path).suffix))


def _seed(a: argparse.Namespace) -> int:
    """The seed that was said, or a new one; it is printed, so that any picture can be made again."""
    return a.seed if a.seed is not None else random.SystemRandom().randrange(2**31)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_count(part) for part in text.split(","))


_count.__name__ = "whole number of 1 or more"
_counts.__name__ = "whole numbers by commas"


def _say(message: str) -> None:
    print(message, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
