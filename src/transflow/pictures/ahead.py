"""Work on files in threads, ahead of whoever takes the results, and without Pillow's warnings."""

from __future__ import annotations

import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 12  # chunks of files decoded ahead of the consumer: three batches
THREADS = min(4, os.cpu_count() or 1)


def map_ahead(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Map in threads, in order, ahead of the consumer by a bounded number of items."""
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(THREADS, "transflow-read")
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class _SilencedWarnings:
    """Silence Pillow's warnings of large or slightly odd files that it can read.

    Python's filters of warnings belong to the whole process, so threads that decode at the same
    time share one change of them: the first in makes it, the last out takes it back.
    """

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0
        self.change: warnings.catch_warnings[Any]

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.change = warnings.catch_warnings()
                self.change.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.change.__exit__(None, None, None)


silenced_warnings = _SilencedWarnings()
