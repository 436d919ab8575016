"""One training run in several processes, as ``torchrun`` starts them: each takes its share of every batch.

Each process (a rank, 0 to W - 1) computes the gradient of its share, and the gradients are averaged, so all
hold at all times the weights that one process would hold that had seen whole batches; but where a loss looks
across pictures (batch norm, a WAE's discrepancy), it looks across a share. What could differ from rank to rank,
such as the clock, is rank 0's; it alone writes files and reports.

Reference: Li et al. 2020 (PyTorch's DistributedDataParallel, arXiv 2006.15704), which does the work.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Ranks:
    """The processes of a run, as one of them sees them.

    Attributes:
        rank: this process, 0 to W - 1.
        size: W; 1 for a run in a single process, where nothing below does anything.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes and reports."""
        return self.rank == 0

    def check_divisible(self, batch: int) -> None:
        """Raise `ValueError` if a batch cannot be shared evenly: an average of averages would not be the whole's."""
        if batch % self.size:
            raise ValueError(f"Expected a batch that {self.size} processes can share evenly; got {batch}.")

    def check_enough(self, batch: int, fewest: int) -> None:
        """Raise `ValueError` if a rank's share of a batch has fewer pictures than a loss has to see together."""
        if batch < fewest * self.size:
            raise ValueError(f"Expected batches of {fewest * self.size} or more of {self.size} processes; got {batch}.")

    def share(self, batch: Tensor) -> Tensor:
        """Return this rank's part of a batch, (B / W, ...)."""
        return batch.chunk(self.size)[self.rank]

    def distributed(self, flow: nn.Module) -> nn.Module:
        """Return a module whose backward pass gives all ranks the average gradient; weights become rank 0's."""
        if self.size == 1:
            return flow
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch 2.13 has another word for it, which 2.8 has not
            return DistributedDataParallel(flow, broadcast_buffers=False)

    def mean(self, loss: Tensor) -> Tensor:
        """Return a loss whose value is the mean over ranks, and whose gradient is this rank's own."""
        if self.size == 1:
            return loss
        total = loss.detach().clone()
        dist.all_reduce(total)
        return loss + (total / self.size - loss.detach())

    def broadcast(self, *numbers: float) -> list[float]:
        """Return rank 0's numbers."""
        if self.size == 1:
            return list(numbers)
        held = torch.tensor(numbers, dtype=torch.float64, device="cpu")
        dist.broadcast(held, 0)
        return held.tolist()

    def wait(self) -> None:
        """Return once every rank has come here."""
        self.mean(torch.zeros((), dtype=torch.float32, device="cpu"))


@contextmanager
def process_group(device: torch.device) -> Iterator[tuple[Ranks, torch.device]]:
    """Join a run's other processes; yield the ranks and this one's device, of a machine's GPUs one for each process."""
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield Ranks(), device
        return
    backend = "gloo"
    if device.type == "cuda":
        device, backend = torch.device("cuda", int(os.environ["LOCAL_RANK"])), "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(device)
    ours = not dist.is_initialized()
    if ours:
        dist.init_process_group(backend)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size()), device
    finally:
        if ours:
            dist.destroy_process_group()
