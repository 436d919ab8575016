"""Velocities whose latents or densities are known, and a small network of digits, for the tests of ODE models."""

import torch
from torch import nn


class GaussianVelocity(nn.Module):
    """v(x, t) = E[x1 - x0 | x_t = x] of x_t = (1-t) x0 + t x1, x0 ~ N(0, I), x1 ~ N(mean, covariance): linear in x."""

    def __init__(self, mean, covariance):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("covariance", covariance)

    def matrix(self, t):
        one = torch.eye(len(self.mean)).to(self.mean)
        return (t * self.covariance - (1 - t) * one) @ torch.linalg.inv((1 - t) ** 2 * one + t**2 * self.covariance)

    def forward(self, x, t):
        return (self.mean + (x.flatten(1) - t * self.mean) @ self.matrix(t).mT).view(x.shape)


class MixtureVelocity(nn.Module):
    """The same for x1 ~ sum_k N(means_k, sd^2 I) / K."""

    def __init__(self, means, sd):
        super().__init__()
        self.register_buffer("means", means)
        self.sd = sd

    def forward(self, x, t):
        flat = x.flatten(1)
        variance, d = (1 - t) ** 2 + t**2 * self.sd**2, flat[:, None] - t * self.means
        weight = (-0.5 * d.square().sum(2) / variance).softmax(1)[..., None]
        return (weight * (self.means + (t * self.sd**2 - (1 - t)) / variance * d)).sum(1).view(x.shape)


class SmallNet(nn.Module):
    """Two levels and one skip, time as sines: enough for 8 x 8 digits."""

    def __init__(self, channels=1, width=16):
        super().__init__()
        c = width
        self.time = nn.Sequential(nn.Linear(16, c), nn.SiLU(), nn.Linear(c, 2 * c))
        self.enter, self.down = nn.Conv2d(channels, c, 3, 1, 1), nn.Conv2d(c, 2 * c, 3, 2, 1)
        self.middle = nn.Sequential(nn.GroupNorm(4, 2 * c), nn.SiLU(), nn.Conv2d(2 * c, 2 * c, 3, 1, 1))
        self.up = nn.ConvTranspose2d(2 * c, c, 2, 2)
        self.leave = nn.Sequential(nn.GroupNorm(4, 2 * c), nn.SiLU(), nn.Conv2d(2 * c, channels, 3, 1, 1))

    def forward(self, x, t):
        angles = t.to(x).expand(len(x))[:, None] * torch.arange(1, 9).to(x) * torch.pi / 2
        a = self.enter(x)
        b = self.down(a.relu()) + self.time(torch.cat([angles.sin(), angles.cos()], 1))[:, :, None, None]
        return self.leave(torch.cat([a, self.up(b + self.middle(b))], 1))


def digits():
    """scikit-learn's digits, uint8 (1797, 1, 8, 8)."""
    from sklearn.datasets import load_digits

    return torch.from_numpy(load_digits().images[:, None] * 15.9375).to(torch.uint8)


def trained(iterations=150, batch=48):
    """A small net that has learned the velocity of digits in [-1, 1] a little."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, data = SmallNet(), digits().float() / 127.5 - 1
        optimiser = torch.optim.Adam(net.parameters(), 3e-3)
        for _ in range(iterations):
            x, t = data[torch.randint(len(data), (batch,))], torch.rand(batch)
            e, u = torch.randn_like(x), t[:, None, None, None]
            loss = (net((1 - u) * e + u * x, t) - (x - e)).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return net.requires_grad_(False).eval()
