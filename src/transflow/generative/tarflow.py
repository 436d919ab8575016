"""TarFlow: a normalizing flow of patches, each block a causal transformer that says how the next patch is scaled.

A picture is a sequence of T patches ``x_1 .. x_T`` of ``C p^2`` numbers. A block changes each by those before it,

    z_t = (x_t - m_t) exp(-a_t),   (a_t, m_t) = net(x_1 .. x_{t-1}),   a_1 = m_1 = 0,

so that ``log |det dz/dx| = -sum a``; every second block goes through the sequence from its end. Encoding is one pass
of a transformer for each block, decoding T of them, since x_t is needed for the next. A flow of shifts alone (a = 0)
keeps the volume, and has the variance of its latents in its file instead; what `TarFlow` gives is divided by its root,
so that N(0, I) is the prior in either case. Such flows, and those that know labels, are loaded, but not trained here.

It is trained on pictures with Gaussian noise added (`prepare`), and so draws noisy ones; `TarFlow.denoise` takes the
noise away, one step after decoding and no part of it: the inverse stays the inverse.

Reference: Zhai et al. 2024, *Normalizing Flows are Capable Generative Models*, arXiv 2412.06329. Weights have the names
of apple/ml-tarflow, whose files load as they are (but for masks, which are not kept).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transflow.plain_values import make_plain

Shift = tuple[Tensor, Tensor]  # log-scale a and mean m, each (B, tokens, C p^2)


@dataclass(frozen=True)
class TarFlowConfig:
    """The architecture of a TarFlow.

    Attributes:
        shape: of a picture, (C, H, W).
        patch: p, height and width of a patch in pixels; H and W are multiples of it.
        width: of the transformers; a multiple of head.
        blocks: how many maps of the whole sequence.
        layers: of the transformer of each block.
        head: width of an attention head.
        classes: labels that a picture may have; 0 for a model that knows none.
        scaled: whether patches are scaled; otherwise they are shifted alone.
        noise: standard deviation of what is added to pictures in training; a picture's range is 1.
    """

    shape: tuple[int, int, int] = (3, 32, 32)
    patch: int = 4
    width: int = 256
    blocks: int = 4
    layers: int = 4
    head: int = 64
    classes: int = 0
    scaled: bool = True
    noise: float = 0.025

    def __post_init__(self) -> None:
        make_plain(self)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"Expected a shape (C, H, W); got {self.shape}.")
        if self.patch < 1 or self.shape[1] % self.patch or self.shape[2] % self.patch:
            raise ValueError(f"Expected a patch that divides height and width of {self.shape}; got {self.patch}.")
        if self.head < 1 or self.width < 1 or self.width % self.head:
            raise ValueError(f"Expected a width that is a multiple of head = {self.head}; got {self.width}.")
        if min(self.blocks, self.layers) < 1 or self.classes < 0:
            raise ValueError(
                f"Expected at least one block of one layer, and classes of 0 or more; "
                f"got blocks={self.blocks}, layers={self.layers}, classes={self.classes}."
            )
        if not 0 <= self.noise < 1:
            raise ValueError(f"Expected a standard deviation of noise from 0 to below 1; got {self.noise}.")

    @property
    def tokens(self) -> int:
        """T, the number of patches."""
        return self.shape[1] * self.shape[2] // self.patch**2

    @property
    def token_size(self) -> int:
        """Numbers of a patch, C p^2."""
        return self.shape[0] * self.patch**2

    @property
    def fewest_weights(self) -> int:
        """A number of weights that its model has at least: those of the layers' matrices, and places."""
        return self.blocks * self.width * (12 * self.layers * self.width + self.tokens + 2 * self.token_size)


class Cache:
    """Keys and values of the tokens that a layer has seen on the way back, (B, heads, tokens, head) each."""

    def __init__(self) -> None:
        self.key: Tensor | None = None
        self.value: Tensor | None = None

    def add(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return all keys and values, with these of one more token, (B, heads, 1, head)."""
        self.key = key if self.key is None else torch.cat([self.key, key], 2)
        self.value = value if self.value is None else torch.cat([self.value, value], 2)
        return self.key, self.value


class Attention(nn.Module):
    """Causal attention to the tokens so far, with layer normalisation before."""

    def __init__(self, width: int, head: int) -> None:
        super().__init__()
        self.heads = width // head
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """Return (B, T, width) of the whole sequence; of one token, (B, 1, width), with the cache of those before."""
        q, k, v = self.qkv(self.norm(x)).unflatten(2, (3 * self.heads, -1)).transpose(1, 2).chunk(3, 1)
        if cache is not None:
            k, v = cache.add(k, v)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=cache is None)
        return self.proj(seen.transpose(1, 2).flatten(2))


class Feedforward(nn.Module):
    """Two linear layers at each token, with layer normalisation before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.main = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        return self.main(self.norm(x))


class Layer(nn.Module):
    """Attention and feed-forward, each added to what comes."""

    def __init__(self, width: int, head: int) -> None:
        super().__init__()
        self.attention = Attention(width, head)
        self.mlp = Feedforward(width)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """Return a tensor of the same shape, (B, T, width) or (B, 1, width) with a cache."""
        x = x + self.attention(x, cache)
        return x + self.mlp(x)


class Block(nn.Module):
    """One map of the whole sequence: each token shifted and scaled by a function of those before it."""

    def __init__(self, config: TarFlowConfig, backwards: bool) -> None:
        super().__init__()
        self.config = config
        self.backwards = backwards
        self.proj_in = nn.Linear(config.token_size, config.width)
        self.pos_embed = nn.Parameter(torch.randn(config.tokens, config.width) * 0.01)
        if config.classes:
            self.class_embed = nn.Parameter(torch.randn(config.classes, 1, config.width) * 0.01)
        self.attn_blocks = nn.ModuleList(Layer(config.width, config.head) for _ in range(config.layers))
        self.proj_out = nn.Linear(config.width, (1 + config.scaled) * config.token_size)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def order(self, x: Tensor) -> Tensor:
        """Return tokens (..., T, n) in the order that this block goes through them, and back."""
        return x.flip(-2) if self.backwards else x

    def offset(self, labels: Tensor | None) -> Tensor:
        """Return what is added to each token's embedding, (T, width) or (B, T, width), in this block's order."""
        places = self.order(self.pos_embed)
        if not self.config.classes:
            return places
        return places + (self.class_embed.mean(0) if labels is None else self.class_embed[labels])

    def net(self, x: Tensor, offset: Tensor, caches: list[Cache] | None = None) -> Shift:
        """Return log-scale and mean that tokens (B, n, C p^2) give for the tokens after them."""
        h = self.proj_in(x) + offset
        for i, layer in enumerate(self.attn_blocks):
            h = layer(h, caches[i] if caches else None)
        found = self.proj_out(h).to(x.dtype)
        if self.config.scaled:
            a, m = found.chunk(2, 2)
            return a, m
        return torch.zeros_like(found), found

    def forward(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return tokens of the same shape (B, T, C p^2), and the log-determinant, (B,), in nats."""
        x = self.order(x)
        a, m = (F.pad(part[:, :-1], (0, 0, 1, 0)) for part in self.net(x, self.offset(labels)))
        return self.order((x - m) * (-a).exp()), -a.sum((1, 2))

    def inverse(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return x, token after token."""
        z, offset = self.order(z), self.offset(labels)
        caches = [Cache() for _ in self.attn_blocks]
        done = [z[:, :1]]
        for t in range(1, self.config.tokens):
            a, m = self.net(done[-1], offset[..., t - 1 : t, :], caches)
            done.append(z[:, t : t + 1] * a.exp() + m)
        return self.order(torch.cat(done, 1))


class TarFlow(nn.Module):
    """A picture of floats ``x``, (B, C, H, W), to a flat standard-normal latent ``z``, (B, D), patch after patch.

    Each number of the latent lies where its pixel does, so that it has spatial frequencies as a picture has.

    >>> flow = TarFlow(TarFlowConfig(shape=(1, 4, 4), patch=2, width=8, head=4, blocks=2, layers=1))
    >>> z, log_det = flow(torch.rand(2, 1, 4, 4))
    >>> z.shape, log_det.shape, flow.inverse(z).shape
    (torch.Size([2, 16]), torch.Size([2]), torch.Size([2, 1, 4, 4]))
    """

    var: Tensor

    def __init__(self, config: TarFlowConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(Block(config, i % 2 == 1) for i in range(config.blocks))
        self.register_buffer("var", torch.ones(config.tokens, config.token_size))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        return self.config.shape

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """One level, of all D numbers."""
        return (self.config.tokens * self.config.token_size,)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return latents ``z``, (B, D), and ``log |det dz/dx|``, (B,), in nats.

        Args:
            x: pictures, (B, C, H, W).
            labels: classes, (B,) of int64; without them the mean of all classes' embeddings stands for each.
        """
        tokens = self._tokens(x)
        log_det = (-self.var.log().sum() / 2).expand(len(x))
        for block in self.blocks:
            tokens, change = block(tokens, labels)
            log_det = log_det + change
        return self._picture(tokens / self.var.sqrt()).flatten(1), log_det

    def inverse(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return pictures ``x``, (B, C, H, W), from latents ``z``, (B, D)."""
        tokens = self._tokens(z.unflatten(1, self.shape)) * self.var.sqrt()
        for block in reversed(self.blocks):
            tokens = block.inverse(tokens, labels)  # type: ignore[operator]
        return self._picture(tokens)

    def _tokens(self, x: Tensor) -> Tensor:
        """Return the patches (B, T, C p^2) of pictures (B, C, H, W)."""
        return F.pixel_unshuffle(x, self.config.patch).flatten(2).transpose(1, 2)

    def _picture(self, tokens: Tensor) -> Tensor:
        """Undo `_tokens`."""
        rows = self.shape[1] // self.config.patch
        return F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (rows, -1)), self.config.patch)

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the log density of x, (B,), in nats."""
        z, log_det = self(x, labels)
        return log_det - (z.square().sum(1) + z.shape[1] * math.log(2 * math.pi)) / 2

    @torch.inference_mode(False)
    @torch.enable_grad()
    def denoise(self, x: Tensor, noise: float | None = None, labels: Tensor | None = None) -> Tensor:
        """Return the expected picture behind a noisy one, ``x + noise^2 grad log p(x)`` (Tweedie's formula).

        Args:
            x: noisy pictures, (B, C, H, W), such as `inverse` gives.
            noise: standard deviation of the noise of training, in units of x; without it, that of the configuration.
            labels: as `forward` takes them.
        """
        noise = self.config.noise if noise is None else noise
        x = x.detach().clone().requires_grad_()
        (score,) = torch.autograd.grad(self.log_prob(x, labels).sum(), x)
        return (x + noise**2 * score).detach()


def prepare(flow: TarFlow, x: Tensor, generator: torch.Generator) -> tuple[Tensor]:
    """Return pictures (B, C, H, W) with the noise of training; as they are where the flow is in use."""
    if not flow.training or not flow.config.noise:
        return (x,)
    return (x + flow.config.noise * torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype),)


def untrained(config: TarFlowConfig) -> str:
    """Return what training here would leave as it is, "" for nothing: a variance of latents, labels."""
    if not config.scaled:
        return "the variance of latents of a flow of shifts alone (scaled=False)"
    return "the labels of a flow of classes" if config.classes else ""
