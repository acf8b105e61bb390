"""What convolution layers make of a shape and what they cost: sizes, receptive fields, parameters, multiply-adds.

Sizes are those of V. Dumoulin and F. Visin, *A guide to convolution arithmetic for deep learning* (arXiv:1603.07285);
receptive fields those of A. Araujo, W. Norris and J. Sim, *Computing Receptive Fields of Convolutional Neural
Networks* (Distill, 2019). The arithmetic itself is in :mod:`helpers.conv_arithmetic`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from helpers import expect

_WINDOWS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_MEANS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)  # they have no dilation
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.modules.instancenorm._InstanceNorm)
_POINTWISE = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh,
    nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm,
)  # fmt: skip


def output_size(size: int, kernel_size: int, *, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """How many positions a window has along one axis.

    .. math:: \\left\\lfloor \\frac{A + 2p - d(k - 1) - 1}{s} \\right\\rfloor + 1

    Parameters
    ----------
    size, kernel_size : int
        Length of the input and of the kernel, in pixels; odd or even.
    stride, padding, dilation : int
        Step between windows, zeros added at *each* end, distance between neighbouring entries of the kernel.

    Raises
    ------
    ValueError
        If an argument is too small, or if the kernel does not fit into the padded input.

    Examples
    --------
    >>> output_size(5, 3), output_size(5, 3, padding=1), output_size(5, 3, stride=2), output_size(10, 4)
    (3, 5, 2, 7)
    """
    for name, value, least in (
        ("size", size, 1),
        ("kernel_size", kernel_size, 1),
        ("stride", stride, 1),
        ("padding", padding, 0),
        ("dilation", dilation, 1),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be a whole number from {least} on; got {value!r}.")
    span = dilation * (kernel_size - 1) + 1
    if size + 2 * padding < span:
        raise ValueError(f"the kernel spans {span} pixels, the padded input has only {size + 2 * padding}.")
    return (size + 2 * padding - span) // stride + 1


@dataclass(frozen=True)
class ReceptiveField:
    """What one number of a feature map sees of the input, along one axis, in pixels.

    Attributes
    ----------
    size : int
        From the first pixel it depends on to the last one, both counted.
    jump : int
        How far apart in the input two neighbours of the feature map look: the product of all strides.
    """

    size: int
    jump: int


def receptive_field(layers: Iterable[nn.Module | tuple[int, ...]]) -> ReceptiveField:
    """The receptive field after a chain of layers: each adds ``dilation (kernel_size - 1)`` jumps to the size.

    Parameters
    ----------
    layers : iterable of nn.Module or tuple of int
        Convolutions, pooling, and layers that act on each position by itself, from input to output; an
        ``nn.Sequential`` counts as its layers. A tuple is ``(kernel_size,)``, ``(kernel_size, stride)`` or
        ``(kernel_size, stride, dilation)``. Batch norm acts on each position by itself as it does in ``eval()``.

    Raises
    ------
    TypeError
        If a layer is none of these (a branch, `nn.Flatten`, `nn.Linear`, adaptive pooling).
    ValueError
        If a kernel is not square.

    Examples
    --------
    >>> receptive_field([(3,), (3,), (3,)])
    ReceptiveField(size=7, jump=1)
    >>> receptive_field([nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3)])
    ReceptiveField(size=8, jump=2)
    """
    size, jump = 1, 1
    for kernel_size, stride, dilation in _windows(layers):
        size += dilation * (kernel_size - 1) * jump
        jump *= stride
    return ReceptiveField(size, jump)


def _windows(layers: Iterable[nn.Module | tuple[int, ...]]) -> Iterable[tuple[int, int, int]]:
    for layer in layers:
        if isinstance(layer, tuple) and 1 <= len(layer) <= 3:
            expect.whole(**dict(zip(("kernel_size", "stride", "dilation"), layer, strict=False)), least=1)
            yield (*layer, 1, 1)[:3] if len(layer) < 3 else layer
        elif isinstance(layer, nn.Sequential):
            yield from _windows(layer)
        elif isinstance(layer, _WINDOWS + _MEANS):
            values = [_same(layer, name) for name in ("kernel_size", "stride")]
            yield (*values, 1 if isinstance(layer, _MEANS) else _same(layer, "dilation"))
        elif not isinstance(layer, _POINTWISE):
            raise TypeError(f"a receptive field needs convolutions, pooling or layers of each position; got {layer!r}.")


def _same(layer: nn.Module, name: str) -> int:
    value = getattr(layer, name)
    values = {value} if isinstance(value, int) else set(value)
    if len(values) != 1:
        raise ValueError(f"{name} must be the same along every axis; {layer!r} has {value}.")
    return values.pop()


@dataclass(frozen=True)
class LayerCost:
    """One call of one layer, for one example.

    Attributes
    ----------
    name : str
        The layer's name in the model, such as "0" or "block.conv1"; empty if the layer is the model.
    kind : str
        Its class, such as "Conv2d".
    output_shape : tuple of int
        Without the batch.
    parameters : int
        The layer's own parameters, counted at its first call.
    multiply_adds : int
        Multiplications, each with its addition, of weights and numbers; 0 for what has no weights to multiply by.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


def layer_table(model: nn.Module, input_shape: tuple[int, ...]) -> tuple[LayerCost, ...]:
    """Send zeros through a model and note what each of its layers puts out and costs.

    A convolution with C input channels, g groups and n numbers in its output costs ``n * (C / g) * kernel pixels``
    multiply-adds, also where the kernel lies on padding; a linear layer its inputs times its outputs. Additions of a
    bias, pooling, activations and normalisation (which at inference is absorbed by the layer before it) count nothing.
    What a model calls as a function, such as ``F.relu``, is not seen.

    Parameters
    ----------
    model : nn.Module
        It is run in ``eval()`` and without gradients, and left as it was.
    input_shape : tuple of int
        Of one example, without the batch, such as (1, 28, 28).

    Raises
    ------
    TypeError
        If a layer has parameters and is of a kind that this function cannot count, such as an `nn.LSTM`.
    ValueError
        If some parameters belong to no layer that was called.

    Examples
    --------
    >>> layer_table(nn.Conv2d(3, 8, 5), (3, 32, 32))
    (LayerCost(name='', kind='Conv2d', output_shape=(8, 28, 28), parameters=608, multiply_adds=470400),)
    """
    expect.whole(**{f"input_shape_{i}": size for i, size in enumerate(input_shape)}, least=1)
    rows: list[LayerCost] = []
    met: set[int] = set()

    def note(name: str, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        multiply_adds = _multiply_adds(module, inputs, output)
        if not isinstance(output, Tensor):
            raise TypeError(f"a layer must return one tensor; {type(module).__name__} {name!r} does not.")
        own = [p for p in _own(module) if id(p) not in met]
        met.update(map(id, own))
        cost = LayerCost(
            name=name,
            kind=type(module).__name__,
            output_shape=tuple(output.shape[1:]),
            parameters=sum(p.numel() for p in own),
            multiply_adds=multiply_adds,
        )
        rows.append(cost)

    handles, modes = [], [(module, module.training) for module in model.modules()]
    try:
        for name, module in model.named_modules():
            if next(module.children(), None) is None or _own(module):
                handles.append(module.register_forward_hook(lambda m, i, o, name=name: note(name, m, i, o)))
        model.eval()
        first = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
        with torch.no_grad():
            model(torch.zeros(1, *input_shape, dtype=first.dtype, device=first.device))
    except RuntimeError as error:
        raise ValueError(f"the model does not take an example of shape {tuple(input_shape)}: {error}") from error
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
    missed = [name for name, p in model.named_parameters() if id(p) not in met]
    if missed:
        raise ValueError(f"these parameters belong to no layer that was called: {', '.join(missed)}.")
    return tuple(rows)


def _own(module: nn.Module) -> list[nn.Parameter]:
    return list(module.parameters(recurse=False))


def _multiply_adds(module: nn.Module, inputs: tuple, output: Tensor) -> int:
    if isinstance(module, _CONVOLUTIONS):
        return output[0].numel() * module.in_channels // module.groups * prod(module.kernel_size)
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        return inputs[0][0].numel() * module.out_channels // module.groups * prod(module.kernel_size)
    if isinstance(module, nn.Linear):
        return output[0].numel() * module.in_features
    if isinstance(module, (*_NORMS, nn.PReLU)) or not _own(module):
        return 0
    raise TypeError(f"multiply-adds of a {type(module).__name__} cannot be counted here: {module!r}.")


def summary(model: nn.Module, input_shape: tuple[int, ...]) -> str:
    """The rows of :func:`layer_table` and their sums, as aligned text.

    Examples
    --------
    >>> print(summary(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)), (1, 8, 8)))
    layer        output shape  parameters  multiply-adds
    0 Conv2d     4 x 6 x 6             40          1,296
    1 ReLU       4 x 6 x 6              0              0
    2 Flatten    144                    0              0
    3 Linear     10                 1,450          1,440
    together                        1,490          2,736
    """
    table = layer_table(model, input_shape)
    lines = [("layer", "output shape", "parameters", "multiply-adds")]
    for row in table:
        shape = " x ".join(map(str, row.output_shape))
        lines.append((f"{row.name} {row.kind}".strip(), shape, f"{row.parameters:,}", f"{row.multiply_adds:,}"))
    sums = (sum(row.parameters for row in table), sum(row.multiply_adds for row in table))
    lines.append(("together", "", *(f"{value:,}" for value in sums)))
    width = [max(len(line[i]) for line in lines) for i in range(4)]
    return "\n".join(f"{a:<{width[0]}}  {b:<{width[1]}}  {c:>{width[2]}}  {d:>{width[3]}}" for a, b, c, d in lines)
