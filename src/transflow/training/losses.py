"""What is made small: the negative log-likelihood or a family's own loss, a penalty on outliers, compiled or not.

    loss = mean over the batch of l(x)  +  weight * mean over outliers of log(1 + max(0, l(x)))

with ``l(x) = -log p(x) / D`` in nats for a family that has no loss of its own.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from transflow.training.ranks import Ranks
from transflow.training.state import TrainingState

FARTHEST = 1e5  # nats per dimension from which on a gradient says nothing


def nll_per_dim(z: Tensor, log_det: Tensor) -> Tensor:
    """Return negative log-likelihoods, (B,), of latents (B, D) and log-determinants (B,), in nats per dimension."""
    return z.square().mean(1) / 2 + 0.5 * math.log(2 * math.pi) - log_det / z.shape[1]


def negative_log_likelihood(flow: nn.Module, x: Tensor) -> Tensor:
    """Return ``-log p(x) / D``, (B,), in nats, of pictures of floats (B, C, H, W)."""
    return nll_per_dim(*flow(x))


def penalty(nll: Tensor) -> Tensor:
    """Return the mean of ``log(1 + max(0, n))`` over negative log-likelihoods n, (B,), in nats per dimension."""
    return nll.clamp(0, FARTHEST).log1p().mean()


class Objective(nn.Module):
    """A model with its loss as one module, so that several processes share it whatever of the model a loss calls."""

    def __init__(self, model: nn.Module, loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return each row's loss, (B,)."""
        return self.loss(self.model, *inputs)


class BatchLoss:
    """The loss of this rank's share of a batch, in the run's precision, compiled where that is asked for and possible.

    Args:
        state: the run; its config's precision is no longer "auto".
        ranks: the processes.
    """

    def __init__(self, state: TrainingState, ranks: Ranks) -> None:
        config, family = state.config, state.config.family
        flow = family.reversible(state.flow) if config.reversible and family.reversible else state.flow
        self.objective = ranks.distributed(Objective(flow, family.loss or negative_log_likelihood))
        self.count, self.weight = config.batch // ranks.size, config.outliers
        self.device, self.half = state.device.type, config.precision == "bfloat16"
        self.compiles = (
            config.compile and not config.reversible and not family.adversary
        )  # it would trace through the way back, and not gain
        self.compiled: Callable[..., tuple[Tensor, Tensor]] | None = None

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and, without gradient, the mean loss of the pictures that are no outliers.

        Args:
            inputs: what the family's ``prepare`` made, of outliers last.
        """
        with torch.autocast(self.device, torch.bfloat16, enabled=self.half), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch.compile warns of its own insides
            if not self.compiles:
                return self.plain(*inputs)
            try:
                if self.compiled is None:
                    self.compiled = torch.compile(self.plain)
                return self.compiled(*inputs)
            except OSError as error:
                raise OSError(
                    f"Expected a folder for torch's compiler to write to; got none ({' '.join(str(error).split())}). "
                    "Set TMPDIR, or TORCHINDUCTOR_CACHE_DIR, to one that can be written, or train without the compiler "
                    "(compile=False, --no-compile)."
                ) from error
            except RuntimeError as error:
                if not (reason := no_compiler(error)):
                    raise
        self.compiles = False
        warnings.warn(f"Training goes on uncompiled, as exact but slower: {reason}", RuntimeWarning, stacklevel=2)
        return self(*inputs)

    def plain(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return what a call returns, uncompiled and in the precision around it."""
        rows = self.objective(*inputs)
        pictures, outliers = rows.split([self.count, len(rows) - self.count])
        mean = pictures.mean()
        return mean + self.weight * penalty(outliers) if self.weight else mean, mean.detach()


def no_compiler(error: BaseException | None) -> str:
    """Return why this machine has nothing to compile with, in one line; "" where torch.compile failed otherwise."""
    from torch._inductor.exc import CppCompileError, GPUTooOldForTriton, InvalidCxxCompiler, TritonMissing

    while error is not None:
        text = str(error)
        missing = isinstance(error, (InvalidCxxCompiler, TritonMissing, GPUTooOldForTriton))
        headers = isinstance(error, CppCompileError) and "Python.h" in text
        if missing or headers or "torch.compile is not supported on" in text:
            return "the headers of Python (Python.h) are missing" if headers else text.splitlines()[0]
        error = error.__cause__ or error.__context__
    return ""
