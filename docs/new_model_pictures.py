"""Make the pictures of docs/new-model.md with the bundled model: ``python docs/new_model_pictures.py``.

The evidence is the demo's: faces drawn by code, and the model's own samples, changed.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from transflow import Model, load
from transflow.gaussians.evidence import Evidence
from transflow.gaussians.kept import Kept
from transflow.gaussians.learned import Learned
from transflow.gaussians.levels import levels_of
from transflow.gaussians.mixture import Mixture
from transflow.gaussians.noise import choose_noise
from transflow.gaussians.novelty import Weights, weights_for
from transflow.gaussians.parents import Parents
from transflow.library.names import DEFAULT
from transflow.pictures import grids
from transflow.pictures.drawn import synthetic_pictures
from transflow.store.files import write_bytes

HERE = Path(__file__).parent
EVIDENCE, SHOWN, ZOOM = 24, 10, 2
NOVELTIES = (0.0, 0.3, 0.5, 0.65, 0.75, 1.0)


def ways(model: Model, zeta: Tensor) -> dict[str, Tensor]:
    """Return latents of each way of drawing, (SHOWN, D), by name; zeta is the evidence's, (m, D)."""
    evidence, kept, levels = Evidence.of(zeta), Kept.of(zeta), levels_of(model.level_sizes, model.shape)
    learned = Learned.of(evidence, zeta.double() - evidence.mean, level_sizes=model.level_sizes)
    paper = model.prior.condition(evidence, choose_noise("typical", evidence, model.prior).value)
    drawn = {
        "the paper": paper,
        "covariance": learned,
        "6 parents": Parents(kept, Weights(6), levels),
        "3 parents": Parents(kept, Weights(3), levels),
        "2 parents": Parents(kept, Weights(2), levels),
        "mixture, h = 0.5": Mixture(kept, 0.5),
    }
    found = {name: distribution.sample(SHOWN, seed=1) for name, distribution in drawn.items()}
    return found | {"variations of one": Parents(kept, Weights(3, 0.0), levels).vary(0, SHOWN, seed=1).latents}


def new(model: Model, zeta: Tensor) -> dict[str, Tensor]:
    """Return latents by novelty, of the same draws."""
    kept, levels = Kept.of(zeta), levels_of(model.level_sizes, model.shape)
    found = {}
    for novelty in NOVELTIES:
        weights = weights_for(novelty, len(zeta))
        if weights is None:
            evidence = Evidence.of(zeta)
            drawn = Learned.of(evidence, zeta.double() - evidence.mean, level_sizes=model.level_sizes)
            found[f"{novelty:g}"] = drawn.sample(SHOWN, seed=1)
        else:
            found[f"{novelty:g}"] = Parents(kept, weights, levels).sample(SHOWN, seed=1)
    return found


def write(model: Model, file: str, pictures: Tensor, latents: dict[str, Tensor]) -> None:
    """Write evidence and, below, what latents of each name are decoded to."""
    made = [grids.to_uint8(model.decode(z)) for z in latents.values()]
    sheet = grids.grid(torch.cat([pictures[:SHOWN], *made]), SHOWN, rows=["evidence", *latents], zoom=ZOOM)
    content = grids.encode_image(sheet.quantize(256), ".png")
    write_bytes(HERE / file, content)
    print(f"{file}: {len(content) / 1000:.0f} kB")


def main() -> None:
    model = load(DEFAULT)
    own = grids.to_uint8(model.pictures(model.prior, EVIDENCE, seed=0, temperature=0.8))
    for kind in ("drawn", "tinted"):
        pictures = synthetic_pictures(kind, own, 0)
        write(model, f"new-model-{kind}.png", pictures, ways(model, model.encode(pictures)))
    pictures = synthetic_pictures("drawn", own, 0)
    write(model, "new-model-novelty.png", pictures, new(model, model.encode(pictures)))


if __name__ == "__main__":
    main()
