"""A run of two: a model and its adversary, which take a step each in turn, and a look out for their collapse.

    adversary down the gradient of what tells pairs apart,   then the model up against it,

on the same pictures. The state of both is in the run's file, so it resumes as if never stopped; the adversary is no
part of the model. Both may grow as the budget is spent. Whenever a model would be written, it is asked whether the game
has ended:

- samples of a model that has collapsed are alike: with v the total variance of pictures averaged down to 4 x 4,
  ``v(samples) / v(training pictures)`` falls below a tenth;
- latents of an encoder that has collapsed are alike, or move along a line: of those of training pictures, with
  eigenvalues e_i of their covariance and p_i = e_i / sum e, the variance, or the number of directions
  ``exp(-sum p log p)`` beyond the first, falls below a tenth of the prior's;
- an adversary that has won has a loss near 0, and its gradient says nothing more.

Then the run stops, and the model that was written before stays.

Reference: Goodfellow et al. 2014, *Generative adversarial networks*, arXiv 1406.2661.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transflow.devices import full_float32
from transflow.own_random import OwnRandom
from transflow.training.adam import Adam
from transflow.training.config import TrainConfig
from transflow.training.data import draw_inputs
from transflow.training.state import LOWER, TrainingState

BETAS = (0.5, 0.99)  # of Adam: the opponent moves, so old gradients mislead
RATE = 2.0  # the adversary's learning rate over the model's (Heusel et al. 2017, arXiv 1706.08500)
GRACE = 500  # steps before a collapse is looked for
COMPARED, COARSE = 256, 4  # samples and pictures that are compared, and the height and width at which
LEAST_VARIANCE = 0.1  # of the samples' variance, relative to the pictures'
LEAST_LOSS = 0.02  # nats; an adversary that only guesses has 2 log 2 = 1.39
MEMORY = 0.99  # of the moving average of the adversary's loss


class AdversarialState(TrainingState):
    """The state of a run with an adversary.

    Attributes:
        adversary: the module that the model is trained against.
        adversary_optimiser: its own.
        guess: moving average of the adversary's loss, double; -1 before the first step.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        super().__init__(config, device)
        if config.family.adversary is None:
            raise ValueError(f"Expected a family with an adversary; got {config.family_name}.")
        self.game = config.family.adversary
        with OwnRandom((config.seed + 1) % 2**63):
            adversary = self.game.build(config.architecture)
        self.adversary: nn.Module = adversary.to(device=device)
        self.optimiser = Adam(self.weights, config.weight_decay, BETAS)
        self.adversary_optimiser = Adam(list(self.adversary.parameters()), config.weight_decay, BETAS)
        self.guess = torch.tensor(-1.0, dtype=torch.float64, device="cpu")

    def take_step(self, pixels: Tensor) -> float:
        """Take a step of both with the next batch of uint8 pixels (B, C, H, W); return the adversary's loss."""
        if self.game.grow is not None:
            self.game.grow(self.flow, self.progress)
        inputs = draw_inputs(pixels, self)
        with self.randomness(), full_float32(self.device):
            found = self.game.loss(self.adversary, self.flow, *inputs).mean()
            if self._update_adversary(found):
                self.adversary.requires_grad_(False)
                self.update(self.game.model_loss(self.adversary, self.flow, *inputs).mean())
                self.adversary.requires_grad_(True)
            else:
                self.update(found.detach() * torch.nan)  # both are skipped
        self.seen += self.config.batch
        return found.item()

    def _update_adversary(self, loss: Tensor) -> bool:
        self.adversary_optimiser.clear()
        if not torch.isfinite(loss):
            return False
        loss.backward()
        if not torch.isfinite(nn.utils.clip_grad_norm_(self.adversary_optimiser.weights, self.config.clip)):
            return False
        self.adversary_optimiser.step(RATE * self.learning_rate())
        now = loss.detach().double().cpu()
        self.guess = now if self.guess < 0 else MEMORY * self.guess + (1 - MEMORY) * now
        return True

    def check(self, pixels: Tensor) -> None:
        """Raise if the game has ended.

        Args:
            pixels: training pictures, uint8 (B, C, H, W).

        Raises:
            FloatingPointError: samples, or latents, hardly vary, or the adversary has won; the line says which.
        """
        if self.step < GRACE:
            return
        shares = [(relative_variance(self, pixels), "samples that vary as the pictures do", "variance")]
        if self.config.family.encoder:
            variance, directions = spread_of_latents(self, pixels)
            expected = "latents of pictures that vary as draws of the prior do"
            shares += [(variance, expected, "variance"), (directions, expected, "directions")]
        for share, expected, of in shares:
            if not share >= LEAST_VARIANCE:
                raise FloatingPointError(
                    f"Expected {expected}; got {share:.1%} of their {of} after {self.step} steps: the model has "
                    f"collapsed. {LOWER}"
                )
        if self.guess < LEAST_LOSS:
            raise FloatingPointError(
                f"Expected an adversary that can be fooled; got one whose loss is {self.guess.item():.3f} after "
                f"{self.step} steps. {LOWER}"
            )

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that is needed to go on but the counters, of both."""
        found = super().tensors() | {"guess": self.guess}
        found |= {f"adversary.{k}": v for k, v in self.adversary.state_dict().items()}
        return found | self.adversary_optimiser.tensors("adversary_optimiser")

    def _take(self, tensors: dict[str, Tensor]) -> None:
        super()._take(tensors)
        prefix = "adversary."
        own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        self.adversary.load_state_dict(own)
        self.adversary_optimiser.load_tensors("adversary_optimiser", tensors)
        self.guess = tensors["guess"].double().reshape(())


@torch.no_grad()
def relative_variance(state: TrainingState, pixels: Tensor) -> float:
    """Return the variance of the averaged model's samples over that of pictures, uint8 (B, C, H, W), coarsely seen."""
    model = state.model
    seen = coarse_variance(model.pixels.unit(model.pixels.centre(_some(pixels))))
    return coarse_variance(model.decode(model.prior.sample(COMPARED, seed=0))) / max(seen, 1e-12)


def spread_of_latents(state: TrainingState, pixels: Tensor) -> tuple[float, float]:
    """Return the mean variance of the averaged model's latents of pictures, and in how many directions they vary.

    Args:
        state: of the run.
        pixels: uint8 (B, C, H, W), two or more.

    Returns:
        The variance, the prior's being 1; and the directions beyond the first, the prior's all D - 1 being 1.
    """
    z = state.model.encode(_some(pixels)).double().cpu()
    values = torch.linalg.eigvalsh(torch.cov(z.T)).clamp(min=0)
    shares = values / values.sum().clamp(min=1e-12)
    directions = torch.special.entr(shares).sum().exp().item()
    return z.var(0, unbiased=False).mean().item(), (directions - 1) / (z.shape[1] - 1)


def _some(pixels: Tensor) -> Tensor:
    return pixels[:: -(-len(pixels) // COMPARED)]


def coarse_variance(pictures: Tensor) -> float:
    """Return the total variance of pictures (n, C, H, W) in [0, 1], averaged down to 4 x 4."""
    return F.adaptive_avg_pool2d(pictures.double().cpu(), COARSE).flatten(1).var(0, unbiased=False).sum().item()
