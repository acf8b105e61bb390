"""The arithmetic of convolution, forward and backward, without `torch.nn`'s own.

As everywhere in deep learning, "convolution" means cross-correlation: with input :math:`x` of shape
:math:`(B, C, H, W)` and weight :math:`w` of shape :math:`(M, C, k_h, k_w)`, stride :math:`s` and dilation :math:`d`,

.. math:: y_{n,m,i,j} = b_m + \\sum_{c,u,v} w_{m,c,u,v}\\, x_{n,\\,c,\\,si+du,\\,sj+dv},

where `x` has been padded with zeros first. Nothing here calls autograd or ``conv2d`` of PyTorch: the tests and the
chapter compare it with both. Sizes and costs of layers are in :mod:`helpers.convolution`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from helpers import expect
from helpers.convolution import output_size

Pair = int | tuple[int, int]


def patches(
    x: Tensor, kernel_size: Pair, *, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1, value: float = 0.0
) -> Tensor:
    """All windows of a batch of images: entry ``[n, c, i, j, u, v]`` is what entry (u, v) of the window (i, j) covers.

    Parameters
    ----------
    x : Tensor, shape (B, C, H, W)
    kernel_size, stride, padding, dilation : int or pair of int
        As in :func:`output_size`, for both axes or for (rows, columns).
    value : float
        What the padding holds: 0 for a convolution, ``-inf`` for max pooling.

    Returns
    -------
    Tensor, shape (B, C, H_out, W_out, k_h, k_w)

    Examples
    --------
    >>> patches(torch.arange(9.0).reshape(1, 1, 3, 3), 2)[0, 0, 1, 0]
    tensor([[3., 4.],
            [6., 7.]])
    """
    _check_alike(x=x)
    if x.dim() != 4:
        raise ValueError(f"x must have the shape (B, C, H, W); got {tuple(x.shape)}.")
    rows, columns = _indices(x.shape[-2:], kernel_size, stride, padding, dilation)
    (top, left) = _pair(padding)
    padded = torch.nn.functional.pad(x, (left, left, top, top), value=value)
    return padded[:, :, rows[:, None, :, None], columns[None, :, None, :]]


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1
) -> Tensor:
    """The convolution as one matrix product: every window becomes a column, every kernel a row ("im2col").

    K. Chellapilla, S. Puri and P. Simard, *High Performance Convolutional Neural Networks for Document Processing*
    (2006). :func:`conv2d_loops` computes the same.

    Parameters
    ----------
    x : Tensor, shape (B, C, H, W)
    weight : Tensor, shape (M, C, k_h, k_w)
    bias : Tensor, shape (M,), optional
    stride, padding, dilation : int or pair of int

    Returns
    -------
    Tensor, shape (B, M, H_out, W_out)
    """
    _check(x, weight, bias)
    windows = patches(x, tuple(weight.shape[2:]), stride=stride, padding=padding, dilation=dilation)
    n, _, height, width = windows.shape[:4]
    columns = windows.permute(0, 1, 4, 5, 2, 3).reshape(n, weight[0].numel(), height * width)  # (B, C kh kw, positions)
    y = weight.flatten(1) @ columns  # (M, C kh kw) @ (B, C kh kw, positions)
    if bias is not None:
        y = y + bias[:, None]
    return y.reshape(n, len(weight), height, width)


def conv2d_loops(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1
) -> Tensor:
    """The convolution as its definition reads, one output number after the other; parameters as in :func:`conv2d`."""
    _check(x, weight, bias)
    (sh, sw), (ph, pw), (dh, dw) = _pair(stride), _pair(padding), _pair(dilation)
    kh, kw = weight.shape[2:]
    height = output_size(x.shape[2], kh, stride=sh, padding=ph, dilation=dh)
    width = output_size(x.shape[3], kw, stride=sw, padding=pw, dilation=dw)
    padded = x.new_zeros(*x.shape[:2], x.shape[2] + 2 * ph, x.shape[3] + 2 * pw)
    padded[:, :, ph : ph + x.shape[2], pw : pw + x.shape[3]] = x
    y = x.new_zeros(len(x), len(weight), height, width)
    for n in range(len(x)):
        for m in range(len(weight)):
            for i in range(height):
                for j in range(width):
                    total = 0.0 if bias is None else bias[m]
                    for c in range(x.shape[1]):
                        for u in range(kh):
                            for v in range(kw):
                                total = total + weight[m, c, u, v] * padded[n, c, sh * i + dh * u, sw * j + dw * v]
                    y[n, m, i, j] = total
    return y


@dataclass(frozen=True)
class ConvGradients:
    """Gradients of a loss with respect to input, weight and bias; each has the shape of what it belongs to."""

    x: Tensor
    weight: Tensor
    bias: Tensor


def conv2d_gradients(
    x: Tensor, weight: Tensor, dL_dy: Tensor, *, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1
) -> ConvGradients:
    """Backward pass of :func:`conv2d`, without autograd.

    A weight collects each pixel it met times the gradient of the output it helped to make. A pixel collects the same
    with the roles of weight and pixel exchanged; windows that overlap add up.

    Parameters
    ----------
    x : Tensor, shape (B, C, H, W)
    weight : Tensor, shape (M, C, k_h, k_w)
    dL_dy : Tensor, shape (B, M, H_out, W_out)
    stride, padding, dilation : int or pair of int

    Raises
    ------
    ValueError
        If `dL_dy` does not have the shape of the layer's output.
    """
    _check(x, weight, None)
    _check_alike(weight=weight, dL_dy=dL_dy)
    kernel_size = tuple(weight.shape[2:])
    windows = patches(x, kernel_size, stride=stride, padding=padding, dilation=dilation)
    expected = (len(x), len(weight), *windows.shape[2:4])
    if tuple(dL_dy.shape) != expected:
        raise ValueError(f"dL_dy must have the shape of the output, {expected}; got {tuple(dL_dy.shape)}.")
    (ph, pw), (height, width) = _pair(padding), x.shape[-2:]
    dL_dx = x.new_zeros(*x.shape[:2], height + 2 * ph, width + 2 * pw)
    rows, columns = _indices((height, width), kernel_size, stride, padding, dilation)
    shares = torch.einsum("nmij,mcuv->ijuvnc", dL_dy, weight)
    i, j = torch.broadcast_tensors(rows[:, None, :, None], columns[None, :, None, :])
    dL_dx.permute(2, 3, 0, 1).index_put_((i, j), shares, accumulate=True)
    return ConvGradients(
        x=dL_dx[:, :, ph : ph + height, pw : pw + width],
        weight=torch.einsum("nmij,ncijuv->mcuv", dL_dy, windows),
        bias=dL_dy.sum(dim=(0, 2, 3)),
    )


def convolution_matrix(
    kernel: Tensor, input_shape: tuple[int, int], *, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1
) -> Tensor:
    """The matrix M with ``M @ x.flatten() == y.flatten()`` for one channel and one kernel.

    Parameters
    ----------
    kernel : Tensor, shape (k_h, k_w)
    input_shape : pair of int
        Height and width of the image.

    Returns
    -------
    Tensor, shape (H_out * W_out, H * W)
        One row for each output; at stride 1, the next row holds the same weights one pixel further.

    Examples
    --------
    >>> convolution_matrix(torch.tensor([[1.0, 2.0]]), (1, 4))
    tensor([[1., 2., 0., 0.],
            [0., 1., 2., 0.],
            [0., 0., 1., 2.]])
    """
    if any(type(size) is not int or size < 1 for size in _pair(input_shape)):
        raise ValueError(f"input_shape is a height and a width, whole numbers from 1 on; got {input_shape!r}.")
    _check_alike(kernel=kernel)
    pixels = prod(input_shape)
    each = torch.eye(pixels, dtype=kernel.dtype, device=kernel.device).reshape(pixels, 1, *input_shape)
    y = conv2d(each, kernel[None, None], stride=stride, padding=padding, dilation=dilation)
    return y.flatten(1).T


def _pair(value: Pair) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ValueError(f"expected one whole number or a pair of them; got {value!r}.")
    return tuple(value)


def _indices(shape, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> list[Tensor]:
    """For each axis, the padded row (or column) under entry u of window i; shape (windows, entries)."""
    found = []
    for size, k, s, p, d in zip(shape, *map(_pair, (kernel_size, stride, padding, dilation)), strict=True):
        n = output_size(size, k, stride=s, padding=p, dilation=d)
        found.append(s * torch.arange(n)[:, None] + d * torch.arange(k))
    return found


def _check(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    _check_alike(x=x, weight=weight, bias=bias)
    if x.dim() != 4 or weight.dim() != 4 or x.shape[1] != weight.shape[1] or not len(weight):
        raise ValueError(
            f"x must have the shape (B, C, H, W) and weight (M, C, kh, kw), M 1 or more, with the same C; "
            f"got {tuple(x.shape)} and {tuple(weight.shape)}."
        )
    if bias is not None and tuple(bias.shape) != (len(weight),):
        raise ValueError(f"bias must have the shape {(len(weight),)}; got {tuple(bias.shape)}.")


def _check_alike(**given: Tensor | None) -> None:
    """Raise unless the tensors have one dtype, of floating-point or of whole numbers, and lie on one device."""
    expect.numbers(**given)
    tensors = {name: tensor for name, tensor in given.items() if tensor is not None}
    if any(tensor.dtype != torch.int64 for tensor in tensors.values()):
        expect.floats(**tensors)
