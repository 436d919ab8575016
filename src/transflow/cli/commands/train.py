"""``transflow train``: a model of one's own pictures, of any family that is trained as a whole."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from transflow.cli.arguments import add_pictures, positive_integer, positive_integers, seed_number, switches
from transflow.cli.messages import say
from transflow.cli.progress import Progress
from transflow.cli.training import OPTIONS, config_of
from transflow.devices import DEFAULT_DEVICE, TRAINING_PRECISIONS, find_device, is_first_process

if TYPE_CHECKING:
    from transflow.training import loop

HELP = "train a model on pictures"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments; None stands for the default of `TrainConfig`, or of the run that is resumed."""
    add = parser.add_argument
    add_pictures(parser)
    words = "model file to write, .safetensors; a new one"
    add("-o", "--output", required=True, metavar="FILE", help=words)
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, help="time budget (default: 60)")
    budget.add_argument("--epochs", type=float, metavar="N", help="show each picture N times, instead of minutes")
    add("--stop-after", type=float, metavar="MIN", help="stop this call after so many minutes; --resume continues")
    add("--resume", action="store_true", help="continue from the last checkpoint; give the same PICTURES and --groups")
    words = "begin with the weights of this model, a file or a name, its optimiser begun anew"
    add("--from", dest="begin_from", metavar="MODEL", help=words)
    words = "architecture (docs/training.md); glow if none is given"
    add("--family", choices=list(OPTIONS), help=words)
    add("--size", type=positive_integer, help="picture height and width in pixels (default: 32); 64 of details")
    add("--grey", action="store_true", help="one channel instead of three")
    add("--bits", type=int, help="bits per pixel and channel, 1 to 8 (default: 5); 8 of other families")
    words = "steps of each level, separated by commas (default: 10,10,10); three of flow++, one number for others"
    add("--steps", type=positive_integers, help=words)
    add(
        "--width",
        type=positive_integers,
        help="hidden channels of each level (default: 128,128,128); others: docs/training.md",
    )
    more = parser.add_argument_group("of the families flow-matching and details (docs/training.md has the defaults)")
    words = "which grids of a flow-matching net have it; one word for flow++"
    more.add_argument("--attention", type=switches, metavar="YES,NO", help=words)
    words = "blocks of each of its grids; of the networks of real-nvp, nice, tarflow and flow++, too"
    more.add_argument("--depth", type=positive_integer, help=words)
    more.add_argument("--dropout", type=float, help="share of its activations set to zero")
    more.add_argument("--power", type=float, help="how much finer its time steps are near the pictures, 1 to 4")
    more.add_argument("--seen", type=positive_integer, help="features of the average that each step of details sees")
    more.add_argument("--coarser", type=positive_integers, help="features at half and a quarter of the average's size")
    more.add_argument("--crop", type=positive_integer, help="height and width of the crops that details are trained on")
    words = "share of crops of whole grey levels; below 1 for a level below another, which sees averages"
    more.add_argument("--whole", type=float, metavar="SHARE", help=words)
    flows = parser.add_argument_group("of the families real-nvp, nice, tarflow and flow++ (docs/training.md)")
    words = "networks of real-nvp; residual if none is given"
    flows.add_argument("--net", choices=["residual", "plain"], help=words)
    flows.add_argument("--prior", choices=["logistic", "normal"], help="of nice; logistic if none is given")
    words = "do not whiten the pictures before the couplings of nice"
    flows.add_argument("--no-whiten", dest="whiten", action="store_false", default=None, help=words)
    flows.add_argument("--patch", type=positive_integer, help="height and width of the patches of tarflow")
    flows.add_argument("--head", type=positive_integer, help="width of its attention heads")
    words = "standard deviation of the noise that it is trained with; a picture's range is 1"
    flows.add_argument("--noise", type=float, help=words)
    flows.add_argument("--components", type=positive_integer, help="logistics of a mixture of flow++")
    flows.add_argument("--dequantiser", type=int, help="couplings of its dequantisation; 0 for uniform noise")
    words = "no batch norm between the couplings of real-nvp"
    flows.add_argument("--no-batch-norm", dest="batch_norm", action="store_false", default=None, help=words)
    codecs = parser.add_argument_group("of the families vae, wae, autoencoder, bigan and gan (docs/training.md)")
    codecs.add_argument("--latent", type=positive_integer, metavar="D", help="numbers of a latent, 2 to 128")
    codecs.add_argument("--matching", type=float, help="weight by which the codes of a wae are held to N(0, I)")
    words = "weight of the gradient of the adversary of bigan and gan at pictures (R1)"
    codecs.add_argument("--penalty", type=float, help=words)
    add("--coupling", choices=["affine", "additive"], help="(default: affine)")
    add("--permutation", choices=["lu", "plain"], help="parametrisation of 1x1 convolutions (default: lu)")
    add("--batch", type=positive_integer, help="pictures per step (default: 64); 32 of bigan and gan")
    add("--learning-rate", type=float, help="learning rate of Adam (default: 0.001); 0.0005 of tarflow, 0.005 of gan")
    add("--warmup", type=positive_integer, help="steps of rising learning rate (default: 200)")
    words = "decay of the moving average of weights (default: 0.999); 0.9995 of the parts of a pyramid"
    add("--ema", type=float, help=words)
    words = "weight decay of AdamW (default: 0); 0.01 of flow-matching, 0.0001 of tarflow"
    add("--weight-decay", type=float, help=words)
    add("--interval", type=float, help="minutes between checkpoints (default: 3)")
    add("--held-out", type=float, help="share of the pictures kept for validation (default: 0.1)")
    add("--groups", metavar="CSV", help="table of file name and group, one a line; each group is held out whole")
    add("--no-flip", dest="flip", action="store_false", default=None, help="do not mirror pictures at random")
    words = "weight of outlier exposure: 0.01 keeps pictures unlike any photograph invertible (default: 0)"
    add("--outliers", "--strange", type=float, metavar="WEIGHT", help=words)
    words = "precision of the networks (default: auto); float32 of bigan and gan"
    add("--precision", choices=TRAINING_PRECISIONS, help=words)
    add("--no-compile", dest="compile", action="store_false", default=None, help="do not use torch.compile")
    words = "recompute activations of a glow in the backward pass: little memory, more time"
    add("--reversible", action="store_true", default=None, help=words)
    add("--seed", type=seed_number, help="seed of weights, split, order and noise (default: 0)")
    add("--device", help=f"device, such as cuda (default: {DEFAULT_DEVICE}, or that of the resumed run)")
    add("--data", dest="data_note", default="", help="for the model's card: what it was trained on")
    add("--licence", default="", help="for the model's card: licence of the data")


def run(options: argparse.Namespace) -> None:
    """Train, or continue; print bits per dimension, or the loss, of held-out pictures."""
    from transflow.cli.inputs import files_of, note_emulated, on_bad
    from transflow.cli.output import Output
    from transflow.training import loop

    if options.resume and options.begin_from:
        raise ValueError("Expected --resume, to go on with a run, or --from, to begin from a model; got both.")
    reads = [*options.pictures, *([options.groups] if options.groups else []), *files_of(options.begin_from)]
    output = Output.file(options.output, reads, suffix=".safetensors", kind="model", known=options.output)
    if options.precision and is_first_process():
        note_emulated(options.precision, find_device(options.device))
    bar = Bar()
    try:
        model = loop.train(
            options.pictures,
            output.path,
            config_of(options),
            resume=options.resume,
            begin_from=options.begin_from,
            stop_after=options.stop_after,
            groups=options.groups,
            card={"name": Path(output.path).stem, "data": options.data_note, "licence": options.licence},
            on_bad=on_bad(options),
            device=options.device,
            report=bar.show,
        )
    finally:
        bar.close()
    if is_first_process():
        unit = "bits/dim" if "bits_per_dim" in model.card else "loss"
        value = model.card["bits_per_dim" if unit == "bits/dim" else "held_out_loss"]
        on = f"on {model.card['held_out_pictures']} held-out pictures"
        if bar.share < 1:
            on = f"at {bar.share:.0%} of the run; continue with --resume"
        say(f"{output}: {value:.4f} {unit} {on} ({model.card['precision']} on {model.card['device']})")


class Bar:
    """The progress of a run on standard error, from the first step on.

    Attributes:
        share: the part of the budget that is spent, 0 to 1.
    """

    def __init__(self) -> None:
        self.share = 1.0
        self._shown: Progress | None = None

    def show(self, progress: loop.Progress) -> None:
        """Show the state after a step."""
        self.share = progress.share
        if self._shown is None:
            self._shown = Progress(100.0, "%")
        held_out = f", held out {progress.held_out:.3f}" if progress.held_out is not None else ""
        skipped = f", {progress.skipped} skipped" if progress.skipped else ""
        bits = progress.bits_per_dim
        words = f"loss {progress.loss:.4f}" if math.isnan(bits) else f"{bits:.3f} bits/dim"
        words += f"{held_out}, {progress.pictures_per_second:.0f} images/s, "
        words += f"{max(0.0, progress.minutes_left):.1f} min left{skipped}"
        self._shown.update(100 * progress.share - self._shown.done, words)

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self._shown is not None:
            self._shown.close()
