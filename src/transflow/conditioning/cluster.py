"""Evidence of very many pictures on a Ray cluster: the same as one process gives.

The files are cut into blocks. Each worker of a pool holds the model, reads and encodes a block, and
returns the block's evidence: two vectors of D numbers, whatever the block's size. Evidence adds, so

    evidence = sum over blocks b of evidence_b,   each b once.

A worker that dies takes its blocks with it, and Ray gives them to another. So the sum is keyed by
the number of the block: one that comes twice counts once, and the end tells if one never came.
Blocks are added in their order, and latents do not depend on how a set was cut (see `streaming`),
so the result is that of one process up to rounding in double.

It needs Ray, the extra ``ray`` of this package.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass, replace
from typing import Any

import numpy as np
import torch

from transflow.conditioning.model import DEFAULT_NOISE, Model, Posterior
from transflow.gaussians.evidence import Evidence
from transflow.gaussians.noise import NoiseSpec, parse_noise
from transflow.latents import stream as streaming
from transflow.latents.stream import Bad, PathLike
from transflow.pictures import decode as data
from transflow.pictures import sources as listing
from transflow.pictures.preprocess import BATCH

BLOCK = 512  # files that a worker takes at a time
HELD = 128 * 2**20  # bytes of pictures that are sent, those of compressed tars; others are read where they are
OBJECT_STORE = 256 * 2**20  # bytes, of a cluster that is started here


def evidence(model: Model, pictures: PathLike | Sequence[PathLike], *, workers: int = 2, **more: Any) -> Evidence:
    """Return the evidence of pictures, encoded by several workers (see `condition`)."""
    return condition(model, pictures, workers=workers, **more).evidence


def condition(
    model: Model,
    pictures: PathLike | Sequence[PathLike],
    noise: NoiseSpec = DEFAULT_NOISE,
    *,
    workers: int = 2,
    block: int = BLOCK,
    on_bad: Bad | None = None,
    report: Callable[[int], None] | None = None,
) -> Posterior:
    """Return what ``model.condition(pictures, noise)`` returns, encoded by several workers.

    It runs on the Ray cluster of this process, or the one that RAY_ADDRESS names; where there is neither,
    a small one is started on this machine, and stopped at the end. The workers must see the files.

    Args:
        model: what encodes; each worker gets a copy.
        pictures: folders, tars and picture files.
        noise: as `Model.condition` takes it.
        workers: how many processes hold the model, with one processor each.
        block: how many files a worker takes at a time; what is lost, and done again, with a worker.
        on_bad: is told of each file that is no picture; without it, that is an error.
        report: is told, as blocks come in, how many more pictures are done.

    Raises:
        ImportError: Ray is not installed.
        ValueError, OSError: as `Model.condition`.
    """
    try:
        import ray.data
    except ImportError:
        raise ImportError('Expected Ray for work on a cluster; got none. Say: pip install "ray[data]>=2.60"') from None
    parse_noise(noise)
    for name, number in (("workers", workers), ("files a block", block)):
        if number < 1:
            raise ValueError(f"Expected 1 or more {name}; got {number}.")
    items: list[dict[str, Any]] = []
    held = 0
    for part in listing.chunks(listing.files(pictures), block):
        held += sum(file.held for file in part)
        if held > HELD:
            raise ValueError(
                f"Expected folders, files and plain tars, or compressed tars of at most {HELD // 2**20} MiB in all, "
                "which are sent to the workers; got more. Unpack them."
            )
        items.append({"number": len(items), "files": pickle.dumps(part)})
    source: Any = model.source
    if is_dataclass(source) and not isinstance(source, type):
        source = replace(source)  # without what it has cached
    digests: list[str] = []
    total = Evidence.none(model.dim)
    with _cluster(workers), _settings(ray.data.DataContext):
        kept = ray.put(replace(model, source=source))  # until all is done: a worker that is restarted asks for it
        dataset = ray.data.from_items(items, override_num_blocks=max(1, len(items))).map_batches(
            _Encoder,
            fn_constructor_args=([kept],),
            fn_kwargs={"skip_bad": on_bad is not None},
            batch_size=1,
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=min(workers, max(1, len(items)))),
        )
        for row in in_order_once(dataset.iter_rows() if items else iter(()), len(items)):
            if row["error"]:
                raise ValueError(row["error"])
            for message in json.loads(row["bad"]):
                assert on_bad is not None
                on_bad(message)
            told = json.loads(row["digests"])
            digests += told
            total += Evidence(len(told), torch.tensor(row["total"]), torch.tensor(row["scatter"]))
            if report:
                report(len(told))
    if not digests:
        raise data.no_pictures_error(listing.as_list(pictures), bool(items))
    device = model.prior.mean.device
    found = Evidence(total.count, total.total.to(device), total.scatter.to(device))
    made = Posterior(model, found, noise, tuple(digests))
    _ = made.noise  # told now if it cannot be found for this evidence
    return made


def in_order_once(rows: Iterator[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of blocks 0 .. count - 1 in this order, each once, however they come.

    >>> rows = [{"number": 1}, {"number": 0}, {"number": 1}]
    >>> [row["number"] for row in in_order_once(iter(rows), 2)]
    [0, 1]

    Raises:
        RuntimeError: a block never came.
    """
    early: dict[int, dict[str, Any]] = {}
    due = 0
    for row in rows:
        if row["number"] >= due:
            early[row["number"]] = row
        while due in early:
            yield early.pop(due)
            due += 1
    if due < count:
        raise RuntimeError(f"Expected {count} blocks of pictures from the workers; got no block {due}.")


class _Encoder:
    """A worker: the model, and what it makes of a block of files."""

    def __init__(self, kept: list[Any]) -> None:
        import ray

        self.model: Model = ray.get(kept[0])

    def __call__(self, batch: dict[str, Any], *, skip_bad: bool) -> dict[str, Any]:
        number, files = int(batch["number"][0]), pickle.loads(batch["files"][0])
        bad: list[str] = []
        digests: list[str] = []
        total, error = Evidence.none(self.model.dim), ""
        try:
            channels, size, _ = self.model.shape
            reads = data.decoded(files, channels, size)
            for part in data.grouped(reads, BATCH, bad.append if skip_bad else None):
                lone = number == 0 and not digests
                encoded = streaming.encode(self.model, part.pixels, full=0 if lone else BATCH)
                digests += encoded.digests
                total += Evidence.of(encoded.latents.cpu())
        except (ValueError, OSError) as wrong:
            error = str(wrong)
        texts = {"digests": json.dumps(digests), "bad": json.dumps(bad), "error": error}
        vectors = {"total": total.total.numpy()[None], "scatter": total.scatter.numpy()[None]}
        return {"number": np.array([number]), **vectors, **{name: np.array([text]) for name, text in texts.items()}}


@contextmanager
def _cluster(workers: int) -> Iterator[None]:
    """The cluster that is there, or a small one for this while."""
    import ray

    if ray.is_initialized():
        yield
        return
    here = {"num_cpus": workers, "object_store_memory": OBJECT_STORE, "include_dashboard": False}
    ray.init(**({} if "RAY_ADDRESS" in os.environ else here), log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _settings(context: Any) -> Iterator[None]:
    """Ray Data for this while: without bars, blocks in their order, each known to be small.

    Ray starts no task whose result might not fit into the object store, and holds a result for 128 MiB.
    """
    current = context.get_current()
    now = {"enable_progress_bars": False, "print_on_execution_start": False, "target_max_block_size": 2**20}
    before = {name: getattr(current, name) for name in now}
    order = current.execution_options.preserve_order
    try:
        for name, value in now.items():
            setattr(current, name, value)
        current.execution_options.preserve_order = True
        yield
    finally:
        for name, value in before.items():
            setattr(current, name, value)
        current.execution_options.preserve_order = order
