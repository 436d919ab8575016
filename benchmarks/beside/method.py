"""What every method beside transflow is given, gives, and shares: one training loop, one meter.

    Task -> Method.run -> Result, or Diverged

A method's file is run from benchmarks/beside/ (`from method import ...`), each task in a process of its own, with
torch's global generator seeded by the task: what is random is drawn from it, and `trained` keeps its state with the
weights, so that a run that was stopped goes on as the run that was not.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

SAVED_EVERY = 60.0  # seconds
NOT_FINITE = 10  # losses in a row
HAS = frozenset({"likelihood", "classes", "interpolation", "removal"})


@dataclass(frozen=True)
class Task:
    """What a method is asked for: pictures like the evidence. All pictures are uint8 (n, 3, 32, 32).

    Attributes:
        kind: a name of benchmarks/kinds.py.
        evidence: 24 pictures.
        more: other training pictures of the kind, none of the judges' people.
        others: photographs not of the kind that may be trained on, none of the judges' people.
        sources: samples of faces-32 at temperature 0.7: what is to be changed.
        seed: of what is random.
        minutes: of training, at most.
        folder: where the method keeps what lets it go on when it was interrupted.
        groups: 0 or 1, of each of the others and each of the group names, (n, a), for methods that are trained on
            classes; the kind may be one of the groups, and none of the others has it.
        group_names: of benchmarks/kinds.py.
    """

    kind: str
    evidence: Tensor
    more: Tensor
    others: Tensor
    sources: Tensor
    seed: int
    minutes: float
    folder: Path
    groups: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.int64))
    group_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What came of it.

    Attributes:
        made: uint8 (n, 3, 32, 32).
        changes: whether made[i] is task.sources[i] changed.
        first: seconds before the first result, training included.
        each: seconds a result.
        evaluations: passes of one picture through a network before the first result; a backward pass counts two.
        gigabytes: peak memory beyond that of the imported libraries.
    """

    made: Tensor
    changes: bool
    first: float
    each: float
    evaluations: float
    gigabytes: float


class Diverged(RuntimeError):
    """Training broke up; run.py reports it with its seed, and does not drop it."""


@dataclass(frozen=True)
class Method:
    """A method, and what the table says of it.

    Attributes:
        name: with what it is given, "CycleGAN, 24 pictures".
        reference: "Zhu et al. 2017, arXiv 1703.10593".
        run: what does the work.
        tune: what is left to tune, in a few words.
        has: of likelihood, classes, interpolation, removal.
    """

    name: str
    reference: str
    run: Callable[[Task], Result]
    tune: str
    has: frozenset[str]

    def __post_init__(self) -> None:
        if not self.has <= HAS:
            raise ValueError(f"Expected some of {', '.join(sorted(HAS))}; got {', '.join(sorted(self.has))}.")


class Stateful(Protocol):
    """A module, an optimiser, a schedule of rates."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


@dataclass(frozen=True)
class Trained:
    """How long training took, interruptions not counted, and how many steps."""

    seconds: float
    steps: int


def trained(
    task: Task,
    name: str,
    step: Callable[[int], float | None],
    parts: Mapping[str, Stateful],
    minutes: float = math.inf,
    steps: float = math.inf,
) -> Trained:
    """Call step(0), step(1), ... until the task's minutes are over; go on where an interrupted run was.

    Args:
        task: its `minutes` and `folder` are used.
        name: of the file in the folder; two trainings of one task have different ones.
        step: takes a step, and returns its loss, which is asked whether it is finite; None is not asked.
        parts: what is trained and what trains it, by name: it is restored in place.
        minutes: fewer than the task's, if it is to be stopped earlier.
        steps: at most.

    Raises:
        Diverged: ten losses in a row were not finite.
    """
    path = task.folder / f"{name}.pt"
    seconds, i, bad = 0.0, 0, 0
    if path.exists():
        kept = torch.load(path, weights_only=True)
        seconds, i, bad = kept["seconds"], kept["steps"], kept["bad"]
        for part, content in kept["parts"].items():
            parts[part].load_state_dict(content)
        torch.set_rng_state(kept["random"])

    def save() -> None:
        content = {"seconds": seconds, "steps": i, "bad": bad, "random": torch.get_rng_state()}
        task.folder.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(".part")
        torch.save(content | {"parts": {part: value.state_dict() for part, value in parts.items()}}, half)
        half.replace(path)

    saved = seconds
    while seconds < 60 * min(task.minutes, minutes) and i < steps:
        begun = time.perf_counter()
        loss = step(i)
        i, seconds = i + 1, seconds + time.perf_counter() - begun
        bad = bad + 1 if loss is not None and not math.isfinite(loss) else 0
        if bad == NOT_FINITE:
            raise Diverged(f"{name}: {NOT_FINITE} losses in a row were not finite, up to step {i}")
        if seconds - saved >= SAVED_EVERY:
            save()
            saved = seconds
    save()
    return Trained(seconds, i)


def memory() -> float:
    """Peak memory of this process, in gigabytes."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would count the process that started this one
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 2**20
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**30 if sys.platform == "darwin" else 2**20)


@dataclass
class Meter:
    """Seconds, and memory beyond the peak that was there, since it was made: make it first of all in `Method.run`."""

    begun: float = field(default_factory=time.perf_counter)
    before: float = field(default_factory=memory)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.begun

    @property
    def gigabytes(self) -> float:
        return memory() - self.before


def timed(function: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """Return what a call gives, and its seconds: of 24 results, `each` is a 24th of them."""
    begun = time.perf_counter()
    found = function()
    return found, time.perf_counter() - begun


def signed(pictures: Tensor) -> Tensor:
    """Return uint8 pictures as floats in [-1, 1]."""
    return pictures.float() / 127.5 - 1


def unsigned(x: Tensor) -> Tensor:
    """Return floats in [-1, 1] as uint8 pictures; what is not finite becomes black."""
    return ((x.nan_to_num(-1.0).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def batch(pictures: Tensor, size: int, mirrored: bool = True) -> Tensor:
    """Draw pictures at random, with repetition where there are few, mirrored at random; floats in [-1, 1]."""
    x = signed(pictures[torch.randint(len(pictures), (size,))])
    return torch.where(torch.rand(size, 1, 1, 1) < 0.5, x.flip(3), x) if mirrored else x
