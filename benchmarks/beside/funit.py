"""FUNIT: the content of one picture, the class of a few, for a class that training had no picture of.

    G(x, y_1..y_K) = decoder(content(x), code),  code = mean_k class(y_k),
        the decoder's AdaIN(h) = deviation * (h - mean(h)) / std(h) + mean,  with (mean, deviation) = MLP(code)
    D has one output a training class c, and learns by hinge   E max(0, 1 - D_c(y)) + E max(0, 1 + D_c(G(x, y))) + R1(y)
    G learns  -E D_c(G(x, y)) + |G(x, x) - x|_1 + |f(G(x, y)) - mean_k f(y_k)|_1 + |f(G(x, x)) - f(x)|_1,
        where f is D before its last layer, mean over places; the adversarial term is the mean over G(x, y) and G(x, x).

A class of training is a group of photographs with the same attributes (smiling with make-up, fair hair alone, none of
them, ...); an attribute under trial is none of those that are asked, and pictures that have it are not among the
photographs. The code of the evidence, the mean over its 24 pictures, then steers the translation of the samples;
nothing is trained on it. As in the authors' code, a class is shown by one picture in training, weights begin as He has
them, RMSProp trains, the moving average of the trained translator is used, and R1 is of the batch's mean verdict. The
networks have their layers, with a downsampling fewer (two in the judge) and fewer channels. Ten minutes are less than a
hundredth of their steps: so the rate is five times theirs, after a warm-up, and the reconstruction weighs ten times as
much, or the translator would not have learnt to make a face before the judge drives it.

Reference: M.-Y. Liu, X. Huang, A. Mallya, T. Karras, T. Aila, J. Lehtinen, J. Kautz, "Few-Shot Unsupervised
Image-to-Image Translation", ICCV 2019, arXiv 1905.01723.
"""

from __future__ import annotations

import copy
import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from method import Meter, Method, Result, Task, signed, timed, trained, unsigned

WIDTH, CODE, BATCH, SHOTS, LEAST = 16, 64, 8, 1, 8
RATE, WARMUP, DECAY, AVERAGE = 5e-4, 100, 1e-4, 0.995
RECONSTRUCTION, FEATURES, R1 = 1.0, 1.0, 10.0
PASSES = 3 * (SHOTS + 6) + (SHOTS + 1) + (7 + 3)  # of a picture in a step: G and what judges it; reals' f; D with R1


def convolution(inner: int, outer: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution that mirrors the picture at its edges."""
    return nn.Conv2d(inner, outer, size, stride, (size - 1) // 2, padding_mode="reflect")


def begin(module: nn.Module) -> None:
    """Draw weights as He has them, without a bias."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def adain(h: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Give each channel of h (n, c, H, W) a mean and a deviation (n, c) over its places."""
    return F.instance_norm(h) * deviation[..., None, None] + mean[..., None, None]


class Residual(nn.Module):
    """h + convolutions of h, with instance norm, or, where statistics (n, 4, c) are given, with AdaIN."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = convolution(width, width, 3), convolution(width, width, 3)

    def forward(self, h: Tensor, statistics: Tensor | None = None) -> Tensor:
        plain = h.new_tensor([0.0, 1.0, 0.0, 1.0])[None, :, None].expand(len(h), 4, h.shape[1])
        s = (plain if statistics is None else statistics).unbind(1)
        return h + adain(self.second(F.relu(adain(self.first(h), s[0], s[1]))), s[2], s[3])


class Translator(nn.Module):
    """G: an encoder of content, an encoder of class, and the decoder that class codes steer."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        w, deep = width, 4 * width
        self.content = nn.Sequential(
            *(convolution(3, w, 7), nn.InstanceNorm2d(w), nn.ReLU()),
            *(convolution(w, 2 * w, 4, 2), nn.InstanceNorm2d(2 * w), nn.ReLU()),
            *(convolution(2 * w, deep, 4, 2), nn.InstanceNorm2d(deep), nn.ReLU()),
            *(Residual(deep), Residual(deep)),
        )
        self.kind = nn.Sequential(
            *(convolution(3, w, 7), nn.ReLU(), convolution(w, 2 * w, 4, 2), nn.ReLU()),
            *(convolution(2 * w, deep, 4, 2), nn.ReLU(), convolution(deep, deep, 4, 2), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(deep, CODE)),
        )
        self.steer = nn.Sequential(
            *(nn.Linear(CODE, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()),
            *(nn.Linear(128, 2 * 4 * deep), nn.Unflatten(1, (2, 4, deep))),
        )
        self.blocks = nn.ModuleList([Residual(deep), Residual(deep)])
        self.rest = nn.Sequential(
            *(nn.Upsample(scale_factor=2), convolution(deep, 2 * w, 5), nn.InstanceNorm2d(2 * w), nn.ReLU()),
            *(nn.Upsample(scale_factor=2), convolution(2 * w, w, 5), nn.InstanceNorm2d(w), nn.ReLU()),
            *(convolution(w, 3, 7), nn.Tanh()),
        )

    def code(self, pictures: Tensor) -> Tensor:
        """Return the mean of the codes (n, CODE) of classes given by K pictures each, (n, K, 3, 32, 32)."""
        return self.kind(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2]).mean(1)

    def decode(self, content: Tensor, code: Tensor) -> Tensor:
        h = content
        for block, statistics in zip(self.blocks, self.steer(code).unbind(1), strict=True):
            h = block(h, statistics)
        return self.rest(h)


class Judging(nn.Module):
    """A residual block of the discriminator, which begins with its nonlinearity."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.first, self.second = convolution(inner, inner, 3), convolution(inner, outer, 3)
        self.past = nn.Conv2d(inner, outer, 1, bias=False) if inner != outer else nn.Identity()

    def forward(self, h: Tensor) -> Tensor:
        return self.past(h) + self.second(F.leaky_relu(self.first(F.leaky_relu(h, 0.2)), 0.2))


class Judge(nn.Module):
    """D: one verdict a class on each of 8 x 8 places, and the features f."""

    def __init__(self, classes: int, width: int = WIDTH) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = [convolution(3, width, 7)]
        for inner, outer in itertools.pairwise(widths):
            layers += [Judging(inner, inner), Judging(inner, outer), nn.AvgPool2d(2)]
        self.features, self.last = nn.Sequential(*layers[:-1]), nn.Conv2d(widths[-1], classes, 1)

    def forward(self, pictures: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the verdicts (n, 8, 8) about classes (n,), and f (n, c)."""
        h = self.features(pictures)
        return self.last(F.leaky_relu(h, 0.2))[torch.arange(len(h)), classes], h.mean((2, 3))


def classes_of(groups: Tensor, least: int = LEAST) -> list[Tensor]:
    """Return the rows of each class: those of the same attributes (n, a), where there are at least so many."""
    _, which, counts = groups.unique(dim=0, return_inverse=True, return_counts=True)
    return [torch.nonzero(which == c).flatten() for c in torch.nonzero(counts >= least).flatten()]


def run(task: Task) -> Result:
    meter = Meter()
    asked = [i for i, name in enumerate(task.group_names) if name != task.kind]
    classes = classes_of(task.groups[:, asked]) if asked else []
    if len(classes) < 2:
        raise ValueError(
            f"Expected groups of two classes or more; got {len(classes)}. Give Task.groups and group_names."
        )
    net, judge = Translator().apply(begin), Judge(len(classes)).apply(begin)
    used = copy.deepcopy(net).requires_grad_(False)
    making, judging = (torch.optim.RMSprop(m.parameters(), RATE, weight_decay=DECAY) for m in (net, judge))

    def drawn(shots: int) -> tuple[Tensor, Tensor]:
        """Draw pictures (BATCH, shots, 3, 32, 32), some mirrored, each row of one class, and the classes."""
        which = torch.randint(len(classes), (BATCH,))
        rows = torch.stack([classes[c][torch.randint(len(classes[c]), (shots,))] for c in which])
        x = signed(task.others[rows])
        return torch.where(torch.rand(BATCH, shots, 1, 1, 1) < 0.5, x.flip(4), x), which

    def step(i: int) -> float:
        for group in (*making.param_groups, *judging.param_groups):
            group["lr"] = RATE * min(1.0, (i + 1) / WARMUP)
        (x, of_x), (y, of_y) = drawn(1), drawn(SHOTS)
        content, own = net.content(x[:, 0]), net.code(x)
        changed, again = net.decode(content, net.code(y)), net.decode(content, own)

        judge.requires_grad_(True)
        real = y[:, 0].clone().requires_grad_(True)
        verdict, _ = judge(real, of_y)
        (slope,) = torch.autograd.grad(verdict.mean(), real, create_graph=True)
        hinge = F.relu(1 - verdict).mean() + F.relu(1 + judge(changed.detach(), of_y)[0]).mean()
        judging.zero_grad()
        (hinge + R1 * slope.square().sum() / BATCH).backward()
        judging.step()

        judge.requires_grad_(False)
        (good, f), (well, f_again) = judge(changed, of_y), judge(again, of_x)
        f_y = judge(y.flatten(0, 1), of_y.repeat_interleave(SHOTS))[1].unflatten(0, (BATCH, SHOTS)).mean(1)
        matching = F.l1_loss(f, f_y) + F.l1_loss(f_again, judge(x[:, 0], of_x)[1])
        loss = -(good.mean() + well.mean()) / 2 + RECONSTRUCTION * F.l1_loss(again, x[:, 0]) + FEATURES * matching
        making.zero_grad()
        loss.backward()
        making.step()
        for average, weight in zip(used.parameters(), net.parameters(), strict=True):
            average.lerp_(weight.detach(), 1 - min(AVERAGE, (i + 1) / (i + 10)))  # forgets how it began
        return float(loss.detach())

    fit = trained(task, "funit", step, {"net": net, "judge": judge, "used": used, "making": making, "judging": judging})
    with torch.no_grad():
        code, before = timed(lambda: used.code(signed(task.evidence)[None]))
        content = signed(task.sources)
        made, seconds = timed(lambda: unsigned(used.decode(used.content(content), code.expand(len(content), -1))))
    each = seconds / len(made)
    passes = fit.steps * PASSES * BATCH + len(task.evidence) + 2
    return Result(made, True, fit.seconds + before + each, each, passes, meter.gigabytes)


METHODS = (
    Method(
        "FUNIT, 24 pictures",
        "Liu et al. 2019, arXiv 1905.01723",
        run,
        "labelled classes of training, weights of four losses, rates, minutes; a new class needs no tuning",
        frozenset({"interpolation"}),
    ),
)
