"""A piece of work in a process of its own: its memory is its own, and what breaks there breaks alone.

    run_apart(function, *arguments, path=...)    function's answer, written whole to the path; or why there is none

A path that is there is not made again. The process ends when the one that started it is no more, so that the same
command, given again, does not meet it at work on the same files.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from method import Diverged, Method, Result, Task

PATIENCE = 10.0  # seconds for a process to end
STOPPED = 130  # what a process returns that was interrupted
DIVERGED = "diverged"


def whole(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values to a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(path.name + ".part")
    torch.save(content, half)
    half.replace(path)


def read(path: Path) -> dict[str, Any]:
    return dict(torch.load(path, weights_only=True))


def method_of(file: str, name: str) -> Method:
    """Return a method by the name of its file and its own."""
    (found,) = (method for method in import_module(file).METHODS if method.name == name)
    return found


def run_method(file: str, name: str, given: Path, folder: Path, minutes: float) -> dict[str, Any]:
    """Return what a method makes of a task in a file; or {"diverged": why}."""
    task = replace(Task(**read(given), minutes=minutes, folder=folder))
    torch.manual_seed(task.seed)
    try:
        return vars(method_of(file, name).run(task))
    except Diverged as error:
        return {DIVERGED: str(error)}


def result_of(content: dict[str, Any]) -> Result | None:
    """Return a result from its file's content; None if it diverged."""
    return None if DIVERGED in content else Result(**content)


def run_apart(function: Callable[..., dict[str, Any]], *arguments: Any, path: Path, threads: int) -> dict[str, Any]:
    """Return function(*arguments), computed in a process of its own and kept in a file.

    Raises:
        RuntimeError: the process broke; what it wrote before is kept.
        KeyboardInterrupt: it was interrupted.
    """
    if path.exists():
        return read(path)
    process = multiprocessing.get_context("spawn").Process(
        target=_work, args=(function, arguments, path, threads, os.getpid())
    )
    process.start()
    try:
        process.join()
    except KeyboardInterrupt:
        process.join(PATIENCE)
        process.kill()
        raise
    if process.exitcode == STOPPED:
        raise KeyboardInterrupt
    if process.exitcode or not path.exists():
        raise RuntimeError(f"the process ended with {process.exitcode}")
    return read(path)


def _work(
    function: Callable[..., dict[str, Any]], arguments: tuple[Any, ...], path: Path, threads: int, parent: int
) -> None:
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    torch.set_num_threads(threads)
    try:
        whole(path, function(*arguments))
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
