"""Files of normflows against the library that wrote them."""

import pytest
import torch

from transflow.adapters.checkpoints import load
from transflow.pictures.pixels import PixelFormat

nf = pytest.importorskip("normflows")
pytestmark = pytest.mark.filterwarnings("ignore:torch.lu is deprecated")  # what the library uses
SHAPE, PIXELS = (3, 8, 8), PixelFormat(8, 0.0, 1.0)


def base(kind, shape):
    if kind == "pixel":
        return nf.distributions.DiagGaussian(shape)
    if kind == "class":
        return nf.distributions.ClassCondDiagGaussian(shape, 4)
    return nf.distributions.GlowBase(shape, num_classes=4 if kind == "channel, class" else None)


def built(kind="pixel", levels=2, steps=2, **block):
    """A `MultiscaleFlow` as the library's Glow example has it, moved away from what it starts as."""
    torch.manual_seed(0)
    q0, merges, flows = [], [], []
    for i in range(levels):
        channels = 3 * 2 ** (levels + 1 - i)
        flows.append([nf.flows.GlowBlock(channels, 6, **block) for _ in range(steps)] + [nf.flows.Squeeze()])
        side = 8 >> (levels - i)
        if i:
            merges.append(nf.flows.Merge())
        shape = (channels, side, side) if not i else (channels // 2, side, side)
        q0.append(base(kind, shape))
    flow = nf.MultiscaleFlow(q0, flows, merges, class_cond="class" in kind)
    with torch.no_grad():
        flow.log_prob(torch.rand(32, *SHAPE), torch.zeros(32, dtype=torch.long))  # the first batch initialises actnorms
        for parameter in flow.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return flow.eval()


CASES = {
    "pixel": ({}, {}),
    "three levels, plain convolutions": ({"levels": 3, "steps": 1, "use_lu": False}, {}),
    "actnorm in networks": ({"net_actnorm": True}, {}),
    "exp": ({"scale_map": "exp"}, {"scale_map": "exp"}),
    "sigmoid_inv": ({"scale_map": "sigmoid_inv"}, {"scale_map": "sigmoid_inv"}),
    "additive": ({"scale": False}, {"scale_map": None}),
    "class": ({"kind": "class"}, {"label": 2}),
    "channel": ({"kind": "channel"}, {"shape": SHAPE}),
    "channel, class": ({"kind": "channel, class"}, {"shape": SHAPE, "label": 3}),
}


@pytest.mark.parametrize("name", CASES)
def test_density_and_latents_are_those_of_the_library(tmp_path, name):
    options, given = CASES[name]
    flow = built(**options)
    flow.save(tmp_path / "flow.pt")
    source = load(tmp_path / "flow.pt", pixels=PIXELS, dtype=torch.float64, **{"scale_map": "sigmoid", **given})
    pictures = torch.randint(0, 256, (3, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    x = PIXELS.centre(pictures).double()
    label = torch.full((3,), given.get("label", 0))
    with torch.no_grad():
        log_p = flow.double().log_prob(x, label)
        parts, _ = flow.inverse_and_log_det(x)
    latents, log_prob = source.encode_and_log_prob(pictures)
    torch.testing.assert_close(log_prob, log_p, rtol=1e-7, atol=1e-4)
    for i, (part, found) in enumerate(zip(reversed(parts), latents.split(source.level_sizes, 1), strict=True)):
        q = flow.q0[len(parts) - 1 - i]
        drawn = (part.flatten(1) - found * slope(q, part, label)).detach()  # the base's mean, the same for all pictures
        torch.testing.assert_close(drawn, drawn[:1].expand_as(drawn))
    decoded = source.decode(latents)
    torch.testing.assert_close(decoded, x, rtol=0, atol=1e-9)


def slope(q, part, label):
    """The standard deviation of a base at each number, by the second derivative of its log density."""
    at = part.detach().clone().requires_grad_()
    log_p = (
        q.log_prob(at, label)
        if isinstance(q, nf.distributions.ClassCondDiagGaussian) or (getattr(q, "class_cond", False))
        else q.log_prob(at)
    )
    (first,) = torch.autograd.grad(log_p.sum(), at, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), at)
    return (-second).rsqrt().flatten(1)


def test_what_the_file_does_not_say_is_asked_for(tmp_path):
    built().save(tmp_path / "flow.pt")
    with pytest.raises(ValueError, match="Expected pixels=PixelFormat"):
        load(tmp_path / "flow.pt")
    with pytest.raises(ValueError, match="Expected scale_map= sigmoid, sigmoid_inv, exp"):
        load(tmp_path / "flow.pt", pixels=PIXELS)
    built("class").save(tmp_path / "flow.pt")
    with pytest.raises(ValueError, match="Expected label="):
        load(tmp_path / "flow.pt", pixels=PIXELS, scale_map="sigmoid")
    built("channel").save(tmp_path / "flow.pt")
    with pytest.raises(ValueError, match=r"Expected shape=\(3, height, width\)"):
        load(tmp_path / "flow.pt", pixels=PIXELS, scale_map="sigmoid")


def test_other_couplings_and_fresh_layers_are_refused(tmp_path):
    built(split_mode="checkerboard").save(tmp_path / "flow.pt")
    with pytest.raises(ValueError, match="see the first half"):
        load(tmp_path / "flow.pt", pixels=PIXELS, scale_map="sigmoid")
    flow = built()
    flow.flows[0][0].flows[2].data_dep_init_done.zero_()
    flow.save(tmp_path / "flow.pt")
    with pytest.raises(ValueError, match="never initialised"):
        load(tmp_path / "flow.pt", pixels=PIXELS, scale_map="sigmoid")
