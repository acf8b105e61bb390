"""Convolutional residual networks, built so that torchvision's weights fit in order.

The blocks are those of K. He, X. Zhang, S. Ren and J. Sun, *Deep Residual Learning for Image Recognition*, CVPR 2016,
and *Identity Mappings in Deep Residual Networks*, ECCV 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers import expect

SHORTCUTS = ("padding", "projection")


def conv(c_in: int, c_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Make a convolution without bias (the normalisation after it has one) that keeps the size if `stride` is 1."""
    expect.whole(c_in=c_in, c_out=c_out, size=size, stride=stride, least=1)
    return nn.Conv2d(c_in, c_out, size, stride, padding=size // 2, bias=False)


class PadShortcut(nn.Module):
    """Option A of He et al. (2016, section 3.3): every `stride`-th pixel, missing channels are zero; no parameters."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.missing, self.stride = c_out - c_in, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.missing))


def shortcut(c_in: int, c_out: int, stride: int, kind: str = "projection", *, norm: bool = True) -> nn.Module:
    """Make the path around a block: the identity where shapes agree, else zero padding (A) or a projection (B).

    Examples
    --------
    >>> shortcut(64, 64, 1)
    Identity()
    >>> sum(p.numel() for p in shortcut(64, 128, 2).parameters())  # 64 · 128 weights, 128 scales, 128 shifts
    8448
    """
    expect.whole(c_in=c_in, c_out=c_out, stride=stride, least=1)
    if kind not in SHORTCUTS:
        raise ValueError(f"kind is one of {', '.join(SHORTCUTS)}, not {kind!r}")
    if c_in == c_out and stride == 1:
        return nn.Identity()
    if kind == "padding":
        if c_out < c_in:
            raise ValueError(f"zero padding cannot take channels away: {c_in} in, {c_out} out")
        return PadShortcut(c_in, c_out, stride)
    return nn.Sequential(conv(c_in, c_out, 1, stride), nn.BatchNorm2d(c_out)) if norm else conv(c_in, c_out, 1, stride)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and the path around them; ReLU after the addition.

    Input of shape (n, c_in, h, w), output of shape (n, width, h / stride, w / stride), rounded up.
    """

    expansion = 1

    def __init__(self, c_in: int, width: int, stride: int = 1, kind: str = "projection") -> None:
        super().__init__()
        self.branch = nn.Sequential(
            conv(c_in, width, 3, stride), nn.BatchNorm2d(width), nn.ReLU(),
            conv(width, width, 3), nn.BatchNorm2d(width),
        )  # fmt: skip
        self.shortcut = shortcut(c_in, width, stride, kind)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.shortcut(x) + self.branch(x))


class Bottleneck(nn.Module):
    """Down to `width` channels, a 3 x 3 convolution there, and up to 4 `width`; the stride is in the 3 x 3."""

    expansion = 4

    def __init__(self, c_in: int, width: int, stride: int = 1, kind: str = "projection") -> None:
        super().__init__()
        self.branch = nn.Sequential(
            conv(c_in, width, 1), nn.BatchNorm2d(width), nn.ReLU(),
            conv(width, width, 3, stride), nn.BatchNorm2d(width), nn.ReLU(),
            conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width),
        )  # fmt: skip
        self.shortcut = shortcut(c_in, 4 * width, stride, kind)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.shortcut(x) + self.branch(x))


class PreActivationBlock(nn.Module):
    """Normalisation and ReLU before each convolution, nothing after the addition (He et al., ECCV 2016, figure 4e)."""

    expansion = 1

    def __init__(self, c_in: int, width: int, stride: int = 1, kind: str = "projection") -> None:
        super().__init__()
        expect.whole(c_in=c_in, least=1)
        self.before = nn.Sequential(nn.BatchNorm2d(c_in), nn.ReLU())
        self.branch = nn.Sequential(
            conv(c_in, width, 3, stride), nn.BatchNorm2d(width), nn.ReLU(), conv(width, width, 3)
        )
        self.shortcut = shortcut(c_in, width, stride, kind, norm=False)

    def forward(self, x: Tensor) -> Tensor:
        a = self.before(x)
        return self.shortcut(a if isinstance(self.shortcut, nn.Conv2d) else x) + self.branch(a)


def resnet(
    counts: Sequence[int], block: type[nn.Module] = BasicBlock, *, classes: int = 1000, kind: str = "projection"
) -> nn.Sequential:
    """Build the ImageNet network of He et al. (CVPR 2016, table 1): stem, four stages, mean over pixels, dense layer.

    Parameters
    ----------
    counts : sequence of four int
        Blocks in each stage: (2, 2, 2, 2) is ResNet-18, (3, 4, 6, 3) ResNet-34, or ResNet-50 with `Bottleneck`.
    block : BasicBlock or Bottleneck
        Any class with their arguments, an attribute ``expansion``, and ReLU as its last operation.
    classes : int
    kind : {"projection", "padding"}
        The shortcut where the shape changes.

    Returns
    -------
    nn.Sequential
        From images (n, 3, h, w) to logits (n, classes). Its ``state_dict`` has the order of torchvision's.

    Examples
    --------
    >>> sum(p.numel() for p in resnet((2, 2, 2, 2)).parameters())
    11689512
    """
    if len(counts) != 4 or not all(isinstance(count, int) and count > 0 for count in counts):
        raise ValueError(f"counts names the blocks of four stages, such as (2, 2, 2, 2), not {counts!r}")
    expect.whole(classes=classes, least=1)
    parts = [conv(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]
    c = 64
    for stage, count in enumerate(counts):
        width = 64 * 2**stage
        for i in range(count):
            stride = 2 if stage > 0 and i == 0 else 1
            parts.append(block(c, width, stride, kind))
            c = width * block.expansion
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, classes))
