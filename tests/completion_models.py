"""Models whose posterior given a part of a picture is known in closed form."""

import torch

from transflow import Gaussian, Model
from transflow.pictures.pixels import PixelFormat

SHAPE = (1, 2, 3)
DIM = 6


class Linear:
    """x = 1/2 + M z, with gradients; pictures leave [0, 1] rarely."""

    prior = Gaussian.standard(DIM)
    shape = SHAPE
    pixels = PixelFormat(8, 0.0, 1.0, ends=True)
    bend = 0.0

    def __init__(self):
        self.matrix = 0.1 * torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(1))

    def encode(self, pictures):
        return torch.linalg.solve(self.matrix, (pictures.flatten(1) / 255 - 0.5).T).T

    def decode(self, latents):
        return self.decode_unclamped(latents).clamp(0, 1)

    def decode_unclamped(self, latents):
        bent = latents + self.bend * latents.square()
        return (0.5 + bent @ self.matrix.T).view(-1, *SHAPE)

    def encode_and_log_prob(self, pictures):
        z = self.encode(pictures)
        return z, self.prior.log_prob(z)


class Bent(Linear):
    """x = 1/2 + M (z + 0.3 z^2): what is drawn by optimising is not quite the posterior."""

    bend = 0.3
    encode_and_log_prob = None  # its encode is not its inverse


def linear(kind=Linear):
    return Model(kind(), "linear")


def posterior(model, rows, y, noise, prior=None, temperature=1.0):
    """Mean and covariance of z given A (1/2 + M z) = y + noise; A picks rows of the flat picture, or is a matrix."""
    pick = torch.eye(DIM)[rows] if isinstance(rows, list) else rows
    prior = prior or model.prior
    a = (pick @ model.source.matrix).double()
    sigma = prior.covariance.dense().matrix * temperature**2
    gain = sigma @ a.T @ torch.linalg.inv(a @ sigma @ a.T + noise**2 * torch.eye(len(a)))
    mean = prior.mean + gain @ (y.flatten().double() - 0.5 * pick.sum(1).double() - a @ prior.mean)
    return mean, sigma - gain @ a @ sigma
