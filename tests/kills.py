"""Work that is killed at every move of a file: a process of its own, which forks one for each kill.

    python tests/kills.py FOLDER        prints how many kills of each operation there were, or what was lost

An operation is done once undisturbed; then again and again, each time ended at another event: before or after a file
is moved to its place, or before it, or its folder, goes to the disk. What is left must be the old files or the new
ones, whole, and the next run must go on to what the undisturbed one made, and leave no hidden parts.
"""

import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from transflow import FewShotClassifier, load, load_posterior
from transflow.cli import main
from transflow.latents import folder as latents_folder
from transflow.latents.folder import Latents
from transflow.store.container import header
from transflow.store.locks import release_all
from transflow.training.loop import train
from transflow.training.state import TrainingState

ENDED = 77
OPERATIONS = ("train", "condition", "add", "encode", "sample", "classifier")
BATCH = 4  # pictures in a shard, too


class Work:
    """Operations in a folder with a model `m.safetensors` and `pictures`; each writes under `out`."""

    def __init__(self, folder):
        torch.set_num_threads(1)
        latents_folder.SHARD_BYTES = 1
        self.folder, self.out = folder, folder / "out"
        self.pictures, self.file = folder / "pictures", folder / "m.safetensors"
        self.model = load(self.file)
        self.epochs = 1
        self.pixels = self.model.preprocess(self.pictures)

    def config(self):
        from helpers import CONFIG

        return replace(CONFIG, epochs=self.epochs)

    # each operation: what is there before, what is done, and what must be there in the end, as a comparable value

    def train_before(self):
        pass

    def train(self):
        resume = (self.out / "t.training.safetensors").exists()
        train(self.pictures, self.out / "t.safetensors", None if resume else self.config(), resume=resume)

    def train_made(self):
        model, state = self.out / "t.safetensors", self.out / "t.training.safetensors"
        if state.exists():  # whatever was killed, both are whole
            TrainingState.resume(state, None, torch.device("cpu"))
        if not model.exists():
            return None
        found = load(model)
        return (found.fingerprint, "round_trip" in found.card)  # which the end of a run measures

    def progress(self, name):
        """What of it is done: steps of training, shards of latents."""
        state = self.out / "t.training.safetensors"
        if name == "train":
            return header(state)["step"] if state.exists() else 0
        return len(list((self.out / "lat").glob("0*.safetensors")))

    def condition_before(self):
        self.model.condition(self.pixels[:4], "0.5m").save(self.out / "p.safetensors")

    def condition(self):
        self.command("condition", self.pictures, "-m", self.file, "--noise", "0.5m", "-o", self.out / "p.safetensors")

    def condition_made(self):
        return load_posterior(self.out / "p.safetensors", self.model).evidence.total.tolist()

    add_before, add_made = condition_before, condition_made

    def add(self):
        p = self.out / "p.safetensors"
        if len(load_posterior(p, self.model).digests) == 4:  # what was added is not added again
            self.command("condition", self.folder / "more", "-m", self.file, "--add", p, "-o", p)

    def encode_before(self):
        pass

    def encode(self):
        self.model.latents(self.pictures, self.out / "lat", batch=BATCH)

    def encode_made(self):
        if not (self.out / "lat" / "index.safetensors").exists():
            return None
        try:
            return self.model.encode(Latents.open(self.out / "lat")).tolist()
        except ValueError as error:
            if "interrupted" not in str(error):  # as one that was begun says
                raise
            return None

    def sample_before(self):
        self.command("sample", self.file, "-n", 4, "--seed", 1, "-o", f"{self.out}/each/")

    def sample(self):
        self.command("sample", self.file, "-n", 2, "--seed", 2, "-o", f"{self.out}/each/")

    def sample_made(self):
        return {path.name: path.read_bytes() for path in sorted((self.out / "each").glob("*.png"))}

    def classifier_before(self):
        self.classifier(["c", "d"])

    def classifier(self, names=("a", "b")):
        made = FewShotClassifier(self.model, noise="0.5m").fit(self.pixels, list(names) * (len(self.pixels) // 2))
        made.save(self.out / "c.safetensors")

    def classifier_made(self):
        return FewShotClassifier.load(self.out / "c.safetensors", self.model).classes_.tolist()

    def command(self, *words):
        sys.stdout, sys.stderr = (open(os.devnull, "w") for _ in range(2))  # noqa: SIM115
        try:
            if status := main([str(word) for word in words]):
                raise SystemExit(status)
        finally:
            sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__

    def fresh(self, name):
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        getattr(self, f"{name}_before")()
        release_all()


def in_a_fork(function, *, end_at=None):
    """Run a function in a forked process, ended at its n-th event; return its status and, undisturbed, its events."""
    read, write = os.pipe()
    if not (child := os.fork()):
        status = 1
        try:
            events = ended_at(end_at)
            function()
            os.write(write, str(next(events)).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    _, status = os.waitpid(child, 0)
    found = os.read(read, 100)
    os.close(read)
    return os.waitstatus_to_exitcode(status), int(found or 0)


def ended_at(number):
    """Count moves and writes to the disk from now on, and end the process at one of them."""
    events = iter(range(1, 10**9))
    move, sync = os.replace, os.fsync

    def event():
        if next(events) == number:
            os._exit(ENDED)

    def moved(*paths):
        event()
        move(*paths)
        event()

    def synced(handle):
        event()
        sync(handle)

    os.replace, os.fsync = moved, synced
    return events


def at_moves(events):
    """Events that are a move, one of each file: before it and after it in turn, or both where there is one file."""
    writes = events // 4  # each: to the disk, before the move, after it, the folder to the disk
    return [2, 3] if writes == 1 else [4 * i + 2 + i % 2 for i in range(writes)]


def kills(work, name, chosen=at_moves):
    """End an operation at the chosen of its events; return how many, or raise `AssertionError` for what is lost."""
    done, made = getattr(work, name), getattr(work, f"{name}_made")
    work.fresh(name)
    old = made() if any(work.out.iterdir()) else None
    status, events = in_a_fork(done)
    assert status == 0, f"{name} fails undisturbed"
    new = made()
    assert new is not None
    assert new != old
    tried = chosen(events - 1)
    for number in tried:
        work.fresh(name)
        status, _ = in_a_fork(done, end_at=number)
        assert status == ENDED, f"{name} was not ended at {number}: {status}"
        left = made()
        if name == "sample":  # of the old run, or of the new
            whole = all(left[key] in ((old or {}).get(key), new.get(key)) for key in left)
        else:  # of training, the model of the last checkpoint
            whole = name == "train" or left in (old, new)
        assert whole, f"{name}, ended at {number}: neither old nor new"
        status, _ = in_a_fork(done)
        assert status == 0, f"{name}, ended at {number}: the next run fails"
        assert made() == new, f"{name}, ended at {number}: the next run makes something else"
        parts = [path.name for path in work.out.rglob("*.part")]
        assert not parts, f"{name}, ended at {number}: left {parts}"
    return len(tried)


def killed_at_random(work, name, times, rng, longest):
    """Kill an operation by a signal after random seconds, again and again, each run going on from the one before.

    Returns:
        How often it was finished meanwhile, and how often a kill cost nothing.
    """
    done, made = getattr(work, name), getattr(work, f"{name}_made")
    work.fresh(name)
    assert in_a_fork(done)[0] == 0
    new, finished, advanced, kept = made(), 0, 0, 0
    work.fresh(name)
    for _ in range(times):
        if not (child := os.fork()):
            try:
                done()
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        now, found = work.progress(name), made()
        assert now >= kept, f"{name}: {kept} were done, and {now} are"
        advanced, kept = advanced + (now > kept), now
        if found == new:
            finished, kept = finished + 1, 0
            work.fresh(name)
    assert in_a_fork(done)[0] == 0
    assert made() == new, f"{name}: the last run makes something else"
    return finished, advanced


def _main():
    work = Work(Path(sys.argv[1]))
    for name in sys.argv[2:] or OPERATIONS:
        print(f"{name}: {kills(work, name)} kills", flush=True)


if __name__ == "__main__":
    _main()
