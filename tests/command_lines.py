"""Random command lines over all commands and options, and what becomes of each; `benchmarks/fuzz.py` runs them.

A line is a function of its number alone. Most values are good, some are of the right kind and bad, some of none; all
inputs are tiny, and every line is run in this process, in a folder of its own.
"""

import argparse
import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import traceback
from pathlib import Path

from transflow.cli import main
from transflow.cli.parser import build_parser

SECONDS = 60  # until a line counts as hung
ODD = [
    "", "x", "-1", "0", "nan", "inf", "1e999", "-inf", "1e-320", "1e38", "99999999999999999999", "0.5m", "1.5", "a,b",
    "1,", ",", "\n", "\x1b[31m", "犬", "--", "~", "../x", "None", "true", "1e-40", "-0.0", "faces-31",
]  # fmt: skip
COUNTS = ["1", "2", "3", "7"]
PATHS = {
    "picture", "pictures", "support", "query", "posterior", "a", "b", "towards", "start", "more", "to", "plus", "less",
    "keep", "minus", "mask", "evidence", "reference", "groups", "begin_from", "base", "levels",
}  # fmt: skip
GOOD = {
    "n": COUNTS, "vary": ["1", "2", "12"], "seed": ["0", "5"], "temperature": ["0", "0.7", "1"],
    "novelty": ["0", "0.5", "1"],
    "device": ["cpu"],
    "learn": ["parents", "parents:3", "covariance", "mixture", "mean", "covariance:0.5"], "strength": ["1", "0,0.5,1"],
    "path": ["spherical", "straight,pixels"], "steps": ["2", "3"], "refine": ["1"], "enlarge": ["2"],
    "reject": ["0.01", "0.5"],
    "epochs": ["1", "0.5"], "minutes": ["0.001"], "size": ["8"], "bits": ["5", "8"], "width": ["4,4"], "batch": ["4"],
    "attention": ["no,yes"], "depth": ["1"], "dropout": ["0", "0.1"], "power": ["1", "2"], "seen": ["4"],
    "coarser": ["4,4"],
    "crop": ["8"], "whole": ["1", "0.5"], "learning_rate": ["0.001", "1e4"], "warmup": ["2"], "ema": ["0.9"],
    "weight_decay": ["0", "0.1"], "interval": ["0.001"], "held_out": ["0.1", "0.3"], "outliers": ["0.01"],
    "stop_after": ["0.001"], "data_note": ["words"], "licence": ["", "none"],
}  # fmt: skip
OUTPUTS = {"demo": ["out/"], "encode": ["lat/"], "condition": ["p.safetensors"], "train": ["m.safetensors"],
           "stack": ["m.safetensors"], "classify": ["t.csv"]}  # fmt: skip
SHEETS = ["a.png", "a.gif", "a.jpg", "a.webp", "each/", "theirs.png", "a.xyz", "nowhere/a.png", "/dev/null", "theirs"]
NOISES = {
    "complete": ["0.02", "1"], "sweep": ["0.5m,1m", "12"],
    "classify": ["auto", "0.5m", "pooled", "levels", "shared", "student"],
}  # fmt: skip
FOLLOWERS = {  # of edit: what goes with what
    "towards": {"start", "learn", "noise", "strength"}, "more": {"less", "keep", "plain", "strength"},
    "to": {"steps", "path"}, "plus": {"minus"},
}  # fmt: skip
ALL_FOLLOWERS = set().union(*FOLLOWERS.values())
NEEDED = {"more": ("less",), "plus": ("minus",)}
FINE = {"done", "refused"}


class Hung(BaseException):
    """A line took too long."""


class Commands:
    """Command lines in a folder of tiny inputs.

    Args:
        folder: a new one.
        inputs: words for paths, and where they lead; `model` and `posterior` are among them.
    """

    def __init__(self, folder, inputs):
        self.inputs, self.work = {name: str(path) for name, path in inputs.items()}, folder / "work"
        self.kept = folder / "inputs"
        self.before = self.contents()
        self.parsers = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)).choices

    def contents(self):
        """The bytes of all inputs by their paths; None for a folder."""
        return {path: path.read_bytes() if path.is_file() else None for path in sorted(self.kept.rglob("*"))}

    def changed(self, words):
        """Inputs that were changed and should not have been; all are put back."""
        now = self.contents()
        paths = [path for path in {**self.before, **now} if now.get(path) != self.before.get(path)]
        for path in paths:
            if path in self.before and self.before[path] is not None:
                path.write_bytes(self.before[path])
            elif path not in self.before:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if "--overwrite" in words:
            return []
        anew = words[0] == "condition"  # which writes the posterior of --add anew, or over one of ours
        return [path.name for path in paths if not (anew and path.stem in ("posterior", "parents"))]

    def line(self, number):
        """The words of a line."""
        rng = random.Random(number)
        name = rng.choice(list(self.parsers))
        bad = rng.choice([0, 0.05, 0.2])
        words, last = [name], []
        groups = [group._group_actions for group in self.parsers[name]._mutually_exclusive_groups]
        chosen = [rng.choice(group) for group in groups]
        tidy = rng.random() < 0.85  # what goes with one another alone
        leader = next((a.dest for a in chosen if a.dest in FOLLOWERS), "") if name == "edit" else ""
        for action in self.parsers[name]._actions:
            if isinstance(action, argparse._HelpAction) or (name == "train" and action.dest in ("stop_after", "steps")):
                continue
            grouped = any(action in group for group in groups)
            if tidy and grouped and action not in chosen:
                continue
            if tidy and leader and action.dest in ALL_FOLLOWERS - FOLLOWERS[leader]:
                continue
            always = {"model", "output", *NEEDED.get(leader, ()), *(("size", "width") if name == "train" else ())}
            needed = action.required or action.dest in always or (leader and action in chosen)
            if not needed and rng.random() > (0.25 if name != "train" else 0.15):
                continue
            count = rng.choice([1, 1, 2]) if action.nargs in ("+", "*") else 1
            values = [] if action.nargs == 0 else [self.value(name, action, rng, bad) for _ in range(count)]
            if action.option_strings:
                option = rng.choice(action.option_strings)
                words += [f"{option}={values[0]}"] if values and option.startswith("--") else [option, *values]
            else:
                last += values
        if name == "train":
            words += ["--stop-after=0.002", "--no-compile", f"--steps={rng.choice(['1,1', '1', '2,1'])}"]
        if rng.random() < 0.02:
            words.append(rng.choice(["--nothing", "-q", "more", "--help"]))
        return [words[0], *last, *words[1:]] if rng.random() < 0.9 else [*words, *last]

    def value(self, command, action, rng, bad):
        """A value of an option: a good one, or a bad one."""
        dest = action.dest
        if rng.random() < bad:
            return rng.choice([*ODD, *self.inputs.values()])
        if action.choices:
            return rng.choice(list(action.choices))
        if dest == "output":
            return rng.choice(OUTPUTS.get(command, SHEETS) if rng.random() < 0.95 else SHEETS)
        if dest == "confusion":
            return rng.choice(SHEETS)
        if dest == "model":
            return self.inputs["model"]
        if dest in ("posterior", "a", "b", "evidence", "add", "remove"):
            return self.inputs[rng.choice(["posterior", "parents", "parents", "parents", "model"])]
        if dest in ("support", "query"):
            return self.inputs[rng.choice(["classes", "classes", "pictures"])]
        if dest in PATHS or dest not in GOOD:
            good = [dest if dest in self.inputs else "pictures", "pictures", "tar"]
            return self.inputs[rng.choice(good if rng.random() < 0.9 else list(self.inputs))]
        if dest == "noise":
            return rng.choice(NOISES.get(command, ["0.5m", "12", "typical", "evidence", "typical:0.7"]))
        if dest == "novelty" and command == "sweep":
            return rng.choice(["0,1", "0.5"])
        return rng.choice(GOOD[dest])

    def trial(self, number):
        """What becomes of a line: "done", "refused", or what must not be, with the reason."""
        shutil.rmtree(self.work, ignore_errors=True)
        (self.work / "theirs").mkdir(parents=True)
        theirs = [self.work / "theirs.png", self.work / "theirs" / "0000.png"]
        for path in theirs:
            shutil.copy(self.inputs["picture"], path)
        content, words = theirs[0].read_bytes(), self.line(number)
        out, err, here = io.StringIO(), io.StringIO(), Path.cwd()
        os.chdir(self.work)
        signal.signal(signal.SIGALRM, _hung)
        signal.alarm(SECONDS)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main(words)
        except SystemExit as ended:
            status = ended.code
        except Hung:
            return "hang", f"{words}"
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            return (
                "traceback",
                f"{type(error).__name__}: {str(error)[:150]} ({Path(where.filename).name}:{where.lineno})",
            )
        finally:
            signal.alarm(0)
            os.chdir(here)
        return self.judged(words, status, out.getvalue(), err.getvalue(), [p.read_bytes() == content for p in theirs])

    def judged(self, words, status, out, err, kept):
        """What a line came to, by its status, what it printed and what it wrote."""
        if changed := self.changed(words):
            return "changed an input", f"{changed}"
        if not all(kept) and "--overwrite" not in words:
            return "changed a file of others", ""
        if "Traceback" in err or "Error:" in err:
            return "traceback", err.splitlines()[-1][:200]
        if bad := self.not_finite(words, out):
            return "not finite", bad
        if status == 2:
            lines = [
                line
                for line in err.splitlines()
                if not line.startswith(("transflow: note", "transflow: skipped", "transflow: left out"))
            ]
            lines = [line for line in lines if line.strip() and "it/s" not in line and "%|" not in line]
            if len(lines) != 1 or not lines[0].startswith("transflow: error: ") or len(lines[0]) > 1500:
                return "not one line", repr(err[-400:])
            return "refused", ""
        return ("done", "") if status in (0, 130) else ("status", f"{status}")

    def not_finite(self, words, out):
        """Where NaN or infinity was printed or written for scripts."""
        if "--json" in words and out.startswith(("{", "[")) and _odd(json.loads(out, parse_constant=str)):
            return "JSON"
        for path in self.work.glob("*.csv"):
            if re.search(r",(-?nan|-?inf)\b", path.read_text(errors="replace"), re.IGNORECASE):
                return path.name
        for path in self.work.glob("*.jsonl"):
            if re.search("NaN|Infinity", path.read_text()):
                return path.name
        return ""


def _hung(*_):
    raise Hung


def _odd(value):
    if isinstance(value, dict):
        return any(map(_odd, value.values()))
    return any(map(_odd, value)) if isinstance(value, list) else value in ("NaN", "Infinity", "-Infinity")
