"""The command line: words and files to calls, and back. It holds no mathematics.

The words are here, what they do is in `commands`. That is loaded, and torch with it, only once a
command is known to be well said, so ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from transflow._version import __version__

NOISE_HELP = (
    'trust in the evidence: lambda in units of m, the number of pictures ("0.5m"; less trusts it more), lambda itself '
    '("12"), "typical" (samples as long as the model\'s own; "typical:0.7" says how long) or "evidence" (greatest '
    "marginal likelihood). Default: typical"
)

DTYPES = ("float32", "bfloat16", "float64")
DTYPE_HELP = (
    "precision: bfloat16 is faster, in the coupling networks alone; float64 is exact to 1e-13, and slower "
    "(default: float32, or what a posterior file was made in)"
)

CLASS_NOISE_HELP = (
    'how pictures of a class differ: "auto" (chosen by the evidence), "0.5m" or a number as in condition, "pooled", '
    '"levels", "shared" or "student". Default: auto'
)


OUT_OF_MEMORY = ("out of memory", "not enough memory", "allocate memory")  # what torch says, of any device


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        self.exit(_failed(f"{message}. See: {self.prog} --help"))


def parser() -> Parser:
    """Return the parser of all commands."""
    top = Parser(
        prog="transflow",
        description="Repurpose an invertible generative model with a handful of pictures, without training.",
        epilog="Start with: transflow demo -o out/",
    )
    top.add_argument("--version", action="version", version=f"transflow {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)

    def command(name: str, help_: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")

    def pictures(made: argparse.ArgumentParser) -> None:
        made.add_argument("pictures", nargs="+", metavar="PICTURES", help="a folder, a tar, or picture files")
        made.add_argument("--skip-bad", action="store_true", help="leave out files that are no pictures, naming them")

    def model(made: argparse.ArgumentParser, default: str | None = "faces-32", words: str = "faces-32") -> None:
        made.add_argument(
            "-m", "--model", default=default, help=f"a bundled model's name, or a file (default: {words})"
        )
        made.add_argument("--dtype", choices=DTYPES, help=DTYPE_HELP)
        made.add_argument("--device", default="cpu", help="where it computes, such as cuda (default: cpu)")

    def draws(made: argparse.ArgumentParser, n: int) -> None:
        made.add_argument("-n", type=_count, default=n, metavar="N", help=f"how many samples (default: {n})")
        made.add_argument("--seed", type=_seed, help="of the random draws (default: a new one, printed)")
        made.add_argument("--temperature", type=float, default=1.0, help="multiplies the deviation (default: 1)")

    def out(made: argparse.ArgumentParser, what: str, required: bool = True) -> None:
        made.add_argument("-o", "--output", required=required, metavar="FILE", help=what)

    made = command("demo", "show the method with the bundled model: pictures, an animation and a page")
    made.add_argument("-o", "--output", default="transflow-demo", metavar="FOLDER", help="default: transflow-demo")
    made.add_argument("--seed", type=_seed, default=0, help="of everything random (default: 0)")

    made = command("models", "list the bundled models and what is known of them")
    made.add_argument("--json", action="store_true", help="print JSON")

    made = command("condition", "condition a model on pictures: evidence in, a new model out")
    pictures(made)
    model(made, None, "faces-32; with --add and --remove, the one named in the file")
    made.add_argument("--noise", help=NOISE_HELP)
    change = made.add_mutually_exclusive_group()
    change.add_argument("--add", metavar="POSTERIOR", help="add PICTURES to the evidence of this posterior file")
    change.add_argument(
        "--remove", metavar="POSTERIOR", help="take PICTURES out of the evidence of this posterior file"
    )
    out(made, "posterior file to write, .safetensors (default with --add and --remove: the same file)", required=False)

    made = command("encode", "keep the latents of many pictures in a folder, which then stands for them")
    pictures(made)
    model(made)
    made.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FOLDER",
        help="folder of latents to write, or to finish; condition, sweep and score take it as PICTURES",
    )

    made = command("sample", "draw new pictures from a posterior, or from a model as it is")
    made.add_argument("posterior", metavar="POSTERIOR", help="a posterior file, or a model's name or file")
    model(made, None, "the one named in the file")
    draws(made, 16)
    out(made, "picture file of all samples; or a folder, ending in /, for one file each")

    made = command("sweep", "show samples for several noises, of the same random draws")
    pictures(made)
    model(made)
    made.add_argument("--noise", default="0.2m,0.4m,0.6m,0.8m,1m", help="noises, by commas (default: 0.2m to 1m)")
    draws(made, 8)
    out(made, "picture file: one row a noise")

    made = command("interpolate", "show the way from one posterior to another")
    made.add_argument("a", metavar="A", help="posterior file to begin with")
    made.add_argument("b", metavar="B", help="posterior file to end with")
    model(made, None, "the one named in the file")
    made.add_argument("--steps", type=_count, default=8, help="pictures on the way, both ends included (default: 8)")
    made.add_argument("--direct", action="store_true", help="on straight lines between samples, for comparison")
    draws(made, 4)
    out(made, "picture file, one row a sample; .gif for an animation")

    made = command("score", "print log-likelihood, bits per dimension and latent radius of each picture")
    pictures(made)
    model(made)
    made.add_argument("--json", action="store_true", help="print JSON")
    made.add_argument(
        "--reference", metavar="PICTURES", help="a folder, tar or file to compare with: two p-values a picture"
    )

    made = command("classify", "tell classes by a few pictures of each, without training")
    made.add_argument("support", metavar="SUPPORT", help="a folder with a sub-folder of pictures for each class")
    made.add_argument("query", metavar="QUERY", help="a folder of pictures to classify; sub-folders give the truth")
    model(made)
    made.add_argument("--noise", default="auto", help=CLASS_NOISE_HELP)
    made.add_argument("--no-augment", dest="augment", action="store_false", help="do not move copies of SUPPORT about")
    made.add_argument("--reject", type=float, default=0.01, help="share of good pictures refused (default: 0.01)")
    made.add_argument("--confusion", metavar="FILE", help="picture file of the confusions, where the truth is known")
    made.add_argument("--skip-bad", action="store_true", help="leave out files that are no pictures, naming them")
    out(made, "table to write, .csv: class, rejected or not, and probabilities of each picture")

    made = command("reconstruct", "encode and decode pictures, and show them side by side")
    pictures(made)
    model(made)
    out(made, "picture file: originals above, decoded below")

    made = command("train", "train a Glow on pictures")
    pictures(made)
    out(made, "model file to write, .safetensors")
    budget = made.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, help="time budget (default: 60)")
    budget.add_argument("--epochs", type=float, metavar="N", help="show each picture N times, in place of minutes")
    made.add_argument("--stop-after", type=float, metavar="MIN", help="stop after this long, for --resume to go on")
    made.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint; say PICTURES and --groups again"
    )
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
    made.add_argument(
        "--outliers",
        "--strange",
        type=float,
        metavar="WEIGHT",
        help="0.01 keeps pictures unlike any photograph from blowing up (default: 0)",
    )
    made.add_argument("--precision", choices=["auto", "float32", "bfloat16"], help="of the networks (default: auto)")
    made.add_argument(
        "--no-compile", dest="compile", action="store_false", default=None, help="do not use torch.compile"
    )
    made.add_argument(
        "--reversible", action="store_true", default=None, help="compute activations back: little memory, more time"
    )
    made.add_argument("--seed", type=_seed, help="of weights, split, order and noise (default: 0)")
    made.add_argument("--device", help="cpu or cuda (default: cuda if there is one)")
    made.add_argument("--data", dest="data_note", default="", help="words for the card: what it was trained on")
    made.add_argument("--licence", default="", help="words for the card: licence of the data")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0, or 2 where the input was no good."""
    arguments = parser().parse_args(argv)
    for name, value in vars(arguments).items():
        if (value == "" and name not in ("data_note", "licence")) or (isinstance(value, list) and "" in value):
            return _failed(f'Expected a value for {name.replace("_", " ")}; got an empty one, ""')
    try:
        commands = import_module("transflow.cli.commands")
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # file names need not be of any encoding
        getattr(commands, arguments.command)(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("transflow: interrupted", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, FloatingPointError, ImportError) as error:
        return _failed(" ".join(str(error).split()))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(words in str(error) for words in OUT_OF_MEMORY):
            raise  # a defect, to be seen whole
        return _failed("Expected work that fits into memory; got more. Ask for less at a time: fewer samples, or steps")
    return 0


def speaks() -> bool:
    """Return whether this process is the one that prints: of those that torchrun started, the first."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK") == "0"


def _failed(message: str) -> int:
    if speaks():
        print(f"transflow: error: {message}", file=sys.stderr)
    else:
        time.sleep(2)  # torchrun ends all processes once one has failed: the first is to have spoken by then
    return 2


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 10**9:
        raise ValueError
    return number


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**63:
        raise ValueError
    return number


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_count(part) for part in text.split(","))


_count.__name__ = "whole number of 1 to 1,000,000,000"
_seed.__name__ = "whole number of 0 to 2^63 - 1"
_counts.__name__ = "whole numbers by commas"
