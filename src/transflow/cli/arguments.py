"""Arguments that several commands share, and the types of their numbers.

Nothing here loads torch, so ``--help`` answers at once. The forms of noise, which are parsed in rooms that do, are
repeated here in words; a test compares them.
"""

from __future__ import annotations

import argparse

from transflow.devices import DEFAULT_DEVICE, PRECISIONS
from transflow.library.names import DEFAULT

MODEL = (
    "a bundled or registered model's name; a file; hf://USER/REPO; diffusers:FOLDER-OR-ID; checkpoint:FILE of other "
    "people's weights; or module:attribute of Python code to run, from the current folder"
)
NOISE = (
    'trust in the evidence: lambda in units of m, the number of pictures ("0.5m"; a smaller number trusts it more), '
    'lambda itself ("12"), "typical" (samples as long as suits the model; "typical:0.7" sets the temperature) or '
    '"evidence" (greatest marginal likelihood)'
)
LEARN = (
    'what is learned of the evidence: "parents" (each new picture is made of a few of them; "parents:4" of four), '
    '"covariance" (how they vary), "mixture" (variations of single ones) or "mean" (the paper\'s way, by --noise)'
)
NOVELTY = "how new pictures are, of parents or a mixture: from 0, the evidence itself, to 1, all of it mixed"
CLASS_NOISE = (
    'how pictures of a class differ: "auto" (selected by leaving examples out), "0.5m" or a number as in condition, '
    '"pooled", "levels", "shared" or "student". Default: auto'
)


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """Add PICTURES and --skip-bad."""
    parser.add_argument("pictures", nargs="+", metavar="PICTURES", help="a folder, a tar, or picture files")
    add_skip_bad(parser)


def add_skip_bad(parser: argparse.ArgumentParser) -> None:
    """Add --skip-bad."""
    parser.add_argument("--skip-bad", action="store_true", help="skip files that are not pictures, with a note on each")


def add_align(parser: argparse.ArgumentParser) -> None:
    """Add --align."""
    words = "use the largest face of each picture, found and turned as `transflow align` does (extra: align)"
    parser.add_argument("--align", action="store_true", help=words)


def add_model(parser: argparse.ArgumentParser, default: str | None = DEFAULT, words: str = DEFAULT) -> None:
    """Add --model, --dtype and --device.

    Args:
        parser: of the command.
        default: the model's name, or None where a posterior file names it.
        words: the default in the help text.
    """
    parser.add_argument("-m", "--model", default=default, help=f"{MODEL} (default: {words})")
    parser.add_argument(
        "--dtype",
        choices=PRECISIONS,
        help="precision: bfloat16 is of the coupling networks of a Glow alone, and faster on hardware that has it "
        "(AVX512-BF16, AMX, CUDA from 8.0 on); float64 is exact to 1e-13, slower (default: float32, or that of the "
        "posterior file)",
    )
    parser.add_argument("--device", help=f"device, such as cuda (default: {DEFAULT_DEVICE})")


def add_draws(parser: argparse.ArgumentParser, n: int) -> None:
    """Add -n, --seed and --temperature."""
    parser.add_argument("-n", type=positive_integer, default=n, metavar="N", help=f"number of samples (default: {n})")
    parser.add_argument("--seed", type=seed_number, help="seed of the random draws (default: a new one, printed)")
    parser.add_argument("--temperature", type=float, default=1.0, help="factor on the standard deviation (default: 1)")


def add_learn(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --learn, --novelty and --long.

    Args:
        parser: of the command.
        default: of --learn, in words.
    """
    parser.add_argument("--learn", metavar="WHAT", help=f"{LEARN} (default: {default})")
    parser.add_argument("--novelty", type=float, help=NOVELTY)
    words = "draw from pictures whose latents are far too long, too; they are left out otherwise"
    parser.add_argument("--long", action="store_true", help=words)


def add_output(parser: argparse.ArgumentParser, words: str, *, required: bool = True) -> None:
    """Add --output, a file, and --overwrite."""
    parser.add_argument("-o", "--output", required=required, metavar="FILE", help=words)
    add_overwrite(parser)


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add --overwrite."""
    words = "write over what is there, whoever wrote it (default: over transflow's own of the same kind alone)"
    parser.add_argument("--overwrite", action="store_true", help=words)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def positive_integer(text: str) -> int:
    """Return a whole number of 1 or more."""
    return _whole_number(text, 1, 10**9)


def positive_integers(text: str) -> tuple[int, ...]:
    """Return whole numbers separated by commas."""
    return tuple(positive_integer(part) for part in text.split(","))


def switches(text: str) -> tuple[bool, ...]:
    """Return yes or no, separated by commas, as booleans."""
    words = {"yes": True, "no": False}
    if not all(part in words for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"Expected yes or no, separated by commas; got {text}")
    return tuple(words[part] for part in text.split(","))


def seed_number(text: str) -> int:
    """Return a seed, as torch takes it."""
    return _whole_number(text, 0, 2**63 - 1)


def _whole_number(text: str, least: int, most: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"Expected a whole number from {least} to {most}; got {text}")
    return number
