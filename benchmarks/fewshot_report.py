"""The tables and the picture of fewshot_generation.py's figures, and the setting that they choose.

    python benchmarks/fewshot_report.py runs/look/*.jsonl -o fewshot_generation.json --picture frontier.png

A figure is the mean over kinds, and beside it the standard deviation, over seeds, of that mean. The model as it is and
the paper's posterior stand with the temperature and the noise that are best for each kind. A distance is given as it is
and between photographs of the kind (0) and the paper (100), since distances of kinds do not compare.

The setting is the one of least distance on the choosing kinds, as a share of the paper's, of those that keep three
bounds: a median nearest distance of at least 0.95 of other photographs' on hats and eyeglasses, at most 1 % more
near-copies, both in features, and under 1 % broken samples, means over kinds. Near-copies of coarsest latents and of
pixels are given but are no bound: in the former everything that is made of the evidence's deviations stands out, its
Gaussian as much as its parents, and in the latter the Gaussian does, too. It is frozen below.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from common import setting, table, write_json
from fewshot_generation import REAL

Figures = dict[str, float]
FROZEN = "parents, 4, spread 0.4"  # chosen on hats, eyeglasses and lorelei, before other kinds were looked at
MODEL, PAPER = "the model, best T", "paper, best noise"
COLUMNS = {
    "distance": "distance",
    "of paper": "of paper",
    "0-100": "0-100",
    "kernel": "kernel",
    "kernel, unseen": "unseen",
    "coverage": "coverage",
    "density": "density",
    "share": "share",
    "spread": "spread",
    "spread, same nearest": "about one",
    "nearest, features": "nearest f",
    "nearest, coarse": "c",
    "nearest, pixels": "p",
    "copies, features": "copies f",
    "copies, coarse": "c",
    "copies, pixels": "p",
    "known": "known",
    "broken": "broken",
    "radius": "radius",
}
PERCENT = {"coverage", "share", "copies, features", "copies, coarse", "copies, pixels", "known", "broken"}


class Results:
    """Figures by kind, number of pictures, way and seed.

    Args:
        files: lines as fewshot_generation.py writes them.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self.lines: dict[tuple[str, int, str], dict[int, Figures]] = defaultdict(dict)
        self.use: dict[str, str] = {}
        for file in files:
            for text in file.read_text().splitlines():
                line = json.loads(text)
                key = line.pop("kind"), line.pop("m"), line.pop("way")
                self.use[key[0]] = line.pop("use")
                self.lines[key][line.pop("seed")] = {k: v for k, v in line.items() if v is not None}
        for kind, m in {key[:2] for key in self.lines}:
            for best, prefix in ((MODEL, "the model, T"), (PAPER, "paper, ")):
                found = [key for key in self.lines if key[:2] == (kind, m) and key[2].startswith(prefix)]
                if found:
                    self.lines[kind, m, best] = self.lines[min(found, key=self._far)]
            for key in [key for key in self.lines if key[:2] == (kind, m)]:
                for seed, figures in self.lines[key].items():
                    paper = self.lines.get((kind, m, PAPER), {}).get(seed, {}).get("distance")
                    floor = self.lines.get((kind, m, REAL), {}).get(seed, {}).get("distance")
                    if paper and "distance" in figures:
                        figures["of paper"] = figures["distance"] / paper
                        if floor:
                            figures["0-100"] = 100 * (figures["distance"] - floor) / (paper - floor)

    def _far(self, key: tuple[str, int, str]) -> float:
        return statistics.mean(f.get("distance", f["kernel"]) for f in self.lines[key].values())

    def kinds(self, uses: Sequence[str]) -> list[str]:
        return [kind for kind, use in self.use.items() if use in uses]

    def ways(self) -> list[str]:
        return list(dict.fromkeys(key[2] for key in self.lines))

    def values(self, kinds: Sequence[str], m: int, way: str, column: str) -> list[float]:
        """The mean over kinds, of each seed that all of them have."""
        per_kind = [
            {seed: f[column] for seed, f in self.lines[kind, m, way].items() if column in f}
            for kind in kinds
            if (kind, m, way) in self.lines
        ]
        per_kind = [found for found in per_kind if found]
        seeds = set.intersection(*map(set, per_kind)) if per_kind else set()
        return [statistics.mean(found[seed] for found in per_kind) for seed in sorted(seeds)]

    def mean(self, kinds: Sequence[str], m: int, way: str, column: str) -> float | None:
        found = self.values(kinds, m, way, column)
        return statistics.mean(found) if found else None

    def cell(self, kinds: Sequence[str], m: int, way: str, column: str) -> str:
        found = self.values(kinds, m, way, column)
        if not found:
            return ""
        factor = 100 if column in PERCENT else 1
        digits = 0 if column in ("0-100", "share", "coverage") else 1 if factor == 100 or column == "distance" else 2
        digits = 1 if column.startswith("kernel") else digits
        spread = f"±{factor * statistics.stdev(found):.{digits}f}" if len(found) > 1 else ""
        return f"{factor * statistics.mean(found):.{digits}f}{spread}"


def is_ours(way: str) -> bool:
    return way.startswith(("parents", "covariance", "mixture", "variations"))


def choose(results: Results, m: int) -> list[tuple[str, float, float, float, float, bool]]:
    """Return our ways with distance, nearest, near-copies, broken samples, and whether they keep the bounds."""
    kinds = results.kinds(["choosing"])
    rows = []
    for way in filter(is_ours, results.ways()):
        of_paper = results.mean(kinds, m, way, "of paper")
        near = results.mean([k for k in kinds if k != "lorelei"], m, way, "nearest, features")
        copies = results.mean(kinds, m, way, "copies, features")
        broke = results.mean(kinds, m, way, "broken")
        if of_paper is None or near is None or copies is None or broke is None:
            continue
        keeps = near >= 0.945 and copies <= 0.01 and broke < 0.01
        rows.append((way, of_paper, near, copies, broke, keeps))
    return sorted(rows, key=lambda row: (not row[-1], row[1]))


def page(results: Results, kinds: Sequence[str], m: int, columns: Sequence[str]) -> str:
    rows = []
    for way in results.ways():
        cells = [results.cell(kinds, m, way, column) for column in columns]
        if any(cells):
            rows.append([way, *cells])
    return table(["way", *(COLUMNS[c] for c in columns)], rows)


CURVES = {
    "equal parents (2, 3, 4, 6)": ("parents, 2, equal", "parents, 3, equal", "parents, 4, equal", "parents, 6, equal"),
    "random weights, spread 0.4": tuple(f"parents, {n}, spread 0.4" for n in (2, 3, 4, 6)),
    "random weights, spread 1": tuple(f"parents, {n}, spread 1" for n in (2, 3, 4, 6)),
    "mixture (h = 0.3 .. 0.85)": tuple(f"mixture, h = {h}" for h in (0.3, 0.5, 0.7, 0.85)),
    "learned covariance": ("covariance, 1", "covariance, 0.9", "covariance, 0.5"),
    "unit norm (2, 3, 5; Bodin et al.)": tuple(f"unit norm of {k} (Bodin)" for k in (2, 3, 5)),
    "spherical pairs (Zhu et al.)": ("spherical pairs (Zhu)",),
    "SMOTE": ("SMOTE",),
    "one variance (Zhu et al.)": ("one variance (Zhu)",),
    "each variance (Everaert et al.)": ("variance of each number (Everaert)",),
    "the paper": ("paper, typical", "paper, 0.5m", "paper, 1m"),
    "the model": (MODEL,),
    "the evidence": ("the evidence itself",),
}


def frontier(results: Results, kinds: Sequence[str], m: int, path: Path) -> None:
    """Draw distance against nearness to the evidence, one curve a method."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(16, 4.6), sharey=True)
    colours = pyplot.get_cmap("tab20")
    spaces = {"features": "network features", "coarse": "coarsest latents", "pixels": "pixels"}
    for axis, (space, words) in zip(axes, spaces.items(), strict=True):
        for i, (name, ways) in enumerate(CURVES.items()):
            points = [
                (results.mean(kinds, m, w, f"nearest, {space}"), results.mean(kinds, m, w, "of paper")) for w in ways
            ]
            kept = [(x, y) for x, y in points if x is not None and y is not None]
            if kept:
                style = "-" if len(kept) > 1 else ""
                axis.plot(*zip(*kept, strict=True), style, marker="os^Dv*PXhp<>d"[i], label=name, color=colours(i))
        axis.axvline(1, color="#999", lw=0.8, ls=":")
        axis.set_xlabel(f"nearest evidence, in {words}\n(1: as far as other pictures of the kind)")
    axes[0].set_ylabel("Fréchet distance, as a share of the paper's best")
    axes[2].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    figure.tight_layout()
    figure.savefig(path, dpi=75)


def targets(results: Results, kinds: Sequence[str], m: int) -> str:
    """Return what was aimed at, and what the frozen setting reaches."""

    def mean(way: str, column: str, among: Sequence[str] = kinds) -> float:
        return results.mean(among, m, way, column) or 0.0

    def gained(kind: str) -> float:
        low, high = (mean(way, "share", [kind]) for way in (MODEL, "the evidence itself"))
        return (mean(FROZEN, "share", [kind]) - low) / max(high - low, 1e-3)

    measured = [k for k in kinds if results.values([k], m, FROZEN, "distance")]
    ratio = mean(FROZEN, "distance", measured) / mean(PAPER, "distance", measured)
    worse = [k for k in measured if mean(FROZEN, "distance", [k]) >= mean(MODEL, "distance", [k])]
    far = [k for k in kinds if mean(FROZEN, "nearest, features", [k]) < 0.945]
    copied = [k for k in kinds if mean(FROZEN, "copies, features", [k]) > 0.01]
    bound = [
        w
        for w in results.ways()
        if mean(w, "nearest, features") >= 0.945 and mean(w, "copies, features") <= 0.01 and mean(w, "broken") < 0.01
    ]
    better = [w for w in bound if mean(w, "coverage") > mean(FROZEN, "coverage") and w != REAL]
    copying = [w for w in results.ways() if mean(w, "coverage") > mean(FROZEN, "coverage") and w not in bound]
    shares = [gained(k) for k in kinds if mean("the evidence itself", "share", [k]) > mean(MODEL, "share", [k]) + 0.1]
    near_copies = 100 * mean(FROZEN, "copies, features")
    trained = [w for w in results.ways() if w.startswith("fine-tuned") and results.values(kinds, m, w, "kernel")]
    lines = [
        f"distance of the paper's best, at most 0.6: {ratio:.2f} (mean of ratios {mean(FROZEN, 'of paper'):.2f})",
        f"below the model as it is on every kind: not on {', '.join(worse) or 'none'}",
        f"nearest evidence at least 0.95: {mean(FROZEN, 'nearest, features'):.2f}; less on {', '.join(far) or 'none'}",
        f"near-copies at most 1 % more: {near_copies:.1f}; more on {', '.join(copied) or 'none'}",
        f"share at least half of the way to the evidence: {statistics.mean(shares):.2f} of it",
        f"coverage {100 * mean(FROZEN, 'coverage'):.0f} %; more, within the same bounds: {', '.join(better) or 'none'}",
        f"    and beyond them: {', '.join(copying) or 'none'}",
        f"broken under 1 %: {100 * mean(FROZEN, 'broken'):.1f}",
    ]
    for way in trained:
        same = [k for k in kinds if results.values([k], m, way, "kernel")]
        ours, theirs = (mean(w, "kernel", same) for w in (FROZEN, way))
        lines.append(f"{way}: kernel distance {theirs:.0f}, ours {ours:.0f}, over {', '.join(same)}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--uses", default="judging,seen", help="of choosing, seen and judging")
    parser.add_argument("--kinds", default="", help="only these, by commas")
    parser.add_argument("--columns", default=",".join(c.replace(", ", "/") for c in COLUMNS), help="names, by commas")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("-o", "--output")
    options = parser.parse_args()
    results = Results(options.files)
    columns = [c.replace("/", ", ") for c in options.columns.split(",")]
    kinds = options.kinds.split(",") if options.kinds else results.kinds(options.uses.split(","))
    content: dict[str, Any] = setting(0) | {"kinds": kinds, "tables": {}}
    for m in sorted({key[1] for key in results.lines}, reverse=True):
        print(f"\n{m} pictures are the evidence: {', '.join(kinds)}\n\n{page(results, kinds, m, columns)}")
        content["tables"][str(m)] = {
            way: {c: v for c in COLUMNS if (v := results.values(kinds, m, way, c))} for way in results.ways()
        }
        if chosen := choose(results, m):
            heads = ["way", "of paper", "nearest", "copies %", "broken %", "keeps the bounds"]
            rows = [
                [way, share, near, 100 * copies, 100 * broke, "yes" if keeps else "no"]
                for way, share, near, copies, broke, keeps in chosen
            ]
            print(f"\nby hats, eyeglasses and lorelei\n\n{table(heads, rows)}")
        print(f"\nthe frozen setting ({FROZEN}), {m} pictures\n\n{targets(results, kinds, m)}")
    if options.picture:
        frontier(results, kinds, 24, options.picture)
    if options.output:
        write_json(options.output, content)


if __name__ == "__main__":
    main()
