"""Small parts of a pyramid: a base of flow matching and levels of details, their weights moved off where they start."""

import torch

from helpers import shaken
from transflow.generative.detail_level import DetailLevel, DetailLevelConfig
from transflow.generative.flow_matching import FlowMatching, FlowMatchingConfig
from transflow.generative.picture_model import PictureModel
from transflow.pictures.pixels import PixelFormat

BASE = {"widths": (16, 32), "attention": (False, True), "depth": 1, "embedding": 16, "steps": 4}
LEVEL = {"steps": 2, "width": 8, "seen": 6, "coarser": (6, 6)}


def base(size=8, channels=3, **card):
    flow = shaken(lambda: FlowMatching(FlowMatchingConfig((channels, size, size), **BASE)), by=0.02)
    return PictureModel(flow.requires_grad_(False).eval(), PixelFormat(8), card)


def level(size=16, channels=3, seed=0, **card):
    flow = shaken(lambda: DetailLevel(DetailLevelConfig(size=size, channels=channels, **LEVEL)), by=0.05)
    x = 0.3 * (torch.rand(8, channels, size, size, generator=torch.Generator().manual_seed(seed)) - 0.5)
    flow.initialise(x)
    return PictureModel(flow.requires_grad_(False).eval(), PixelFormat(8), card)
