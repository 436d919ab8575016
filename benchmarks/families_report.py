"""Tables and pictures of what families.py measured."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common import as_shown, mean_and_spread, table
from transflow import Model, load
from transflow.pictures import grids
from transflow.pictures.drawn import synthetic_pictures
from transflow.pictures.preprocess import preprocess
from transflow.store.files import write_bytes

SHOWN, EVIDENCE = 6, 16
Figures = dict[str, Any]


def drawn_from(model: Model, n: int, temperature: float, seed: int) -> Tensor:
    """Samples of a model, uint8, whatever temperature it would choose."""
    return as_shown(model, model.prior.sample(n, seed=seed, temperature=temperature))


def report(found: dict[str, dict[str, Figures]]) -> str:
    """Return the tables of what is measured so far, by family and kind."""
    parts = []
    for kind in ("faces", "digits"):
        rows = {family: by_kind[kind] for family, by_kind in found.items() if kind in by_kind}
        if not rows:
            continue
        parts.append(table((kind, *MODEL), [[name, *model_row(f)] for name, f in rows.items()]))
        few = {name: f["few_shot"] for name, f in rows.items() if "few_shot" in f}
        if few:
            title = f"digits, by a model of {kind}"
            heads = [f"{rule}, m={m}" for rule in ("0.5m", "auto") for m in (1, 5, 10)]
            parts.append(table((title, *heads, "queries"), [[name, *few_row(f)] for name, f in few.items()]))
        posteriors = {name: f["posterior"] for name, f in rows.items() if "posterior" in f}
        for way in ("the model", "parents", "the paper's"):
            lines = {name: [x for x in p if x["way"] == way] for name, p in posteriors.items()}
            if any(lines.values()):
                parts.append(posterior_table(kind, way, lines))
        people = {name: f["person"] for name, f in rows.items() if "person" in f}
        if people:
            heads = ("0.1m", "spread", "parents", "spread", "decoded", "by chance")
            lines = [[name, *person_row(f)] for name, f in people.items()]
            parts.append(table(("recognised as the person, %", *heads), lines))
    return "\n\n".join(parts)


MODEL = (
    "parameters", "D", "pictures seen", "bits/dim", "of 16", "Fréchet, T=1", "T=0.7", "real", "round trip, rms", "most",
    "encode, ms", "decode, ms",
)  # fmt: skip


def model_row(figures: Figures) -> list[str]:
    """Return the cells of `MODEL`."""
    card, common, seconds = figures["card"], figures.get("common"), figures.get("seconds")
    parts = card.get("parts", {}).values()  # of a pyramid
    shown = " + ".join(f"{part.get('pictures_seen', 0):,}" for part in parts or [card])
    row = [f"{card['parameters']:,}" if "parameters" in card else "", "", shown]
    if common is not None:
        row[1] = f"{common['latent']:,}"
        far = common["fréchet"]
        row += [f"{common[key]:.2f}" if key in common else "-" for key in ("bits_per_dim", "bits_per_dim_16")]
        row += [f"{far[key]:.1f}" for key in ("1.0", "0.7", "real")]
        row += [f"{common[f'round_trip_{key}']:.2g}" for key in ("rms", "most")]
    else:
        row += [""] * 7
    return row + ([f"{1000 * seconds[key]:.3g}" for key in ("encode", "decode")] if seconds else ["", ""])


def few_row(few: Figures) -> list[str]:
    """Return accuracies, mean ± spread over seeds."""
    return [mean_and_spread(few[rule][m]) for rule in ("0.5m", "auto") for m in few[rule]] + [str(few["queries"])]


def person_row(ways: dict[str, Figures]) -> list[str]:
    """Return shares recognised, and the samples' spread over that of the person's photographs, in pixels."""
    row = []
    for found in ways.values():
        row += [f"{100 * found['recognised']:.0f}", f"{found['spread, pixels']:.2f}"]
    return [*row, f"{100 * found['ceiling']:.0f}", f"{100 * found['chance']:.0f}"]


def posterior_table(kind: str, way: str, lines: dict[str, list[Figures]]) -> str:
    """Return what the new models of a way are like, mean over seeds (over digits)."""
    if kind == "digits":
        rows = [[name, f"{100 * statistics.mean(x['share'] for x in found):.0f}"] for name, found in lines.items()]
        return table((f"new digits, {way}", "taken for the digit, %"), rows)
    kinds = list(dict.fromkeys(x["kind"] for found in lines.values() for x in found))
    columns = [(k, figure) for k in kinds for figure in ("kernel", "share", "spread")]
    rows = []
    for name, found in lines.items():
        values = [[x[figure] for x in found if x["kind"] == k] for k, figure in columns]
        rows.append([name, *(f"{statistics.mean(v):.2f}" if v else "" for v in values)])
    return table((f"new faces, {way}", *(f"{k}: {figure}" for k, figure in columns)), rows)


def sheets(folder: Path, photographed: dict[str, Tensor], families: list[str], public: Path) -> None:
    """Draw a row a family: its samples, and new ones of its posteriors.

    Args:
        folder: of the models; sheets of photographed evidence are written here, and stay here.
        photographed: evidence that is not to be published, by name.
        families: whose models are there.
        public: folder for the sheets of faces drawn by code and of changed samples, and of digits.
    """
    own = grids.to_uint8(load("faces-32").pictures(load("faces-32").prior, EVIDENCE, seed=0, temperature=0.8))
    drawn = {kind: synthetic_pictures(kind, own, 0) for kind in ("drawn", "tinted")}
    models = {name: load(path) for name in families if (path := folder / f"{name}-faces.safetensors").exists()}
    for path, evidence in ((public / "families.png", drawn), (folder / "photographed.png", photographed)):
        write(path, models, evidence)
    models = {name: load(path) for name in families if (path := folder / f"{name}-digits.safetensors").exists()}
    if models:
        eights = handwritten("8")
        write(public / "families-digits.png", models, {"eights": eights})


def handwritten(digit: str) -> Tensor:
    """Return pictures of a digit that comes with scikit-learn, 8 x 8, enlarged: uint8 (16, 1, 32, 32)."""
    from transflow.estimators.digits import handwritten_digits

    pictures, labels = handwritten_digits()
    return preprocess(pictures[labels == int(digit)][:EVIDENCE], (1, 32, 32))


def write(path: Path, models: dict[str, Model], evidence: dict[str, Tensor]) -> None:
    """Write a sheet: the evidence above, a row a model."""
    shown = [pictures[:SHOWN] for pictures in evidence.values()]
    white = torch.full_like(shown[0], 255)
    rows = [torch.cat([white, *shown])]
    for name, model in models.items():
        made = [drawn_from(model, SHOWN, 0.8, seed=3)]
        for kind, pictures in evidence.items():
            try:
                made.append(as_shown(model, model.condition(pictures).sample(SHOWN, seed=3)))
            except ValueError as error:  # pictures that a sampler cannot give, say: none are shown
                print(f"{name}, {kind}: {error}")
                made.append(white)
        rows.append(torch.cat(made))
    heads = [""] * (SHOWN * (1 + len(evidence)))
    for i, name in enumerate(("the model", *evidence)):
        heads[i * SHOWN] = name
    page = grids.grid(torch.cat(rows), len(heads), rows=["evidence", *models], heads=heads, zoom=2)
    write_bytes(path, grids.encode_image(page.quantize(256), ".png"))
    print(f"written: {path}")
