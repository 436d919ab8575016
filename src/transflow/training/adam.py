"""Adam, and AdamW, by torch's fused kernels alone: `torch.optim` imports torch's compiler, which wants a cache folder.

    m <- b1 m + (1 - b1) g        v <- b2 v + (1 - b2) g^2
    w <- w - rate (decay w + m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps))

The same bits as ``torch.optim.AdamW(..., fused=True)``, and as ``Adam`` where nothing decays.

Reference: Kingma and Ba 2015, arXiv 1412.6980; Loshchilov and Hutter 2019, arXiv 1711.05101.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # of each weight, as torch.optim calls them: t, m, v


class Adam:
    """The optimiser of a run.

    Attributes:
        weights: what is trained; a step leaves alone those without a gradient.
        decay: share of the learning rate by which each step makes weights smaller.
        moments: of each weight that has taken a step, by its number: steps (), means and squares of gradients.
    """

    def __init__(
        self, weights: Sequence[nn.Parameter], decay: float = 0.0, betas: tuple[float, float] = (0.9, 0.99)
    ) -> None:
        self.weights, self.decay, self.betas = list(weights), decay, betas
        self.moments: dict[int, dict[str, Tensor]] = {}

    def clear(self) -> None:
        """Forget the gradients."""
        for weight in self.weights:
            weight.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the weights by their gradients, at a learning rate."""
        alike: dict[torch.dtype, list[int]] = {}  # a kernel takes tensors of one dtype
        for i, weight in enumerate(self.weights):
            if weight.grad is not None:
                alike.setdefault(weight.dtype, []).append(i)
                if i not in self.moments:
                    step = torch.zeros((), dtype=torch.float32, device=weight.device)
                    zeros = (torch.zeros_like(weight, memory_format=torch.preserve_format) for _ in range(2))
                    self.moments[i] = dict(zip(MOMENTS, (step, *zeros), strict=True))
        for numbers in alike.values():
            steps, means, squares = ([self.moments[i][name] for i in numbers] for name in MOMENTS)
            torch._foreach_add_(steps, 1)
            (torch._fused_adamw_ if self.decay else torch._fused_adam_)(
                [self.weights[i] for i in numbers],
                [grad for i in numbers if (grad := self.weights[i].grad) is not None],
                means,
                squares,
                [],
                steps,
                lr=rate,
                beta1=self.betas[0],
                beta2=self.betas[1],
                weight_decay=self.decay,
                eps=1e-8,
                amsgrad=False,
                maximize=False,
            )

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Return the moments, named "prefix.number.moment", for a file."""
        return {f"{prefix}.{i}.{k}": v for i, state in self.moments.items() for k, v in state.items()}

    def load_tensors(self, prefix: str, tensors: Mapping[str, Tensor]) -> None:
        """Take moments from a file's tensors, named as `tensors` names them; raise as `load`."""
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(prefix + "."):
                _, i, name = key.split(".")
                moments.setdefault(int(i), {})[name] = value
        self.load(moments)

    def load(self, moments: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Take moments from a file, in the memory format of the weights: the fused kernels go by places.

        Raises:
            ValueError: some are missing, or fit no weight.
        """
        found: dict[int, dict[str, Tensor]] = {}
        for i, parts in moments.items():
            if not 0 <= i < len(self.weights) or any(
                value.shape != (() if name == "step" else self.weights[i].shape) for name, value in parts.items()
            ):
                raise ValueError(f"moments of weight {i} fit no weight")
            if parts.keys() != set(MOMENTS):
                raise ValueError("moments of the optimiser are missing")
            weight = self.weights[i]
            step = parts["step"].to(device=weight.device, dtype=torch.float32, copy=True)
            found[i] = {"step": step} | {n: torch.empty_like(weight).copy_(parts[n]).detach() for n in MOMENTS[1:]}
        self.moments = found
