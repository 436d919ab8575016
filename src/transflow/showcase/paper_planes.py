"""The figures of Gaussians in one and two dimensions, drawn from the closed forms themselves.

    Sigma_p = (Sigma_0^-1 + m Sigma^-1)^-1,   mu_p = Sigma_p (Sigma_0^-1 mu_0 + m Sigma^-1 zeta_bar)

matplotlib draws; it is the extra ``paper``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from transflow.gaussians.draws import normal
from transflow.gaussians.evidence import Evidence
from transflow.gaussians.gaussian import Gaussian
from transflow.gaussians.noise import choose_noise
from transflow.pictures.grids import encode_image, grid
from transflow.showcase.paper_figures import Made
from transflow.showcase.paper_pictures import PaperPictures

LEVELS = (0.5, 0.9)  # probability inside of each ellipse
NOISES = ("0.1m", "0.5m", "2m")
MIDDLE = torch.tensor([2.0, 1.6], dtype=torch.double, device="cpu")
COUNTS = (1, 3, 10, 30)
COLOURS = ("tab:blue", "tab:gray", "tab:red", "tab:orange")


def plane(p: PaperPictures) -> Made:
    """Draw prior, evidence and posterior in two dimensions, for three noises."""
    plt = matplotlib()
    generator = torch.Generator().manual_seed(p.seed)
    latents = MIDDLE + 0.5 * normal(generator, 8, 2)
    evidence, prior = Evidence.of(latents), Gaussian.standard(2)
    figure, axes = plt.subplots(1, 3, figsize=(11, 4), sharex=True, sharey=True, layout="constrained", dpi=90)
    words = []
    for axis, spec in zip(axes, NOISES, strict=True):
        posterior = prior.condition(evidence, choose_noise(spec, evidence, prior).value)
        ellipses(axis, prior, "tab:blue", "prior")
        ellipses(axis, posterior, "tab:red", "posterior")
        axis.plot(*latents.T.numpy(), "kx", label="evidence")
        axis.set(title=f"noise {spec}", aspect="equal", xlim=(-3.2, 4.2), ylim=(-3.2, 4.2))
        distance = (posterior.mean - evidence.mean).norm().item()
        words.append(
            f"{spec}: {distance:.2f} from the evidence's mean, variance {posterior.covariance.trace().item() / 2:.2f}"
        )
    axes[0].legend(loc="lower right")
    return Made(_png(plt, figure), ".png", "; ".join(words))


def line(p: PaperPictures) -> Made:
    """Draw prior, likelihood, posterior and predictive in one dimension, as evidence comes."""
    plt = matplotlib()
    generator = torch.Generator().manual_seed(p.seed)
    latents = 1.8 + 0.7 * normal(generator, max(COUNTS), 1)
    prior, noise = Gaussian.standard(1), 1.0
    x = np.linspace(-4, 5, 400)
    figure, axes = plt.subplots(
        1, len(COUNTS), figsize=(13, 3.4), sharex=True, sharey=True, layout="constrained", dpi=90
    )
    words = []
    for axis, m in zip(axes, COUNTS, strict=True):
        evidence = Evidence.of(latents[:m])
        posterior = prior.condition(evidence, noise)
        curves = {
            "prior": prior,
            "likelihood": Gaussian.of(evidence.mean, noise / m),
            "posterior": posterior,
            "predictive": posterior.predictive(noise),
        }
        for (name, curve), colour in zip(
            curves.items(), ("tab:blue", "tab:gray", "tab:red", "tab:orange"), strict=True
        ):
            axis.plot(x, _density(curve, x), color=colour, label=name)
        axis.plot(latents[:m, 0].numpy(), np.zeros(m), "kx")
        axis.set(title=f"m = {m}")
        words.append(f"m = {m}: N({posterior.mean.item():.2f}, {posterior.covariance.trace().item():.3f})")
    axes[0].legend(loc="upper left")
    return Made(_png(plt, figure), ".png", "; ".join(words))


def _density(gaussian: Gaussian, x: np.ndarray) -> np.ndarray:
    return gaussian.log_prob(torch.from_numpy(x)[:, None]).exp().numpy()


def ellipses(axis: Any, gaussian: Gaussian, colour: str, label: str) -> None:
    """Draw the circles that hold the shares `LEVELS` of a Gaussian of two dimensions and one variance."""
    points: Tensor = torch.linspace(0, 2 * torch.pi, 200, dtype=torch.double, device="cpu")
    circle = torch.stack([points.cos(), points.sin()], 1)
    root = (gaussian.covariance.trace().item() / 2) ** 0.5
    for level in LEVELS:
        radius = root * (-2 * np.log1p(-level)) ** 0.5
        ring = (gaussian.mean.double() + radius * circle).T.numpy()
        axis.plot(*ring, color=colour, label=label if level == LEVELS[0] else None)


def _png(plt: Any, figure: Any) -> bytes:
    figure.canvas.draw()
    pixels = torch.from_numpy(np.array(figure.canvas.buffer_rgba())[..., :3]).permute(2, 0, 1)
    plt.close(figure)
    return encode_image(grid(pixels[None], 1, zoom=1, gap=0), ".png")


def matplotlib() -> Any:
    """Return matplotlib's pyplot, which draws into memory.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import matplotlib as library
    except ImportError:
        raise ValueError(
            "Expected matplotlib, which draws these figures; it is not installed. pip install 'transflow[paper]'"
        ) from None
    library.use("Agg")
    import matplotlib.pyplot as plt

    return plt
