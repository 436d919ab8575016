"""What each command does: a handful of lines around the calls that Python users make.

What few commands need and takes time to load, such as scikit-learn where it is installed, is imported there.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tqdm import tqdm

from transflow.base_model import BaseModel
from transflow.cli import speaks
from transflow.conditioning.model import Model
from transflow.conditioning.posterior import DEFAULT_NOISE, Posterior
from transflow.devices import dtype_of
from transflow.latents import stream as streaming
from transflow.latents.encoded import Encoded
from transflow.library import load as library
from transflow.library import names as hub
from transflow.pictures import decode as data
from transflow.pictures import grids as figures
from transflow.pictures import sources as listing
from transflow.pictures.decode import PictureBatch
from transflow.store import container as checkpoint
from transflow.training.config import TrainConfig

CONTROLS = {i: repr(chr(i))[1:-1] for i in (*range(32), 127)}  # in a file's name they would break a table's lines


def demo(a: argparse.Namespace) -> None:
    """Show the method with the bundled model."""
    from transflow.showcase import demo as showcase

    page = showcase.demo(a.output, seed=a.seed, report=_say)
    print(f"{page} (seed {a.seed})")


def models(a: argparse.Namespace) -> None:
    """List the bundled models."""
    cards = library.models()
    if a.json:
        print(json.dumps(cards, indent=2))
        return
    for name, card in cards.items():
        print(name)
        for key, value in card.items():
            words = f"{value:.4g}" if isinstance(value, float) else value
            print(f"  {key.replace('_', ' '):<20}{words}")


def condition(a: argparse.Namespace) -> None:
    """Make a posterior of pictures, or change one."""
    base = a.add or a.remove
    output = a.output or base
    if output is None:
        raise ValueError("Expected where to write the posterior; say -o FILE")
    _writable(output, ".safetensors")
    before = None
    if base:
        if a.noise:
            raise ValueError("Expected no --noise with --add or --remove: the posterior keeps the one it was made with")
        before = _posterior(a, base)
    if before:
        listing.check_apart(output, [*a.pictures, *([before.model.file] if before.model.file else [])])
        encoded = _stream(a, before.model)
        posterior = before.add(encoded) if a.add else before.remove(encoded)
    else:
        model = _model(a, a.model or "faces-32")
        listing.check_apart(output, [*a.pictures, *([model.file] if model.file else [])])
        posterior = model.condition(_stream(a, model), a.noise or DEFAULT_NOISE)
    posterior.save(output)
    print(f"{output}: {posterior.evidence.count} pictures", end="")
    if posterior.evidence.count:
        print(f", noise {posterior.noise}", end="")
        if posterior.noise.note:
            _say(f"transflow: note: {posterior.noise.note}")
    print()


def encode(a: argparse.Namespace) -> None:
    """Keep the latents of pictures in a folder."""
    model = _model(a, a.model)
    done = {True: 0, False: 0}
    begin = time.monotonic()
    with _bar(a.pictures) as bar:

        def report(count: int, now: bool) -> None:
            done[now] += count
            bar.update(count)

        latents = model.latents(a.pictures, a.output, on_bad=_skipping(a), report=report)
    rate = f", {done[True] / (time.monotonic() - begin):.0f} pictures/s" if done[True] else ""
    print(f"{a.output}: {len(latents)} pictures, {done[True]} encoded now{rate}, {done[False]} found there")


def sample(a: argparse.Namespace) -> None:
    """Draw new pictures."""
    folder = a.output.endswith("/") or Path(a.output).is_dir()
    if folder:
        checkpoint.check_folder(a.output)
    else:
        _writable(a.output)
    if checkpoint.header(hub.find_file(a.posterior))["kind"] == "model":
        model = _model(a, a.posterior)
        seed = _seed(a)
        pictures = model.pictures(model.prior, a.n, seed=seed, temperature=a.temperature)
    else:
        posterior = _posterior(a, a.posterior)
        seed = _seed(a)
        pictures = posterior.pictures(a.n, seed=seed, temperature=a.temperature)
    if folder:
        Path(a.output).mkdir(parents=True, exist_ok=True)
        for i, picture in enumerate(pictures):
            content = figures.encode_image(figures.grid(picture[None], zoom=1, gap=0), ".png")
            checkpoint.write_bytes(Path(a.output) / f"{i:04d}.png", content)
    else:
        _write_picture(a.output, figures.grid(pictures))
    print(f"{a.output}: {a.n} samples (seed {seed})")


def sweep(a: argparse.Namespace) -> None:
    """Show samples for several noises."""
    _writable(a.output)
    listing.check_apart(a.output, a.pictures)
    model, seed = _model(a, a.model), _seed(a)
    noises = a.noise.split(",")
    rows = model.sweep(_stream(a, model), noises, a.n, seed=seed, temperature=a.temperature)
    _write_picture(a.output, figures.grid(rows.flatten(0, 1), a.n, rows=noises))
    print(f"{a.output}: one row a noise, {', '.join(noises)} (seed {seed})")


def interpolate(a: argparse.Namespace) -> None:
    """Show the way between two posteriors."""
    _writable(a.output)
    begin = _posterior(a, a.a)
    end = library.load_posterior(a.b, begin.model)
    seed = _seed(a)
    frames = begin.strip(end, a.steps, a.n, seed=seed, temperature=a.temperature, direct=a.direct)
    if a.output.lower().endswith(".gif"):
        checkpoint.write_bytes(a.output, figures.animation([figures.grid(frame, a.n) for frame in frames]))
    else:
        _write_picture(a.output, figures.grid(frames.transpose(0, 1).flatten(0, 1), a.steps))
    print(f"{a.output}: {a.steps} steps of {a.n} samples (seed {seed})")


def score(a: argparse.Namespace) -> None:
    """Print how likely pictures are."""
    model = _model(a, a.model)
    names: list[str] = []
    encoded = _stream(a, model, log_prob=True, names=names)
    found: dict[str, list[float]] = {}
    if a.reference:
        from transflow.conditioning import typicality

        compared = typicality.compare(model, encoded, _stream(a, model, a.reference, log_prob=True))
        scores = compared.scores
        found = {
            "p_likelihood": compared.by_likelihood.tolist(),
            "p_typicality": compared.by_typicality.tolist(),
        }
    else:
        scores = model.score(encoded)
    columns = {
        "log_prob": scores.log_prob.tolist(),
        "bits_per_dim": scores.bits_per_dim.tolist(),
        "radius": scores.radius.tolist(),
        **found,
    }
    if a.json:
        rows = zip(*columns.values(), strict=True)
        named = zip(names, rows, strict=True)
        print(json.dumps([{"picture": n, **dict(zip(columns, row, strict=True))} for n, row in named], indent=2))
        return
    names = [name.translate(CONTROLS) for name in names]
    wide = max(len("picture"), *map(len, names))
    head = f"{'picture':<{wide}}  {'log p (nats)':>13}  {'bits/dim':>9}  {'|z|/sqrt(D)':>11}"
    print(head + (f"  {'p likely':>8}  {'p typical':>9}" if found else ""))
    for name, log_prob, bits, radius, *p in zip(names, *columns.values(), strict=True):
        line = f"{name:<{wide}}  {log_prob:>13.1f}  {bits:>9.3f}  {radius:>11.3f}"
        print(line + (f"  {p[0]:>8.3f}  {p[1]:>9.3f}" if p else ""))


def classify(a: argparse.Namespace) -> None:
    """Tell classes apart by a few pictures of each."""
    _writable(a.output, ".csv")
    if a.confusion:
        _writable(a.confusion)
    listing.check_apart([a.output, a.confusion or a.output], [a.support, a.query])
    if not 0 < a.reject < 1:
        raise ValueError(f"Expected a share to reject between 0 and 1; got {a.reject}.")
    from transflow.estimators import folders as evaluation

    found = evaluation.classify(
        _model(a, a.model), a.support, a.query, noise=a.noise, augment=a.augment, on_bad=_skipping(a)
    )
    checkpoint.write_bytes(a.output, found.csv(a.reject))
    print(f"{found.choice}")
    refused = f"{sum(found.rejected(a.reject))} rejected" if found.p_values is not None else "too few to reject any"
    print(f"{a.output}: {len(found.names)} pictures, {len(found.classes)} classes, {refused}")
    for name, share in found.accuracies.items():
        print(f"  {name:<28}{share:.1%}")
    if found.calibration_error is not None:
        print(f"  {'calibration error':<28}{found.calibration_error:.1%}")
    if a.confusion:
        _write_picture(a.confusion, figures.confusion(found.confusion(), found.classes))


def reconstruct(a: argparse.Namespace) -> None:
    """Show pictures before and after encode and decode."""
    _writable(a.output)
    listing.check_apart(a.output, a.pictures)
    model = _model(a, a.model)
    result = model.reconstruct(_read(a, model).pixels)
    _write_picture(a.output, figures.pairs(result.pictures, result.decoded))
    print(f"{a.output}: {len(result.errors)} pictures, largest error {result.errors.max():.2e} of the range [0, 1]")


def train(a: argparse.Namespace) -> None:
    """Train a Glow."""
    from transflow.training import loop as training

    def said(*names: str) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(a, name)) is not None}

    shape = said("size", "steps", "width", "coupling", "permutation") | ({"channels": 1} if a.grey else {})
    run = said("minutes", "epochs", "batch", "learning_rate", "interval", "held_out", "flip", "outliers", "seed")
    rest = run | said("bits", "precision", "compile", "reversible")
    if a.minutes is not None:
        rest["epochs"] = None
    _writable(a.output, ".safetensors")
    base = training.read_config(a.output) if a.resume else TrainConfig()
    config = replace(base, glow=replace(base.glow, **shape), **rest)
    bars: list[tqdm[Any]] = []
    share = 1.0

    def report(p: training.Progress) -> None:
        nonlocal share
        share = p.share
        if not bars:  # the first step is done: from here on there is something to show
            bars.append(tqdm(total=100.0, bar_format="{percentage:3.0f}% |{bar:20}| {postfix}"))
        held_out = f", held out {p.held_out:.3f}" if p.held_out is not None else ""
        skipped = f", {p.skipped} skipped" if p.skipped else ""
        words = f"{p.bits_per_dim:.3f} bits/dim{held_out}, {p.pictures_per_second:.0f} images/s, "
        bars[0].set_postfix_str(words + f"{max(0.0, p.minutes_left):.1f} min left{skipped}", refresh=False)
        bars[0].update(100 * p.share - bars[0].n)

    card = {"name": Path(a.output).stem, "data": a.data_note, "licence": a.licence}
    try:
        model = training.train(
            a.pictures,
            a.output,
            config,
            resume=a.resume,
            stop_after=a.stop_after,
            groups=a.groups,
            card=card,
            on_bad=_skipping(a),
            device=a.device,
            report=report,
        )
    finally:
        for bar in bars:
            bar.close()
    if speaks():
        bits, count = model.card["bits_per_dim"], model.card["held_out_pictures"]
        on = f"on {count} held-out pictures" if share >= 1 else f"at {share:.0%} of the run; go on with --resume"
        print(f"{a.output}: {bits:.4f} bits/dim {on}")


def _model(a: argparse.Namespace, name: str) -> Model:
    return library.load(name, dtype=_dtype(a) or torch.float32, device=a.device)


def _dtype(a: argparse.Namespace) -> torch.dtype | None:
    return dtype_of(a.dtype) if a.dtype else None


def _posterior(a: argparse.Namespace, path: str) -> Posterior:
    """The posterior in a file, with the model that was said; where none was, its own."""
    model = _model(a, a.model) if a.model else None
    return library.load_posterior(path, model, dtype=_dtype(a), device=a.device)


def _read(a: argparse.Namespace, model: Model) -> PictureBatch:
    return data.read(a.pictures, model.shape, on_bad=_skipping(a))


def _stream(
    a: argparse.Namespace,
    model: BaseModel,
    sources: str | None = None,
    *,
    log_prob: bool = False,
    names: list[str] | None = None,
) -> Iterator[Encoded]:
    """The pictures as latents, a batch at a time, beside a bar that shows how many there are by now."""
    with _bar(sources or a.pictures) as bar:
        for part in streaming.stream(model, sources or a.pictures, on_bad=_skipping(a), log_prob=log_prob):
            if names is not None:
                names.extend(part.names)
            bar.update(len(part))
            yield part


def _bar(sources: Any) -> tqdm[Any]:
    """A bar on standard error: on a terminal after a second, elsewhere a line a minute."""
    try:
        total = streaming.count(sources)
    except OSError:  # the reading will tell of it
        total = None
    seconds = 1.0 if sys.stderr.isatty() else 60.0
    return tqdm(
        total=total,
        unit=" pictures",
        delay=seconds,
        mininterval=seconds / 2,
        maxinterval=seconds,
        leave=False,
        dynamic_ncols=True,
        smoothing=0.1,
    )


def _skipping(a: argparse.Namespace) -> Callable[[str], None] | None:
    return (lambda message: _say(f"transflow: skipped: {message}")) if a.skip_bad else None


def _writable(path: str, suffix: str = "") -> None:
    """Find out before the work whether its result could be written; without a suffix, it is a picture."""
    checkpoint.check_writable(path)
    if not suffix:
        figures.check_picture_file(path)
    elif not path.endswith(suffix):
        raise ValueError(f"Expected an output file that ends in {suffix}; got: {path}")


def _write_picture(path: str, picture: Image.Image) -> None:

    checkpoint.write_bytes(path, figures.encode_image(picture, Path(path).suffix))


def _seed(a: argparse.Namespace) -> int:
    """The seed that was said, or a new one; it is printed, so that any picture can be made again."""
    return a.seed if a.seed is not None else random.SystemRandom().randrange(2**31)


def _say(message: str) -> None:
    print(message, file=sys.stderr)
