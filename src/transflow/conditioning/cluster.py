"""Evidence of very many pictures on a Ray cluster: the same as one process gives.

The files are cut into blocks. Each worker of a pool holds the model, reads and encodes a block, and
returns the block's evidence: two vectors of D numbers, whatever the block's size, and, where they are learned from,
latents of at most 256 pictures. Evidence adds, so

    evidence = sum over blocks b of evidence_b,   each b once.

A worker that dies takes its blocks with it, and Ray gives them to another. So the sum is keyed by
the number of the block: one that comes twice counts once, and the end tells if one never came.
Blocks are added in their order, and latents do not depend on how a set was cut (see `latents.encoded`),
so the result is that of one process up to rounding in double; but the directions by which "covariance" knows more
pictures than latents are kept of depend on where blocks end, within what the sketch says that it misses.

It needs Ray, the extra ``ray`` of this package.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from transflow.conditioning.conditioned import DEFAULT_NOISE
from transflow.conditioning.gathered import Gathered
from transflow.conditioning.model import Model
from transflow.conditioning.posterior import Posterior
from transflow.gaussians.evidence import Evidence
from transflow.gaussians.learn import what_to_learn
from transflow.gaussians.noise import NoiseSpec
from transflow.latents.encoded import encode_batch, filled
from transflow.pictures.decode import OnBad, batched, decode_files, no_pictures_error
from transflow.pictures.given import as_list
from transflow.pictures.preprocess import BATCH
from transflow.pictures.sources import chunks, files
from transflow.store.files import PathLike

BLOCK = 512  # files that a worker takes at a time
HELD = 128 * 2**20  # bytes of pictures that are sent, those of compressed tars; others are read where they are
OBJECT_STORE = 256 * 2**20  # bytes, of a cluster that is started here


def evidence(model: Model, pictures: PathLike | Sequence[PathLike], *, workers: int = 2, **more: Any) -> Evidence:
    """Return the evidence of pictures, encoded by several workers (see `condition`): sums alone, of no latent."""
    return condition(model, pictures, "1m", workers=workers, **more).evidence


def condition(
    model: Model,
    pictures: PathLike | Sequence[PathLike],
    noise: NoiseSpec | None = None,
    *,
    learn: str | None = None,
    novelty: float | None = None,
    long: bool = False,
    workers: int = 2,
    block: int = BLOCK,
    on_bad: OnBad | None = None,
    report: Callable[[int], None] | None = None,
) -> Posterior:
    """Return what ``model.condition(pictures, noise)`` returns, encoded by several workers.

    It runs on the Ray cluster of this process, or the one that RAY_ADDRESS names; where there is neither,
    a small one is started on this machine, and stopped at the end. The workers must see the files.

    Args:
        model: what encodes; each worker gets a copy.
        pictures: folders, tars and picture files.
        noise, learn, novelty, long: as `Model.condition` takes them.
        workers: how many processes hold the model, with one processor each.
        block: how many files a worker takes at a time; what is lost, and done again, with a worker.
        on_bad: called with a message for each file that is not a picture; without it, such a file is an error.
        report: called after each block with the number of pictures in it.

    Raises:
        ImportError: Ray is not installed.
        ValueError, OSError: as `Model.condition`.
    """
    try:
        import ray.data
    except ImportError:
        raise ImportError('Expected Ray for work on a cluster; got none. Say: pip install "ray[data]>=2.60"') from None
    found = what_to_learn(noise, learn, novelty, long=long)
    for name, number in (("workers", workers), ("files a block", block)):
        if number < 1:
            raise ValueError(f"Expected 1 or more {name}; got {number}.")
    items: list[dict[str, Any]] = []
    held = 0
    for part in chunks(files(pictures), block):
        held += sum(file.bytes_in_memory for file in part)
        if held > HELD:
            raise ValueError(
                f"Expected folders, files and plain tars, or compressed tars of at most {HELD // 2**20} MiB in all, "
                "which are sent to the workers; got more. Unpack them."
            )
        items.append({"number": len(items), "files": pickle.dumps(part)})
    digests: list[str] = []
    total = Gathered.none(model.dim, "cpu", **found.gathers)
    with _cluster(workers), _settings(ray.data.DataContext):
        kept = ray.put(model)  # until all is done: a worker that is restarted asks for it
        dataset = ray.data.from_items(items, override_num_blocks=max(1, len(items))).map_batches(
            _Encoder,
            fn_constructor_args=([kept],),
            fn_kwargs={"skip_bad": on_bad is not None, "alone": len(items) == 1, "gathers": found.gathers},
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
            block_of = pickle.loads(row["gathered"])
            digests += block_of.digests
            total += replace(block_of, digests=())
            if report:
                report(len(block_of.digests))
    if not digests:
        raise no_pictures_error(as_list(pictures), bool(items))
    spec = DEFAULT_NOISE if noise is None else noise
    whole = replace(total, digests=tuple(digests)).to(model.device)
    return Posterior(model, spec=spec, learn=found, **vars(whole)).checked()


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

    def __call__(
        self, batch: dict[str, Any], *, skip_bad: bool, alone: bool, gathers: dict[str, bool]
    ) -> dict[str, Any]:
        number, block = int(batch["number"][0]), pickle.loads(batch["files"][0])
        bad: list[str] = []
        total, error = Gathered.none(self.model.dim, "cpu", **gathers), ""
        try:
            read = batched(decode_files(block, self.model.shape), BATCH, bad.append if skip_bad else None)
            for part, rows in filled(read, BATCH, alone=alone):
                total += Gathered.of(encode_batch(self.model, part, rows), **gathers).to("cpu")
        except (ValueError, OSError) as wrong:
            error = str(wrong)
        sums = np.array([pickle.dumps(total)], dtype=object)
        texts = {"bad": json.dumps(bad), "error": error}
        return {
            "number": np.array([number]),
            "gathered": sums,
            **{name: np.array([text]) for name, text in texts.items()},
        }


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
