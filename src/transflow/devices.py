"""Where and in which precision to compute, and which process speaks: rules that several rooms share, each written once.

**Device.** Without one, all computes on the processor, `load` and `train` alike, so a script gives the same kind of
tensors on every machine; ``device="cuda"`` is asked for. A training run that is resumed goes on where it was begun.

**Precision.** One of `PRECISIONS`, in words. Networks can be in bfloat16, while latents and all else are float32.
What a network is trained in by default, and whether bfloat16 is emulated, is asked of the hardware, never timed: the
same machine, the same answer.

Torch is imported where it is used, so that the command line can read the tables without it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DEFAULT_DEVICE = "cpu"
OUT_OF_MEMORY = ("out of memory", "not enough memory", "allocate memory")  # in torch's messages, of any device
PRECISIONS = ("float32", "bfloat16", "float64")
TRAINING_PRECISIONS = ("auto", "float32", "bfloat16")


def find_device(name: str | None) -> torch.device:
    """Return the device of a name such as "cuda:1"; without one, the default.

    Raises:
        ValueError: it is of another kind than cpu and cuda, or not there.
    """
    import torch

    try:
        device = torch.device(DEFAULT_DEVICE if name is None else name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"Expected a device such as cpu or cuda; got {name}.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count() or "no"
        raise ValueError(f"Expected a device that is there; got {name}, and torch sees {count} CUDA devices.")
    return device


def dtype_of(precision: str) -> torch.dtype:
    """Return torch's dtype of one of `PRECISIONS`.

    Raises:
        ValueError: it is none of them.
    """
    import torch

    if precision not in PRECISIONS:
        raise ValueError(f"Expected precision {', '.join(PRECISIONS)}; got {precision}.")
    dtype: torch.dtype = getattr(torch, precision)
    return dtype


@cache
def vector_set() -> str:
    """Return the vector instructions that torch uses on this processor, in its words: "AVX512", "AVX2", "DEFAULT"."""
    import torch

    return torch.backends.cpu.get_cpu_capability()


def faster_precision(device: torch.device) -> str:
    """Return what networks are fastest in here: "bfloat16" where the hardware multiplies in it, else "float32".

    CUDA does from capability 8.0 on (Ampere), processors with AVX512-BF16 or AMX; others emulate it, at a loss.
    """
    import torch

    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        there = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        fast = there and vector_set() == "AVX512"  # torch can be held to less than the processor has
    return "bfloat16" if fast else "float32"


def is_emulated(precision: str, device: torch.device) -> bool:
    """Return whether a precision is bfloat16 where the hardware has none: several times slower than float32."""
    return precision == "bfloat16" and faster_precision(device) != "bfloat16"


@cache
def multiplies_in_float32() -> bool:
    """Return whether torch multiplies float32 matrices in float32 on this processor, whatever else a user allows it.

    ``torch.set_float32_matmul_precision("medium")`` rounds to bfloat16 where there is AMX, and on ARM.
    """
    import torch

    return vector_set() in ("AVX512", "AVX2") and not torch.cpu._is_amx_tile_supported()


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Compute in all 24 bits of float32, whatever is around: a model's numbers are the same everywhere.

    Autocast, where a caller has it on, would round to bfloat16; and CUDA convolves in the 11 bits of TF32 by default.
    Either would lose the inverse.
    """
    import torch

    if torch.is_autocast_enabled(device.type):
        with torch.autocast(device.type, enabled=False), full_float32(device):
            yield
        return
    if device.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    with cudnn.flags(True, benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False):
        yield


def is_first_process() -> bool:
    """Return whether this process prints and writes: of those that torchrun started the first, else the only one."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK") == "0"


def fresh_seed() -> int:
    """Return a new seed, 0 to 2^31 - 1, from the system's randomness; torch's own generators are left alone."""
    return secrets.randbelow(2**31)
