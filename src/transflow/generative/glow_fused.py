"""A trained Glow fused for inference: the same map, faster.

What no picture changes is computed once, in double: each step's channel affine map, its inverse, and
the sum of their log-determinants. Memory is channels-last throughout; a coupling changes its half in
place, in memory that its level owns; its network sees slices of the batch whose activations stay in the
processor's cache, in a precision of its own, while all that is added, multiplied and kept is in the flow's.
Which scale and shift a coupling makes of the network's numbers stands in `BoundedCoupling.scale_and_shift` alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from functools import cache
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transflow.devices import multiplies_in_float32, vector_set
from transflow.generative.bijections import BoundedCoupling, ChannelAffine, ConvNet, Coupling
from transflow.generative.glow import Cascade, Glow

SLICE = 2**20  # bytes of a network's widest activations at a time, a thread: those of a layer stay in its cache
FEW = 2**15  # numbers of an input up to which a matrix product is faster than oneDNN's convolution
ONES = [1, 1]  # stride, and dilation
Layout = tuple[Callable[..., Tensor], tuple[object, ...], bool]  # operator, what it takes beside x, whether in pairs


@cache
def fused_operators(device: str, dtype: torch.dtype) -> tuple[Callable[..., Tensor], Callable[..., Tensor]] | None:
    """Return torch's operators that lay weights out and convolve with them, or None where they do not work.

    They are what `torch.compile` emits for processors, and no public interface; so they are tried on
    an example once, and without them all works as before, but slower.
    """
    if device != "cpu" or dtype not in (torch.float32, torch.bfloat16):
        return None
    x = torch.linspace(-1, 1, 32, dtype=dtype).view(1, 2, 4, 4)
    weight, bias = torch.linspace(-1, 1, 36, dtype=dtype).view(2, 2, 3, 3), torch.ones(2, dtype=dtype)
    try:
        pack = torch.ops.mkldnn._reorder_convolution_weight.default
        convolve = torch.ops.mkldnn._convolution_pointwise.default
        packed = pack(weight, ONES, ONES, ONES, 1, x.shape)
        made = convolve(x, packed, bias, ONES, ONES, ONES, 1, "relu", [], "")
    except (AttributeError, RuntimeError, TypeError):
        return None
    expected = F.conv2d(x.float(), weight.float(), bias.float(), padding=1).relu()
    return (pack, convolve) if torch.allclose(made.float(), expected, rtol=0, atol=0.1) else None


class FusedConv(nn.Module):
    """A convolution of stride 1, perhaps with a ReLU after it, by the fastest way that torch has here.

    - Few numbers: one matrix product. oneDNN takes 25 microseconds a call before it multiplies, longer than the work.
    - Else the fused operators: they add bias and ReLU in the same pass, and take weights laid out for the shape of
      their input; the layouts of the last two shapes are kept.
    - Where there are neither, the ordinary convolution.

    All give the same but for rounding.

    Args:
        weight: (outputs, inputs, k, k), k odd.
        bias: (outputs,).
        relu: cut the result at 0.
    """

    weight: Tensor
    bias: Tensor
    rows: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, relu: bool = False) -> None:
        super().__init__()
        outputs, inputs, kernel, _ = weight.shape
        self.relu, self.padding = relu, [kernel // 2] * 2
        self.register_buffer("weight", weight.detach().contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias.detach())
        self.register_buffer("rows", self.weight.permute(0, 2, 3, 1).flatten(1), persistent=False)  # the same memory
        self.operators = fused_operators(weight.device.type, weight.dtype)
        by_product = weight.device.type == "cpu" and weight.dtype != torch.bfloat16 and multiplies_in_float32()
        few = FEW if kernel == 1 else FEW // 8 if outputs > inputs else 0  # windows are copied
        self.few = few if by_product else 0
        self.layouts: dict[torch.Size, Layout] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution, (B, outputs, H, W), of x, (B, inputs, H, W), both in the weights' dtype."""
        if x.numel() <= self.few:
            return self._product(x)
        if (layout := self.layouts.get(x.shape)) is None:
            if self.operators is None or not x.shape[0]:
                made = F.conv2d(x, self.weight, self.bias, padding=self.padding)
                return made.relu_() if self.relu else made
            layout = self._lay_out(x.shape)
        convolve, arguments, in_pairs = layout
        made = convolve(x, *arguments)
        if in_pairs:  # (B, H, W / 2, 2 outputs) is (B, H, W, outputs) in memory
            made = made.permute(0, 2, 3, 1).reshape(x.shape[0], *x.shape[2:], -1).permute(0, 3, 1, 2)
        return made

    __call__ = forward  # nn.Module's own looks for hooks first, a microsecond each time

    def _product(self, x: Tensor) -> Tensor:
        """Return the convolution as a matrix product of the windows around all pixels, a row each, and the weights."""
        windows = x.permute(0, 2, 3, 1)
        if (k := self.weight.shape[3]) > 1:
            windows = windows_of(F.pad(x, 2 * self.padding).permute(0, 2, 3, 1), k)
        made = F.linear(windows, self.rows, self.bias)
        return (made.relu_() if self.relu else made).permute(0, 3, 1, 2)

    def _lay_out(self, shape: torch.Size) -> Layout:
        assert self.operators is not None
        pack, convolve = self.operators
        weight, bias, stride = self.weight, self.bias, ONES
        if in_pairs := shape[3] % 2 == 0 and pays_in_pairs(weight):
            weight, bias, stride = for_pairs(weight), torch.cat([bias, bias]), [1, 2]
        packed = pack(weight, self.padding, stride, ONES, 1, shape)
        after = "relu" if self.relu else "none"
        found: Layout = convolve, (packed, bias, self.padding, stride, ONES, 1, after, [], ""), in_pairs
        self.layouts = dict([*list(self.layouts.items())[-1:], (shape, found)])
        return found


def windows_of(x: Tensor, k: int) -> Tensor:
    """Return the k x k windows of (B, H, W, C), each as one row: (B, H - k + 1, W - k + 1, k k C).

    >>> windows_of(torch.arange(9).view(1, 3, 3, 1), 2).flatten(0, 2).tolist()
    [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]]
    """
    x = x.contiguous()
    (b, h, w, c), (picture, row, pixel, number) = x.shape, x.stride()
    shape, stride = (b, h - k + 1, w - k + 1, k, k * c), (picture, row, pixel, row, number)
    return x.as_strided(shape, stride).flatten(3)


def pays_in_pairs(weight: Tensor) -> bool:
    """Return whether a convolution is faster if it makes two neighbouring pixels at once.

    AVX2 multiplies eight outputs at a time, so 12 outputs cost what 16 cost, while those of two pixels are 24, the
    number at which its registers are used best. But a window of two pixels is wider by one column, and each pixel
    multiplies the column that is not its own by zero. With AVX-512 it was slower, or no faster.
    """
    outputs, _, k, _ = weight.shape
    alone, together = (-(-n * outputs // 8) * (k + n - 1) / n for n in (1, 2))
    return k > 1 and together <= alone and weight.dtype == torch.float32 and vector_set() == "AVX2"


def for_pairs(weight: Tensor) -> Tensor:
    """Return weights (2 outputs, inputs, k, k + 1) that make two neighbouring pixels, at a stride of two."""
    return torch.cat([F.pad(weight, (0, 1)), F.pad(weight, (1, 0))]).contiguous(memory_format=torch.channels_last)


class FusedAffine(nn.Module):
    """``z = A x + b`` at every pixel, with A's inverse and ``log |det A|`` computed once, in double.

    Args:
        trained: the map to fix. Its dtype is kept.
    """

    log_det: Tensor

    def __init__(self, trained: ChannelAffine) -> None:
        super().__init__()
        a, b, log_det = copy.deepcopy(trained).double().folded()
        inverse, like = torch.linalg.inv(a), trained.shift
        self.there = FusedConv(a[:, :, None, None].to(like), b.to(like))
        self.back = FusedConv(inverse[:, :, None, None].to(like), -(inverse @ b).to(like))
        self.register_buffer("log_det", log_det.detach())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant, (B,), in nats."""
        return self.there(x), (self.log_det * (x.shape[-1] * x.shape[-2])).to(x).expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        """Return x."""
        return self.back(z)


class FusedNet(nn.ModuleList):
    """A coupling's network with fixed weights, slice by slice of the batch.

    Args:
        net: the trained network.
        dtype: of its weights and activations.
    """

    def __init__(self, net: ConvNet, dtype: torch.dtype) -> None:
        convs = [
            FusedConv(layer.weight.to(dtype), cast(Tensor, layer.bias).to(dtype), isinstance(after, nn.ReLU))
            for layer, after in pairwise([*net, None])
            if isinstance(layer, nn.Conv2d)
        ]
        super().__init__(convs)
        self.bytes: int = max(conv.bias.nbytes for conv in convs)  # of a pixel, where the network is widest
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """Return the last layer's numbers, in the network's dtype."""
        first, middle, last = self
        x, slice_bytes = x.to(self.dtype), SLICE * torch.get_num_threads()
        most = max(1, slice_bytes // (self.bytes * x.shape[2] * x.shape[3]))
        if x.shape[0] <= most:
            return last(middle(first(x)))
        return torch.cat([last(middle(first(part))) for part in x.split(most)])

    __call__ = forward

    def hidden(self, x: Tensor) -> Tensor:
        """Return what the last layer gets: activations of 0 or more, (B, width, H, W)."""
        first, middle, _ = self
        return middle(first(x.to(self.dtype)))


class FusedCoupling(BoundedCoupling):
    """A coupling fused for inference: it writes its result into its input, and has no gradient.

    So its input must be memory of its caller's own that nobody else reads; `FusedLevel` sees to that.

    Args:
        trained: the coupling to fuse.
        dtype: of its network.
    """

    def __init__(self, trained: Coupling, dtype: torch.dtype) -> None:
        super().__init__(trained.halves, trained.affine, FusedNet(trained.net, dtype))

    def hidden(self, x: Tensor) -> Tensor:
        """Return the hidden activations of the network's last layer, in x's dtype."""
        return super().hidden(x).to(x.dtype)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z, in x's memory, and the log-determinant, (B,), in nats."""
        x_a, x_b = x.split(self.halves, 1)
        s, t = self.scale_and_shift(x_a)
        x_b.add_(t).mul_(s.exp())
        return x, s.sum((1, 2, 3))

    __call__ = forward

    def inverse(self, z: Tensor) -> Tensor:
        """Return x, in z's memory."""
        z_a, z_b = z.split(self.halves, 1)
        s, t = self.scale_and_shift(z_a)
        z_b.mul_((-s).exp()).sub_(t)
        return z


class FusedLevel(Cascade):
    """The steps of one level, channels-last; log-determinants that no picture changes are summed once.

    Couplings write into their input. Every other layer makes a new tensor, so only the first layer to run could write
    into what the level is given: if that is a coupling, the level copies its input first.

    Args:
        layers: fused ones.
        pixels: H W of this level.
    """

    def __init__(self, layers: list[nn.Module], pixels: int) -> None:
        super().__init__(layers)
        self.constant = sum(layer.log_det.item() * pixels for layer in self if isinstance(layer, FusedAffine))

    def begin(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the input channels-last, in memory that the first layer may write into, and the constant, (B,)."""
        return _owned(x, self[0]), x.new_full((len(x),), self.constant)

    def run(self, layers: Iterable[nn.Module], x: Tensor, log_det: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output of some of the layers, and the log-determinant so far with what varies of theirs added."""
        for layer in layers:
            if isinstance(layer, FusedAffine):
                x = layer.there(x)
            else:
                x, change = layer(x)
                log_det = log_det + change
        return x, log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Return x."""
        return super().inverse(_owned(z, self[-1]))


def _owned(x: Tensor, layer: nn.Module) -> Tensor:
    """Return a tensor channels-last, copied if the layer would write into it."""
    if isinstance(layer, FusedCoupling):
        return x.clone(memory_format=torch.channels_last)
    return x.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def fuse(flow: Glow, dtype: torch.dtype | None = None) -> Glow:
    """Return the same flow fused for inference, without gradients; later changes of the flow may not show in it.

    Args:
        flow: the trained flow; it is left as it is.
        dtype: of the coupling networks; None is the flow's own. bfloat16 is about twice as fast where
            the processor knows it, and both directions stay each other's inverse, since they see the
            same network.
    """

    def fix(layer: nn.Module) -> nn.Module:
        if isinstance(layer, ChannelAffine):
            return FusedAffine(layer)
        if isinstance(layer, Coupling):
            return FusedCoupling(layer, dtype or next(layer.parameters()).dtype)
        return copy.deepcopy(layer).requires_grad_(False)

    return flow.with_levels(
        FusedLevel([fix(layer) for layer in cast(Cascade, level)], height * width)
        for level, (_, height, width) in zip(flow.levels, flow.shapes, strict=True)
    )
