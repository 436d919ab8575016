"""Convolutions with fixed weights, each by the fastest way that torch has for so many numbers on this processor."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transflow.devices import multiplies_in_float32, vector_set

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
    x = torch.linspace(-1, 1, 32, dtype=dtype, device="cpu").view(1, 2, 4, 4)
    weight, bias = torch.linspace(-1, 1, 36, dtype=dtype, device="cpu").view(2, 2, 3, 3), x.new_ones(2)
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
