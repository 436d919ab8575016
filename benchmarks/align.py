"""How many faces are found, how exactly, and what alignment does to a posterior.

    python benchmarks/align.py --photos faces-128.tar --groups faces-64.csv --sets paintings/ anime/ -o align.json

**Detectors.** dlib upright only; dlib as `transflow align` has it, in several views; MediaPipe's face mesh (where
0.10.21 is installed), and MTCNN (where `mtcnn-runtime` is): the share of pictures in which a face is found, rightly
where it is known where the eyes are (both within a quarter of their distance), the mean error of the eyes in units of
their distance, and milliseconds a picture. Of --photos, aligned, so that their eyes are known: as they are, and
"loose", turned by up to 40 degrees, shrunk or enlarged on a coloured ground of 480 x 360; the --sets; drawn faces.

**Alignment.** Of photographs of people the model never saw, half is evidence and half is kept: as the model's own
training pictures are, loose (turned by up to 25 degrees, of 0.45 to 0.8 of the size, their border repeated), and loose
ones aligned by `transflow.align`. Length and bits of latents; and how far the posterior's samples are from the kept
photographs, aligned: root mean square of pixels to the nearest, and the Fréchet-like distance of ImageNet features.
"""

from __future__ import annotations

import argparse
import cmath
import math
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

import transflow
from common import imagenet_features, parted, setting, table, write_json
from transflow.faces.detector import FaceDetector, usual_detector
from transflow.faces.mesh import FaceMesh, has_mesh
from transflow.pictures import decode as data
from transflow.pictures.drawn import draw_face
from transflow.pictures.turned import EYES_APART, EYES_HEIGHT, Eyes, sampled, view

RIGHT = 0.25  # of the eyes' distance
Known = tuple[np.ndarray, Eyes | None]


def rule(side: int) -> Eyes:
    """The eyes of an aligned picture; its first pixel's centre is 0 in the landmarks that it was aligned by."""
    half, y = EYES_APART / 2, EYES_HEIGHT * side + 0.5
    return Eyes(((0.5 - half) * side + 0.5, y), ((0.5 + half) * side + 0.5, y))


def on_ground(pixels: np.ndarray, rng: np.random.Generator) -> Known:
    """A picture turned and scaled, on a ground of colours."""
    wide, high, side = 480, 360, pixels.shape[0]
    scale, angle = rng.uniform(0.4, 1.5), math.radians(rng.uniform(-40, 40))
    where = complex(rng.uniform(0.3, 0.7) * wide, rng.uniform(0.35, 0.65) * high)
    a = cmath.exp(1j * angle) / scale
    b = complex(side, side) / 2 - a * where
    small = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    ground = small.resize((wide, high), Image.Resampling.BICUBIC)
    inside = Image.new("L", (side, side), 255)
    matrix = (a.real, -a.imag, b.real, a.imag, a.real, b.imag)
    mask = inside.transform((wide, high), Image.Transform.AFFINE, matrix)
    ground.paste(sampled(pixels, a, b, (wide, high)), (0, 0), mask)
    left, right = ((complex(*point) - b) / a for point in (rule(side).left, rule(side).right))
    return np.asarray(ground), Eyes((left.real, left.imag), (right.real, right.imag))


def loose(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture as somebody might have taken it: turned, smaller, not in the middle; its border repeated."""
    side = pixels.shape[0]
    a = cmath.exp(1j * math.radians(rng.uniform(-25, 25))) / rng.uniform(0.45, 0.8)
    middle = complex(rng.uniform(0.4, 0.6), rng.uniform(0.4, 0.6)) * side
    return np.asarray(sampled(pixels, a / 2, complex(side, side) / 2 - a * middle, (2 * side, 2 * side)))


def detectors() -> dict[str, Callable[[np.ndarray], list[Eyes]]]:
    """Those that are installed."""
    whole = FaceDetector()

    def upright(pixels: np.ndarray) -> list[Eyes]:
        return whole._in_view(*view(pixels, max(400, max(pixels.shape[:2]))), 0.0)

    found: dict[str, Callable[[np.ndarray], list[Eyes]]] = {"dlib, upright": upright, "dlib, views": whole}
    if has_mesh():
        found |= {"face mesh": FaceMesh(), "dlib, then mesh": usual_detector()}
    try:
        from mtcnnruntime import MTCNN
    except ImportError:
        return found
    network = MTCNN()

    def mtcnn(pixels: np.ndarray) -> list[Eyes]:
        shown, a, b = view(pixels, max(400, max(pixels.shape[:2])), margin=0.17)
        try:
            boxes, marks = network.detect(np.ascontiguousarray(shown[..., ::-1]), min_face_size=40)
        except ValueError:  # which it raises where its first network proposes nothing
            return []
        eyes = [[a * complex(m[i], m[i + 5]) + b for i in (0, 1)] for m in marks]
        return [
            Eyes((x.real, x.imag), (y.real, y.imag), float(box[4])) for (x, y), box in zip(eyes, boxes, strict=True)
        ]

    return found | {"MTCNN": mtcnn}


def judge(find: Callable[[np.ndarray], list[Eyes]], pictures: list[Known]) -> dict[str, float | None]:
    """Shares found and rightly found, mean error in units of the eyes' distance and in pixels, milliseconds."""
    found, errors, pixels_off = 0, [], []
    begin = time.perf_counter()
    for pixels, known in pictures:
        faces = find(pixels)
        found += bool(faces)
        if faces and known:
            off = [(math.dist(f.left, known.left), math.dist(f.right, known.right)) for f in faces]
            least = min(off, key=sum)
            if max(least) < RIGHT * known.apart:
                errors.append(sum(least) / 2 / known.apart)
                pixels_off.append(sum(least) / 2)
    seconds = time.perf_counter() - begin
    sure = any(known for _, known in pictures)
    return {
        "pictures": len(pictures),
        "found": found / len(pictures),
        "right": len(errors) / len(pictures) if sure else None,
        "error": float(np.mean(errors)) if errors else None,
        "error_pixels": float(np.mean(pixels_off)) if errors else None,
        "milliseconds": 1000 * seconds / len(pictures),
    }


def where_the_eyes_are(find: Callable[[np.ndarray], list[Eyes]], pictures: list[Known]) -> dict[str, float]:
    """The mean place of the eyes of aligned pictures, in shares of the side, as the rule has them."""
    rows = []
    for pixels, _ in pictures:
        for eyes in find(pixels)[:1]:
            rows.append([v / pixels.shape[0] for v in (*eyes.left, *eyes.right)])
    left_x, left_y, right_x, right_y = np.array(rows).mean(0)
    spread = np.array(rows).std(0)
    return {
        "apart": right_x - left_x,
        "middle": (left_x + right_x) / 2,
        "height": (left_y + right_y) / 2,
        "spread_x": float(spread[[0, 2]].mean()),
        "spread_y": float(spread[[1, 3]].mean()),
    }


def alignment(a: argparse.Namespace, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    model = transflow.load(a.model)
    names = parted(model, a.photos, a.groups)[1].names
    large = data.read(a.photos, (3, 128, 128))
    number = {name: i for i, name in enumerate(large.names)}
    chosen = rng.permutation(len(names))[: 2 * a.evidence]
    whole = [large.pixels[number[names[i]]].permute(1, 2, 0).numpy() for i in chosen]
    evidence, kept = whole[: a.evidence], whole[a.evidence :]
    target = model.preprocess([Image.fromarray(p) for p in kept])
    far = [loose(p, rng) for p in evidence]
    aligned = [faces[0] for p in far if (faces := transflow.align(p))]
    print(f"{len(aligned)} of {len(far)} loose photographs have a face")
    ways = {
        "as in training": [Image.fromarray(p) for p in evidence],
        "loose": [Image.fromarray(p) for p in far],
        "loose, aligned": aligned,
    }
    found = {}
    for name, pictures in ways.items():
        pixels = model.preprocess(pictures)
        scores = model.score(pixels)
        samples = model.condition(pixels, learn="parents").pictures(a.samples, seed=a.seed)
        found[name] = {
            "pictures": len(pixels),
            "radius": scores.radius.mean().item(),
            "bits_per_dim": scores.bits_per_dim.mean().item(),
            "to_nearest_kept": nearest(samples, target.float() / 255),
            "features": distance((samples * 255).round().to(torch.uint8), target),
        }
        if a.pictures:
            from transflow.pictures.grids import grid

            sheet = torch.cat([pixels[:16], (samples[:16].cpu() * 255).round().to(torch.uint8)])
            grid(sheet, 16).save(f"{a.pictures}/{name.replace(' ', '-').replace(',', '')}.png")
    return found


def nearest(samples: torch.Tensor, target: torch.Tensor) -> float:
    """Mean over samples of the root mean square difference to the nearest target, pixels in [0, 1]."""
    flat, known = samples.cpu().flatten(1).double(), target.flatten(1).double()
    return (torch.cdist(flat, known).min(1).values / flat.shape[1] ** 0.5).mean().item()


def distance(samples: torch.Tensor, target: torch.Tensor) -> float:
    """Squared distance of the mean ImageNet features (of few pictures a covariance would say little); NaN without."""
    one, other = imagenet_features(samples), imagenet_features(target)
    return math.nan if one is None or other is None else (one.mean(0) - other.mean(0)).square().sum().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, help="a folder or tar of aligned photographs, 128 x 128")
    parser.add_argument("--photos-64", help="others, 64 x 64, whose eyes are looked for")
    parser.add_argument("--groups", help="CSV of file and identity: with it, what alignment does to a posterior")
    parser.add_argument("--sets", nargs="*", default=[], help="folders of other faces")
    parser.add_argument("--aligned", nargs="*", default=[], help="those of --sets that are aligned, by name")
    parser.add_argument("-m", "--model", default="faces-32")
    parser.add_argument("--count", type=int, default=200, help="photographs to find faces in")
    parser.add_argument("--evidence", type=int, default=64)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--pictures", help="a folder for sheets of evidence and samples, to be looked at")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", default="align.json")
    a = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(a.seed)
    large = data.read(a.photos, (3, 128, 128)).pixels
    photos = large[torch.from_numpy(rng.permutation(len(large))[: a.count])].permute(0, 2, 3, 1).numpy()
    sets: dict[str, list[Known]] = {
        "photographs": [(p, rule(128)) for p in photos],
        "loose photographs": [on_ground(p, rng) for p in photos],
    }
    if a.photos_64:
        small = data.read(a.photos_64, (3, 64, 64)).pixels
        some = small[torch.from_numpy(rng.permutation(len(small))[: a.count])].permute(0, 2, 3, 1).numpy()
        sets["photographs, 64 x 64"] = [(p, rule(64)) for p in some]
    for folder in a.sets:
        name = folder.rstrip("/").rpartition("/")[2].removesuffix(".tar")
        side = 64 if folder.endswith("64.tar") else 128
        pixels = data.read(folder, (3, side, side)).pixels
        some = pixels[torch.from_numpy(rng.permutation(len(pixels))[: a.count])].permute(0, 2, 3, 1).numpy()
        sets[name] = [(p, rule(side) if name in a.aligned else None) for p in some]
    sets["drawn by code"] = [(np.asarray(draw_face(np.random.default_rng(i), 256)), rule(256)) for i in range(40)]
    content = setting(a.seed) | {"detectors": {}}
    rows = []
    for name, find in detectors().items():
        for kind, pictures in sets.items():
            f = content["detectors"].setdefault(name, {})[kind] = judge(find, pictures)
            shown = [
                f"{f['found']:.1%}",
                *(
                    "-" if f[k] is None else f"{f[k]:{s}}"
                    for k, s in (("right", ".1%"), ("error", ".3f"), ("error_pixels", ".2f"))
                ),
                f"{f['milliseconds']:.0f}",
            ]
            rows.append((name, kind, str(f["pictures"]), *shown))
    print(table(("detector", "pictures", "n", "found", "right", "error/eyes", "error, px", "ms"), rows))
    content["eyes"] = {
        kind: where_the_eyes_are(FaceDetector(), sets[kind]) for kind in sets if kind.startswith("photographs")
    }
    for kind, where in content["eyes"].items():
        print(f"{kind}: " + ", ".join(f"{key} {value:.4f}" for key, value in where.items()))
    if a.groups:
        content["alignment"] = alignment(a, rng)
        heads = ("evidence", "n", "|z|/sqrt(D)", "bits/dim", "RMS to nearest kept", "features' distance")
        print(
            table(
                heads,
                [(name, str(row["pictures"]), *list(row.values())[1:]) for name, row in content["alignment"].items()],
            )
        )
    write_json(a.output, content)


if __name__ == "__main__":
    main()
