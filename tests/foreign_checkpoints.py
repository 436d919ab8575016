"""Other people's checkpoints of random weights, and forward passes written from the formats' descriptions alone.

A reference is as literal as it can be, a function of weights by name and floats x to latents and log p(x): it uses
nothing of the importers.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

WIDTH = 6  # of the networks


class Random:
    """Random weights, by name."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)
        self.weights = {}

    def add(self, name, *shape, scale=0.1, around=0.0):
        self.weights[name] = around + scale * torch.randn(shape, generator=self.generator)

    def rotation(self, n):
        return torch.linalg.qr(torch.randn(n, n, generator=self.generator))[0]

    def lu(self, at, n, names):
        p, lower, upper = torch.linalg.lu(self.rotation(n))
        s = upper.diagonal()
        for name, part in zip(names, (p, lower, upper, s.sign(), s.abs().log()), strict=True):
            self.weights[f"{at}.{name}"] = part.clone()


def gaussian_log_p(x, mean, log_sd):
    return (-0.5 * math.log(2 * math.pi) - log_sd - 0.5 * (x - mean) ** 2 / (2 * log_sd).exp()).sum((1, 2, 3))


def squeezed(x):
    b, c, h, w = x.shape
    return x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(b, 4 * c, h // 2, w // 2)


def from_lu(w, at, names):
    p, lower, upper, sign, log_s = (w[f"{at}.{name}"] for name in names)
    eye = torch.eye(len(p), dtype=p.dtype)
    return p @ (torch.tril(lower, -1) + eye) @ (torch.triu(upper, 1) + torch.diag(sign * log_s.exp())), log_s.sum()


# rosinality: blocks of actnorm (x + loc) scale, LU convolution, (raw, t) in halves, a border of ones


def rosinality_weights(affine=True, lu=True, channels=3, levels=2, steps=2):
    made = Random(0)
    for level in range(levels):
        c = channels * 2 ** (level + 2)
        for step in range(steps):
            at = f"blocks.{level}.flows.{step}"
            made.add(f"{at}.actnorm.loc", 1, c, 1, 1)
            made.add(f"{at}.actnorm.scale", 1, c, 1, 1, scale=0.1, around=-1.0 if step else 1.0)
            made.weights[f"{at}.actnorm.initialized"] = torch.tensor(1, dtype=torch.uint8)
            if lu or level == levels - 1:
                made.lu(f"{at}.invconv", c, ("w_p", "w_l", "w_u", "s_sign", "w_s"))
                mask = torch.triu(torch.ones(c, c), 1)
                made.weights |= {f"{at}.invconv.{n}": m for n, m in (("u_mask", mask), ("l_mask", mask.T.clone()))}
                made.weights[f"{at}.invconv.l_eye"] = torch.eye(c)
            else:
                made.weights[f"{at}.invconv.weight"] = made.rotation(c)[:, :, None, None].clone()
            net, out = f"{at}.coupling.net", c if affine else c // 2
            for name, shape in (
                ("0", (WIDTH, c // 2, 3, 3)),
                ("2", (WIDTH, WIDTH, 1, 1)),
                ("4.conv", (out, WIDTH, 3, 3)),
            ):
                made.add(f"{net}.{name}.weight", *shape)
                made.add(f"{net}.{name}.bias", shape[0])
            made.add(f"{net}.4.scale", 1, out, 1, 1)
        at, split = f"blocks.{level}.prior", level < levels - 1
        made.add(f"{at}.conv.weight", c if split else 2 * c, c // 2 if split else c, 3, 3)
        made.add(f"{at}.conv.bias", c if split else 2 * c)
        made.add(f"{at}.scale", 1, c if split else 2 * c, 1, 1)
    return made.weights


def rosinality_reference(w, x):
    def zero_conv(h, at, scale):
        return F.conv2d(F.pad(h, [1, 1, 1, 1], value=1), w[f"{at}.weight"], w[f"{at}.bias"]) * (w[scale] * 3).exp()

    log_p, latents, levels = torch.zeros(len(x), dtype=x.dtype), [], 1 + max(int(name.split(".")[1]) for name in w)
    for level in range(levels):
        x = squeezed(x)
        pixels = x.shape[2] * x.shape[3]
        for step in range(1 + max(int(n.split(".")[3]) for n in w if n.startswith(f"blocks.{level}.flows"))):
            at = f"blocks.{level}.flows.{step}"
            x = w[f"{at}.actnorm.scale"] * (x + w[f"{at}.actnorm.loc"])
            log_p = log_p + pixels * w[f"{at}.actnorm.scale"].abs().log().sum()
            if f"{at}.invconv.weight" in w:
                matrix = w[f"{at}.invconv.weight"][:, :, 0, 0]
                log_p = log_p + pixels * torch.slogdet(matrix)[1]
            else:
                matrix, log_det = from_lu(w, f"{at}.invconv", ("w_p", "w_l", "w_u", "s_sign", "w_s"))
                log_p = log_p + pixels * log_det
            x = F.conv2d(x, matrix[:, :, None, None])
            a, b = x.chunk(2, 1)
            net = f"{at}.coupling.net"
            h = F.conv2d(a, w[f"{net}.0.weight"], w[f"{net}.0.bias"], padding=1).relu()
            h = F.conv2d(h, w[f"{net}.2.weight"], w[f"{net}.2.bias"]).relu()
            h = zero_conv(h, f"{net}.4.conv", f"{net}.4.scale")
            if h.shape[1] == x.shape[1]:
                log_s, t = h.chunk(2, 1)
                s = torch.sigmoid(log_s + 2)
                x = torch.cat([a, (b + t) * s], 1)
                log_p = log_p + s.log().sum((1, 2, 3))
            else:
                x = torch.cat([a, b + h], 1)
        at = f"blocks.{level}.prior"
        if level < levels - 1:
            x, z = x.chunk(2, 1)
            mean, log_sd = zero_conv(x, f"{at}.conv", f"{at}.scale").chunk(2, 1)
        else:
            z = x
            mean, log_sd = zero_conv(torch.zeros_like(x), f"{at}.conv", f"{at}.scale").chunk(2, 1)
        log_p = log_p + gaussian_log_p(z, mean, log_sd)
        latents.append(((z - mean) / log_sd.exp()).flatten(1))
    return torch.cat(latents, 1), log_p


# chaiyujin and y0ast: a flat list of layers, exp(logs) (x + bias), t even and raw odd


def chaiyujin_weights(affine=True, lu=False, top=True, classes=0, channels=3, levels=2, steps=2, size=8):
    made = Random(1)

    def zero_conv(at, out, inputs):
        made.add(f"{at}.weight", out, inputs, 3, 3)
        made.add(f"{at}.bias", out)
        made.add(f"{at}.logs", out, 1, 1)

    i = 0
    for level in range(levels):
        i, c = i + 1, channels * 2 ** (level + 2)
        for _ in range(steps):
            at = f"flow.layers.{i}"
            made.add(f"{at}.actnorm.bias", 1, c, 1, 1)
            made.add(f"{at}.actnorm.logs", 1, c, 1, 1)
            if lu:
                made.lu(f"{at}.invconv", c, ("p", "l", "u", "sign_s", "log_s"))
            else:
                made.weights[f"{at}.invconv.weight"] = made.rotation(c).clone()
            for j, shape in ((0, (WIDTH, c // 2, 3, 3)), (2, (WIDTH, WIDTH, 1, 1))):
                made.add(f"{at}.f.{j}.weight", *shape)
                made.add(f"{at}.f.{j}.actnorm.bias", 1, WIDTH, 1, 1)
                made.add(f"{at}.f.{j}.actnorm.logs", 1, WIDTH, 1, 1)
            zero_conv(f"{at}.f.4", c if affine else c // 2, WIDTH)
            i += 1
        if level < levels - 1:
            zero_conv(f"flow.layers.{i}.conv", c, c // 2)
            i += 1
    if top:
        zero_conv("learn_top", 2 * c, 2 * c)
    if classes:
        for name, shape in (("ycond", (2 * c, classes)), ("class", (classes, c))):
            made.add(f"project_{name}.weight", *shape)
            made.add(f"project_{name}.bias", shape[0])
            made.add(f"project_{name}.logs", shape[0])
    made.weights["prior_h"] = torch.zeros(5, 2 * c, size >> levels, size >> levels)
    return made.weights


def chaiyujin_reference(w, x, one_hot=None):
    def zero_conv(h, at):
        return F.conv2d(h, w[f"{at}.weight"], w[f"{at}.bias"], padding=1) * (3 * w[f"{at}.logs"]).exp()

    def norm(h, at):
        return (h + w[f"{at}.bias"]) * w[f"{at}.logs"].exp()

    log_p, latents = torch.zeros(len(x), dtype=x.dtype), []
    for i in range(1 + max(int(name.split(".")[2]) for name in w if name.startswith("flow."))):
        at = f"flow.layers.{i}"
        if f"{at}.conv.weight" in w:
            x, z = x.chunk(2, 1)
            h = zero_conv(x, f"{at}.conv")
            mean, logs = h[:, 0::2], h[:, 1::2]
            log_p = log_p + gaussian_log_p(z, mean, logs)
            latents.append(((z - mean) / logs.exp()).flatten(1))
        elif f"{at}.actnorm.bias" in w:
            pixels = x.shape[2] * x.shape[3]
            x = norm(x, f"{at}.actnorm")
            if f"{at}.invconv.weight" in w:
                matrix = w[f"{at}.invconv.weight"]
                log_det = torch.slogdet(matrix)[1]
            else:
                matrix, log_det = from_lu(w, f"{at}.invconv", ("p", "l", "u", "sign_s", "log_s"))
            log_p = log_p + pixels * (log_det + w[f"{at}.actnorm.logs"].sum())
            a, b = F.conv2d(x, matrix[:, :, None, None]).chunk(2, 1)
            h = norm(F.conv2d(a, w[f"{at}.f.0.weight"], padding=1), f"{at}.f.0.actnorm").relu()
            h = norm(F.conv2d(h, w[f"{at}.f.2.weight"]), f"{at}.f.2.actnorm").relu()
            h = zero_conv(h, f"{at}.f.4")
            if h.shape[1] == b.shape[1]:
                b = b + h
            else:
                scale = torch.sigmoid(h[:, 1::2] + 2)
                b = (b + h[:, 0::2]) * scale
                log_p = log_p + scale.log().sum((1, 2, 3))
            x = torch.cat([a, b], 1)
        else:
            x = squeezed(x)
    h = torch.zeros_like(torch.cat([x, x], 1))
    if "learn_top.weight" in w:
        h = zero_conv(h, "learn_top")
    if one_hot is not None:
        y = F.linear(one_hot, w["project_ycond.weight"], w["project_ycond.bias"]) * (3 * w["project_ycond.logs"]).exp()
        h = h + y.view(1, -1, 1, 1)
    mean, logs = h.chunk(2, 1)
    latents.append(((x - mean) / logs.exp()).flatten(1))
    return torch.cat(latents, 1), log_p + gaussian_log_p(x, mean, logs)


def y0ast_weights(**options):
    """As its file has them: convolutions are wrapped, L and U have whole names."""
    made = {}
    for name, tensor in chaiyujin_weights(**options).items():
        at, last = name.rpartition(".")[::2]
        if at.endswith((".f.0", ".f.2", ".f.4", ".conv", "learn_top")) and last in ("weight", "bias"):
            name = f"{at}.conv.{last}"
        if at.startswith("project") and last in ("weight", "bias"):
            name = f"{at}.linear.{last}"
        name = name.replace(".f.", ".block.").replace("learn_top", "learn_top_fn")
        if at.endswith("invconv"):
            name = f"{at}.{ {'l': 'lower', 'u': 'upper'}.get(last, last) }"
        made[name] = tensor[:1] if name == "prior_h" else tensor
    return made


# UvA tutorial: masked couplings of gated convolutions


class UvaGated(nn.Module):
    def __init__(self, c, hidden):
        super().__init__()
        self.net = nn.Sequential(
            UvaConcat(), nn.Conv2d(2 * c, hidden, 3, padding=1), UvaConcat(), nn.Conv2d(2 * hidden, 2 * c, 1)
        )

    def forward(self, x):
        value, gate = self.net(x).chunk(2, 1)
        return x + value * torch.sigmoid(gate)


class UvaConcat(nn.Module):
    def forward(self, x):
        return torch.cat([F.elu(x), F.elu(-x)], 1)


class UvaNorm(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, c, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, c, 1, 1))

    def forward(self, x):
        y = (x - x.mean(1, keepdim=True)) / torch.sqrt(x.var(1, unbiased=False, keepdim=True) + 1e-5)
        return y * self.gamma + self.beta


class UvaNetwork(nn.Module):
    def __init__(self, c, hidden, out):
        super().__init__()
        blocks = [layer for _ in range(2) for layer in (UvaGated(hidden, hidden), UvaNorm(hidden))]
        self.nn = nn.Sequential(
            nn.Conv2d(c, hidden, 3, padding=1), *blocks, UvaConcat(), nn.Conv2d(2 * hidden, out, 3, padding=1)
        )

    def forward(self, x):
        return self.nn(x)


class UvaCoupling(nn.Module):
    def __init__(self, mask, c, inputs=None):
        super().__init__()
        self.network = UvaNetwork(inputs or c, 4, 2 * c)
        self.scaling_factor = nn.Parameter(torch.zeros(c))
        self.register_buffer("mask", mask)

    def forward(self, z, log_p):
        s, t = self.network(z * self.mask).chunk(2, 1)
        fac = self.scaling_factor.exp().view(1, -1, 1, 1)
        s = torch.tanh(s / fac) * fac * (1 - self.mask)
        return (z + t * (1 - self.mask)) * s.exp(), log_p + s.sum((1, 2, 3))


class UvaSqueeze(nn.Module):
    def forward(self, z, log_p):
        return squeezed(z), log_p


class UvaSplit(nn.Module):
    def forward(self, z, log_p):
        z, self.left = z.chunk(2, 1)
        return z, log_p + gaussian_log_p(self.left, torch.zeros(()), torch.zeros(()))


class UvaDequantisation(nn.Module):
    def __init__(self, variational):
        super().__init__()
        if variational:
            self.flows = nn.ModuleList([UvaCoupling(checkerboard(0), 1, 2)])

    def forward(self, u, log_p):  # of pixels in [0, 1], dequantised already
        p = u * (1 - 1e-5) + 0.5 * 1e-5
        change = math.log(1 - 1e-5) * u[0].numel() + (-p.log() - (1 - p).log()).sum((1, 2, 3))
        return p.log() - (1 - p).log(), log_p + change


def checkerboard(flip, size=8):
    mask = torch.fmod(torch.arange(size)[:, None] + torch.arange(size), 2).float().view(1, 1, size, size)
    return 1 - mask if flip else mask


class Uva(nn.Module):
    def __init__(self, multiscale):
        super().__init__()
        layers = [UvaDequantisation(multiscale), *(UvaCoupling(checkerboard(i % 2), 1) for i in range(3))]
        if multiscale:
            for c, between in ((4, [UvaSqueeze()]), (8, [UvaSplit(), UvaSqueeze()])):
                mask = torch.cat([torch.ones(c // 2), torch.zeros(c // 2)]).view(1, c, 1, 1)
                layers += [*between, UvaCoupling(mask, c), UvaCoupling(1 - mask, c)]
        self.flows = nn.ModuleList(layers)


def uva_weights(multiscale):
    torch.manual_seed(2)
    flow = Uva(multiscale)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return {"state_dict": flow.state_dict(), "result": {"test": [{"test_bpd": 1.0}]}}


def uva_reference(found, x):
    """Of logits; the density is of pictures in [0, 1]."""
    flow = Uva(any(name.startswith("flows.0.") for name in found["state_dict"])).double()
    flow.load_state_dict(found["state_dict"])
    log_p = torch.zeros(len(x), dtype=x.dtype)
    x = (x.sigmoid() - 5e-6) / (1 - 1e-5)
    left = []
    for layer in flow.flows:
        x, log_p = layer(x, log_p)
        left += [layer.left.flatten(1)] if isinstance(layer, UvaSplit) else []
    return torch.cat([*left, x.flatten(1)], 1), log_p + gaussian_log_p(x, torch.zeros(()), torch.zeros(()))


# TarFlow: blocks of causal transformers, every second one backwards; outputs shifted by one token


def tarflow_weights(classes=0, scaled=True, channels=3, size=8, patch=2, width=128, blocks=3, layers=2):
    made, tokens, n = Random(3), (size // patch) ** 2, channels * patch**2
    made.add("var", tokens, n, scale=0.0 if scaled else 0.1, around=1.0)
    for block in range(blocks):
        at = f"blocks.{block}"
        made.add(f"{at}.pos_embed", tokens, width)
        made.weights[f"{at}.attn_mask"] = torch.tril(torch.ones(tokens, tokens))
        if classes:
            made.add(f"{at}.class_embed", classes, 1, width)
        shapes = {"proj_in": (width, n), "proj_out": ((1 + scaled) * n, width)}
        for layer in range(layers):
            inner = {"attention.qkv": (3 * width, width), "attention.proj": (width, width)}
            inner |= {"mlp.main.0": (4 * width, width), "mlp.main.2": (width, 4 * width)}
            shapes |= {f"attn_blocks.{layer}.{name}": shape for name, shape in inner.items()}
            for name in ("attention.norm", "mlp.norm"):
                made.add(f"{at}.attn_blocks.{layer}.{name}.weight", width, around=1.0)
                made.add(f"{at}.attn_blocks.{layer}.{name}.bias", width)
        for name, shape in shapes.items():
            made.add(f"{at}.{name}.weight", *shape, scale=0.5 / shape[1] ** 0.5)
            made.add(f"{at}.{name}.bias", shape[0], scale=0.1)
    return made.weights


def tarflow_reference(w, x, label=None, patch=2):
    def linear(h, at):
        return F.linear(h, w[f"{at}.weight"], w[f"{at}.bias"])

    def norm(h, at):
        return F.layer_norm(h, h.shape[-1:], w[f"{at}.weight"], w[f"{at}.bias"])

    shape = x.shape[2:]
    x = F.unfold(x, patch, stride=patch).transpose(1, 2)
    log_dets = 0
    for block in range(1 + max(int(n.split(".")[1]) for n in w if n.startswith("blocks"))):
        at = f"blocks.{block}"
        order = torch.arange(x.shape[1])
        order = order.flip(0) if block % 2 else order
        x = x[:, order]
        h = linear(x, f"{at}.proj_in") + w[f"{at}.pos_embed"][order]
        if f"{at}.class_embed" in w:
            embedding = w[f"{at}.class_embed"]
            h = h + (embedding.mean(0) if label is None else embedding[label])
        for layer in range(1 + max(int(n.split(".")[3]) for n in w if n.startswith(f"{at}.attn_blocks"))):
            inner = f"{at}.attn_blocks.{layer}"
            qkv = linear(norm(h, f"{inner}.attention.norm"), f"{inner}.attention.qkv")
            q, k, v = qkv.reshape(*h.shape[:2], 3 * h.shape[2] // 64, 64).chunk(3, 2)
            scores = torch.einsum("bmhd,bnhd->bmnh", q, k) / 64**0.5
            scores = scores.masked_fill(w[f"{at}.attn_mask"][..., None] == 0, -math.inf)
            seen = torch.einsum("bmnh,bnhd->bmhd", scores.softmax(2), v).flatten(2)
            h = h + linear(seen, f"{inner}.attention.proj")
            m = linear(norm(h, f"{inner}.mlp.norm"), f"{inner}.mlp.main.0")
            h = h + linear(F.gelu(m), f"{inner}.mlp.main.2")
        h = linear(h, f"{at}.proj_out")
        h = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], 1)
        xa, xb = h.chunk(2, 2) if h.shape[2] == 2 * x.shape[2] else (torch.zeros_like(h), h)
        x = ((x - xb) * (-xa).exp())[:, order]
        log_dets = log_dets - xa.mean((1, 2))
    d = x[0].numel()
    base = torch.distributions.Normal(torch.zeros(()).double(), w["var"].sqrt())
    latent = F.fold((x / w["var"].sqrt()).transpose(1, 2), shape, patch, stride=patch)  # as its picture lies
    return latent.flatten(1), base.log_prob(x).sum((1, 2)) + d * log_dets
