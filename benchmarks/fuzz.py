"""Damaged files of every kind, tried one by one: how many were refused in one line, and what else became of them.

    python benchmarks/fuzz.py --trials 10000 --commands 2000 --kills 50

Then random command lines over all commands and options, run in this process: how many were done, refused in one line,
or what else became of them. With --kills, training and encoding are killed at random, each run going on from the one
before; what is lost at most is what came after the last checkpoint, or shard, and the end is that of a run undisturbed.

"changed" counts files without a checksum, as other versions wrote them, whose numbers differ but are of the right kind;
"changed, checked" those with one, of which there must be none.
"""

import argparse
import random
import shutil
import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from PIL import Image

from command_lines import FINE, Commands
from kills import Work, killed_at_random
from mutations import Kinds
from transflow import Glow, GlowConfig
from transflow.generative.model_file import save_model
from transflow.generative.picture_model import PictureModel


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation")
    parser.add_argument("--commands", type=int, default=0, help="number of command lines")
    parser.add_argument("--kills", type=int, default=0, help="kills of a training run, and of an encoding, each")
    a = parser.parse_args()
    torch.set_num_threads(1)
    if a.trials:
        files(a.trials, a.first)
    if a.commands:
        commands(a.commands, a.first)
    if a.kills:
        killed(a.kills, a.first)


def files(trials, first):
    with tempfile.TemporaryDirectory() as name:
        kinds = prepared(Path(name))
        counts, reasons = Counter(), Counter()
        for number in range(first, first + trials):
            kind = list(kinds.good)[number % len(kinds.good)]
            outcome, why = kinds.trial(kind, number)
            counts[kind, outcome] += 1
            if why:
                reasons[f"{kind} {outcome} {why} (such as {number})" if (kind, why) not in reasons else why] += 1
    table(list(kinds.good), counts, reasons)


def commands(lines, first):
    with tempfile.TemporaryDirectory() as name:
        lot = Commands(Path(name), inputs(Path(name) / "inputs"))
        counts, reasons = Counter(), Counter()
        for number in range(first, first + lines):
            outcome, why = lot.trial(number)
            command = lot.line(number)[0]
            counts[command, outcome] += 1
            counts["all", outcome] += 1
            if number % 100 == 99:
                print(f"{number + 1 - first} of {lines}", file=sys.stderr, flush=True)
            if outcome not in FINE:
                reasons[f"{command} {outcome} {why}"] += 1
                print(f"{number}: {outcome} {why}  {lot.line(number)}", file=sys.stderr, flush=True)
    table([*lot.parsers, "all"], counts, reasons)


def killed(times, seed):
    with tempfile.TemporaryDirectory() as name:
        prepared(Path(name))
        (Path(name) / "tiny.safetensors").rename(Path(name) / "m.safetensors")
        work, rng = Work(Path(name)), random.Random(seed)
        work.epochs = 20
        for operation, longest in (("train", 4.0), ("encode", 0.5)):
            finished, advanced = killed_at_random(work, operation, times, rng, longest)
            print(
                f"{operation:<8}{times} kills, {advanced} after more was done, {finished} runs finished; nothing lost"
            )


def table(names, counts, reasons):
    outcomes = sorted({outcome for _, outcome in counts})
    print(f"{'':<12}{'tried':>14}" + "".join(f"{outcome:>14}" for outcome in outcomes))
    for name in names:
        found = [counts[name, outcome] for outcome in outcomes]
        print(f"{name:<12}{sum(found):>14}" + "".join(f"{count:>14}" for count in found))
    for why, count in reasons.most_common():
        print(f"{count:>6}  {why}")


def inputs(folder):
    """Tiny inputs of every kind that a command reads, by the words of its arguments."""
    folder.mkdir()
    kinds = prepared(folder)
    found = {
        "model": folder / "tiny.safetensors",
        "pictures": folder / "pictures",
        "picture": folder / "pictures" / "0.png",
    }
    kinds.model.condition(kinds.pixels).save(folder / "parents.safetensors")
    found |= {"parents": folder / "parents.safetensors"} | {
        n: kinds.good[n] for n in ("posterior", "classifier", "foreign")
    }
    found |= {"latents": folder / "latents", "mask": folder / "mask.png", "groups": folder / "groups.csv"}
    Image.new("L", (8, 8), 255).crop((0, 0, 8, 4)).resize((8, 8)).save(found["mask"])
    found["groups"].write_text("".join(f"{i}.png,{i // 3}\n" for i in range(12)))
    found["classes"], found["classes_pictures"] = folder / "classes", folder / "classes" / "a"
    for i in range(12):
        (found["classes"] / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "pictures" / f"{i}.png", found["classes"] / "ab"[i % 2])
    found["empty"], found["text"], found["damaged"] = folder / "empty", folder / "text.txt", folder / "damaged.png"
    found["empty"].mkdir()
    found["text"].write_text("no picture")
    found["damaged"].write_bytes(found["picture"].read_bytes()[:-40])
    with tarfile.open(folder / "set.tar", "w") as tar:
        tar.add(folder / "pictures", "set")
    return found | {"tar": folder / "set.tar"}


def prepared(folder):
    torch.manual_seed(0)
    flow = Glow(GlowConfig(size=8, steps=(1, 1), width=(4, 4)))
    pixels = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        flow.initialise(pixels.float() / 255 - 0.5)
    save_model(folder / "tiny.safetensors", PictureModel(flow, card={"name": "tiny"}))
    (folder / "pictures").mkdir()
    for i, picture in enumerate(pixels):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / "pictures" / f"{i}.png")
    return Kinds(folder, folder / "tiny.safetensors", pixels, folder / "pictures")


if __name__ == "__main__":
    main()
