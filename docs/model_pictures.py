"""Make the pictures of docs/models.md with models of other people, from where they are on this machine.

    python docs/model_pictures.py --flow mnist_flow:model --vae celeba_vae:model --gan face_gan:model \\
        --diffusion diffusers:pipeline

Each is named as ``transflow -m`` takes it. The evidence is scikit-learn's digits (BSD), enlarged, and faces drawn by
code: no photograph. What a model costs is printed in seconds of the processor, which another program does not change
much.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor

from transflow import load
from transflow.conditioning.model import Model
from transflow.gaussians.evidence import Evidence
from transflow.pictures import grids
from transflow.pictures.drawn import draw_face
from transflow.pictures.preprocess import preprocess
from transflow.store.files import write_bytes

HERE = Path(__file__).parent
SHOWN = 8  # pictures in a row
DIGITS = 40  # pictures of each digit that are evidence


def digits(digit: int, count: int, shape: tuple[int, int, int]) -> Tensor:
    """The first digits of scikit-learn's of a class, 8 x 8, as MNIST has them: 20 x 20 in the middle of 28 x 28."""
    found = load_digits()
    made = []
    for image in found.images[found.target == digit][:count]:
        small = Image.fromarray((image * (255 / 16)).round().astype(np.uint8))
        large = np.asarray(small.resize((20, 20), Image.Resampling.BICUBIC), np.float32)
        made.append(np.pad(((large - 127.5) * 3 + 127.5).clip(0, 255).round().astype(np.uint8), 4))
    return preprocess([Image.fromarray(image) for image in made], shape)


def faces(count: int, shape: tuple[int, int, int]) -> Tensor:
    """Faces drawn by code."""
    rng = np.random.default_rng(0)
    return preprocess([draw_face(rng) for _ in range(count)], shape)


def show(model: Model, file: str, kinds: dict[str, Tensor], noises: tuple[str, ...]) -> None:
    """Write evidence, what it is decoded to, and samples of its posteriors; below, samples of the model itself."""
    rows, words = [], []
    for kind, pictures in kinds.items():
        start = time.process_time()
        latents = model.encode_pixels(pictures)
        middle = time.process_time()
        decoded = model.decode(latents)
        end = time.process_time()
        error = (decoded.cpu() - model.quantise(pictures)).square().mean().sqrt().item()
        length = latents.norm(dim=1).mean().item() / model.dim**0.5
        print(f"{file}: {len(pictures)} {kind}: round trip {error:.2g} (root mean square), |z|/sqrt(D) {length:.2f},")
        print(f"    {(middle - start) / len(pictures):.2g} CPU s a picture to encode, ", end="")
        print(f"{(end - middle) / len(pictures):.2g} to decode", flush=True)
        rows += [pictures[:SHOWN], grids.to_uint8(decoded[:SHOWN])]
        words += [kind, "decoded"]
        evidence = Evidence.of(latents)
        for noise in noises:
            posterior = model.prior.condition(evidence, float(noise.removesuffix("m")) * len(pictures))
            rows.append(grids.to_uint8(model.decode(posterior.sample(SHOWN, seed=1).to(latents))))
            words.append(noise)
    rows.append(grids.to_uint8(model.pictures(model.prior, SHOWN, seed=1)))
    sheet = grids.grid(torch.cat(rows), SHOWN, rows=[*words, "the model"], zoom=64 // model.shape[-1])
    content = grids.encode_image(sheet.quantize(256), ".png")  # as a palette, a third of the size
    write_bytes(HERE / file, content)
    print(f"{file}: {len(content) / 1000:.0f} kB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flow", help="a flow of 28 x 28 digits")
    parser.add_argument("--vae", help="an autoencoder of faces")
    parser.add_argument("--gan", help="a generator of faces")
    parser.add_argument("--diffusion", help="a pipeline of faces")
    options = parser.parse_args()
    if options.flow:
        model = load(options.flow)
        kinds = {f"{digit}s": digits(digit, DIGITS, model.shape) for digit in (3, 7)}
        show(model, "model-flow.png", kinds, ("0.1m", "0.3m"))
    for kind, count in (("vae", 24), ("gan", SHOWN), ("diffusion", 24)):
        if name := getattr(options, kind):
            model = load(name)
            show(model, f"model-{kind}.png", {"drawn": faces(count, model.shape)}, ("0.1m", "0.3m", "0.7m"))


if __name__ == "__main__":
    main()
