"""Encode, decode and log-density beside other libraries' Glows of the same weights, in one run, by turns.

    pip install --no-deps normflows nflows
    python benchmarks/speed.py -o speed.json
    python benchmarks/speed.py --sizes 64 --batches 1,16 --steps 32 --levels 4 --width 512 --picture speed.png

Rows: our form for use in float32 and with networks in bfloat16; our training form; a Glow of the parts of
normflows and of nflows with our weights (the largest difference of its results from ours is printed), as
they come, or with our layout of memory (--peers-channels-last). The
ceiling is the time that the coupling networks' multiplications and additions would take at the best rate of
a matrix product, measured here at several shapes, between the other timings.
"""

from __future__ import annotations

import argparse
import copy
import gc
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import peers
from common import setting, table, write_json
from transflow import Glow, GlowConfig
from transflow.generative.glow_fused import fuse
from transflow.pictures.grids import encode_image
from transflow.store.files import write_bytes

Call = Callable[[], Any]
FORMS = ("transflow, bfloat16", "transflow, float32", "training form", "normflows", "nflows")
PRODUCTS = [(1024, 512, 512), (512, 1024, 1024), (1024, 128, 128), (4096, 256, 256)]


def log_normal(z: Tensor) -> Tensor:
    return torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)


def flat(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.flatten(1) for part in reversed(parts)], 1)


def calls(form: str, flow: Glow, layout: torch.memory_format) -> tuple[Callable, Callable, Callable]:
    """Functions that encode, decode and give log-densities; peers have their weights in this layout."""
    if form == "normflows":
        theirs = copy.deepcopy(peers.of_normflows(flow)).to(memory_format=layout)

        def decode(z: Tensor) -> Tensor:
            parts = [p.unflatten(1, s) for p, s in zip(z.split(flow.level_sizes, 1), flow.shapes, strict=True)]
            return theirs.forward_and_log_det(parts[::-1])[0]

        return lambda x: flat(theirs.inverse_and_log_det(x)[0]), decode, lambda x: theirs.log_prob(x, None)
    made: Any = {
        "transflow, bfloat16": lambda: fuse(flow, torch.bfloat16),
        "transflow, float32": lambda: fuse(flow),
        "training form": lambda: flow,
        "nflows": lambda: copy.deepcopy(peers.OfNflows(flow)).to(memory_format=layout),
    }[form]()

    def log_prob(x: Tensor) -> Tensor:
        z, log_det = made(x)
        return log_normal(z) + log_det

    return lambda x: made(x)[0], made.inverse, log_prob


def by_turns(functions: dict[str, Call], repeats: int, wait: Call) -> dict[str, float]:
    """Median seconds of each, called one after the other, again and again; the first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for i in range(repeats + 1):
        for name, function in functions.items():
            begin = time.perf_counter()
            function()
            wait()
            if i:
                times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(ts) for name, ts in times.items()}


def products(dtype: torch.dtype, device: str) -> dict[str, tuple[Call, float]]:
    found = {}
    for rows, inner, columns in PRODUCTS:
        a = torch.randn(rows, inner, device=device).to(dtype)
        b = torch.randn(inner, columns, device=device).to(dtype)
        found[f"{dtype} {rows}x{inner}x{columns}"] = (lambda a=a, b=b: a @ b), 2.0 * rows * inner * columns
    return found


def peak(form: str, config: GlowConfig, a: argparse.Namespace, batch: int) -> float:
    """MiB that an encode and a decode add to a process of its own, at their most."""
    words = [sys.executable, __file__, "--peak", form, "--sizes", str(config.size), "--batches", str(batch)]
    words += ["--steps", a.steps, "--levels", str(a.levels), "--width", a.width, "--device", a.device]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def print_peak(form: str, flow: Glow, batch: int) -> None:
    encode, decode, _ = calls(form, flow, torch.contiguous_format)
    x = torch.rand(batch, *flow.shape) - 0.5
    decode(encode(x[:1]))
    gc.collect()
    before = psutil.Process().memory_info().rss
    highest = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if not all(path.exists() for path in highest):
        print("nan")
        return
    highest[0].write_text("5")  # Linux forgets the highest so far, which imports may have set
    decode(encode(x))
    found = re.search(r"VmHWM:\s+(\d+) kB", highest[1].read_text())
    print(int(found.group(1)) / 1024 - before / 2**20 if found else "nan")


def draw(rows: list[dict[str, Any]], kind: str) -> Image.Image:
    """Bars: pictures a second, as multiples of the fastest peer's."""
    font, small = ImageFont.load_default(size=16), ImageFont.load_default(size=13)
    groups = [r for r in rows if r["kind"] in ("encode", "decode")]
    image = Image.new("RGB", (860, 46 + 132 * len(groups)), "white")
    pen = ImageDraw.Draw(image)
    pen.text((12, 10), f"Pictures a second, same weights, {kind}; the fastest peer is 1", "black", font)
    most = max(r["peer"] / r["seconds"][f] for r in groups for f in FORMS)
    for i, row in enumerate(groups):
        top = 44 + 132 * i
        pen.text((12, top), f"{row['kind']}, {row['size']} x {row['size']}, batch {row['batch']}", "black", small)
        for j, form in enumerate(FORMS):
            times = row["peer"] / row["seconds"][form]
            y = top + 20 + 20 * j
            colour = "#2b6cb0" if form.startswith("transflow") else "#a0aec0"
            pen.text((150, y + 8), form, "black", small, anchor="rm")
            pen.rectangle((158, y, 158 + 600 * times / most, y + 15), fill=colour)
            pen.text((164 + 600 * times / most, y + 8), f"{times:.2f}", "black", small, anchor="lm")
    return image


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="32,64")
    parser.add_argument("--batches", default="1,16,64")
    parser.add_argument("--steps", default="8", help="K; one, or one a level by commas")
    parser.add_argument("--levels", type=int, default=3, help="L")
    parser.add_argument("--width", default="128", help="of the networks; one, or one a level by commas")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of torch (default: as it is)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-memory", dest="memory", action="store_false")
    parser.add_argument("--peers-channels-last", action="store_true", help="lend the peers our layout of memory")
    parser.add_argument("--picture", help="draw bars into this PNG")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", default="speed.json")
    a = parser.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    cuda = a.device.startswith("cuda")
    wait = torch.cuda.synchronize if cuda else lambda: None
    layout = torch.channels_last if a.peers_channels_last else torch.contiguous_format
    steps, widths = (
        found * a.levels if len(found := tuple(map(int, said.split(",")))) == 1 else found
        for said in (a.steps, a.width)
    )
    rows: list[dict[str, Any]] = []
    for size in map(int, a.sizes.split(",")):
        config = GlowConfig(size=size, steps=steps, width=widths)
        flow = peers.comparable(config, a.seed).to(a.device)
        if a.peak:
            print_peak(a.peak, flow, int(a.batches))
            return
        forms = {form: calls(form, flow, layout) for form in FORMS}
        flops = peers.network_flops(flow)
        for batch in map(int, a.batches.split(",")):
            x = torch.rand(batch, *flow.shape, generator=torch.Generator().manual_seed(a.seed)).to(a.device) - 0.5
            ours = x.contiguous(memory_format=torch.channels_last)
            z = forms["training form"][0](ours)
            gaps = {f: ((c[0](x) - z).abs().max().item(), (c[1](z) - x).abs().max().item()) for f, c in forms.items()}
            print(f"{size} x {size}, batch {batch}, K = {a.steps}, L = {a.levels}, width {a.width}, {a.device}:")
            print(
                table(("difference from the training form", "latents", "pictures"), [(f, *g) for f, g in gaps.items()])
            )
            memory = {}
            if cuda:
                for form, call in forms.items():
                    torch.cuda.reset_peak_memory_stats()
                    before = torch.cuda.memory_allocated()
                    call[1](call[0](x))
                    memory[form] = (torch.cuda.max_memory_allocated() - before) / 2**20
            elif a.memory:
                memory = {form: peak(form, config, a, batch) for form in FORMS}
            shown = []
            for i, kind in enumerate(("encode", "decode", "log_prob")):
                given = {f: z if kind == "decode" else x if f.endswith("flows") else ours for f in forms}
                work = {d: products(d, a.device) for d in (torch.float32, torch.bfloat16)}
                turns: dict[str, Call] = {f: (lambda c=c[i], v=given[f]: c(v)) for f, c in forms.items()}
                for found in work.values():  # three of each, since one is short
                    turns |= {name: (lambda f=f: [f() for _ in range(3)]) for name, (f, _) in found.items()}
                seconds = by_turns(turns, a.repeats, wait)
                rate = {d: max(3 * n / seconds[name] for name, (_, n) in found.items()) for d, found in work.items()}
                ceiling = {d: flops * batch / r for d, r in rate.items()}
                peer = min(seconds["normflows"], seconds["nflows"])
                for form in FORMS:
                    best = ceiling[torch.bfloat16 if form.endswith("bfloat16") else torch.float32]
                    t = seconds[form]
                    cells = (f"{kind}, {form}", 1e3 * t, batch / t, peer / t, f"{best / t:.0%}")
                    shown.append((*cells, f"{memory[form]:.0f}" if memory else "-"))
                rows.append(
                    {"size": size, "batch": batch, "kind": kind, "peer": peer, "memory_mib": memory, "gaps": gaps}
                    | {"seconds": {f: seconds[f] for f in FORMS}, "network_flops": flops * batch}
                    | {"gflops": {str(d): r / 1e9 for d, r in rate.items()}}
                )
            print(table(("", "ms", "pictures/s", "of the fastest peer", "of the ceiling", "peak MiB"), shown))
            print(
                "matrix product, best shape: "
                + ", ".join(f"{d} {r:.0f} GFLOP/s" for d, r in rows[-1]["gflops"].items())
            )
            print(f"processes competing (load average): {psutil.getloadavg()[0]:.1f}\n", flush=True)
    write_json(a.output, setting(a.seed) | {"settings": vars(a), "rows": rows})
    if a.picture:
        write_bytes(a.picture, encode_image(draw(rows, f"K = {a.steps}, L = {a.levels}, width {a.width}"), ".png"))


if __name__ == "__main__":
    main()
