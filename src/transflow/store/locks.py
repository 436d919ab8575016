"""One process writes an output: a lock beside it, which the system drops with the process that held it.

    .m.safetensors.lock     beside m.safetensors; of a folder, beside the folder

The lock is advisory: it keeps two commands from one output, not a file from being written. It is also when what killed
writes left can be removed, since nobody else is writing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from transflow.devices import is_first_process
from transflow.store.files import PathLike, at_home, check_writable, hidden_prefix, remove_parts

HELD: list[Lock] = []


class Lock:
    """A lock that is held from when it is made until `release`; taken again in the same thread it counts.

    Args:
        path: the output, a file or a folder, there or not; the folder it is in must be there.
        more: other files of the same output, whose left parts are removed too.

    Raises:
        OSError: another process, or thread, is writing it.
    """

    def __init__(self, path: PathLike, *more: PathLike) -> None:
        self.held: FileLock | None = None
        target = Path(at_home(path)).resolve()
        self.place = target.parent / f"{hidden_prefix(target)}lock"
        if not is_first_process():  # of several that train together, the first holds it for all
            return
        for _ in range(2):
            lock = FileLock(self.place, timeout=0, is_singleton=True)
            try:
                lock.acquire()
            except Timeout:
                raise BlockingIOError(
                    f"Expected an output that nobody else is writing; got one that another transflow writes: {path}. "
                    "Wait for it, or write elsewhere."
                ) from None
            except (OSError, NotImplementedError):  # a file system without locks
                return
            if self.place.exists():
                break
            lock.release()  # the one who held it before removed it between our opening and our locking
        self.held = lock
        HELD.append(self)
        if lock.lock_counter == 1:
            with suppress(OSError):
                if target.is_dir():
                    remove_parts(target)
                for each in (target, *map(Path, more)):
                    remove_parts(each.parent, each)

    def release(self) -> None:
        """Let others write; do nothing where it is not held any more."""
        if self.held is None:
            return
        if self.held.lock_counter == 1:
            with suppress(OSError):
                self.place.unlink()
        self.held.release()
        self.held = None
        HELD.remove(self)


def release_all() -> None:
    """Release the locks that this process still holds: a command's, once it is done or has failed."""
    for lock in list(HELD):
        lock.release()


@contextmanager
def locked(path: PathLike, *more: PathLike) -> Iterator[None]:
    """Hold the lock of an output; arguments and errors as for `Lock`."""
    lock = Lock(path, *more)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def locked_file(path: PathLike) -> Iterator[None]:
    """Hold the lock of a file that can be written, so that what killed writes of it left is removed.

    Raises:
        OSError: it cannot be written, or another process writes it.
    """
    check_writable(path)
    with locked(path):
        yield
