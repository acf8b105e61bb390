"""Tables of the cheat sheets that belong to no single module: shapes, sizes, costs, and what decay does to a weight.

Each row is computed by its formula and asked of PyTorch. A row whose formula and whose answer differ is never printed:
the function raises, and with it the build of the page.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from helpers import expect, tables
from helpers.convolution import layer_table, output_size

_WINDOWS = (  # kernel size, stride, padding, dilation, what it is good for
    (1, 1, 0, 1, "mixes channels, pixel by pixel"),
    (3, 1, 0, 1, "loses a pixel on each side"),
    (3, 1, 1, 1, "keeps the size"),
    (5, 1, 2, 1, "keeps the size"),
    (4, 1, 0, 1, "an even kernel has no middle"),
    (3, 1, 2, 2, "keeps the size, sees five pixels"),
    (2, 2, 0, 1, "halves, without overlap"),
    (3, 2, 1, 1, "halves, with overlap"),
    (7, 2, 3, 1, "halves; the first layer of a ResNet"),
)


def windows(size: int = 28) -> str:
    """Write, as a Markdown table, how many positions the usual windows have on `size` pixels.

    Examples
    --------
    >>> print(windows(7).splitlines()[3])
    | 3 | 1 | 0 | 1 | $\\lfloor (7 + 0 - 2 - 1)/1 \\rfloor + 1$ | 5 | loses a pixel on each side |
    """
    columns = ("$k$", "$s$", "$p$", "$d$", f"{size} pixels become", "Size", "It")
    rows = []
    for k, s, p, d, use in _WINDOWS:
        layer = nn.Conv1d(1, 1, k, stride=s, padding=p, dilation=d)
        found = _agree(
            f"k={k}, s={s}, p={p}, d={d}",
            output_size(size, k, stride=s, padding=p, dilation=d),
            layer(torch.zeros(1, 1, size)).shape[-1],
        )
        worked = f"$\\lfloor ({size} + {2 * p} - {d * (k - 1)} - 1)/{s} \\rfloor + 1$"
        rows.append((k, s, p, d, worked, found, use))
    return tables.markdown(columns, rows)


def costs(size: int = 28, channels: int = 64, maps: int = 128) -> str:
    """Write, as a Markdown table, the parameters and multiply-adds of the usual layers from C to M channels.

    Each convolution keeps the size, `size` by `size` pixels; `channels` is C and `maps` is M.

    Examples
    --------
    >>> print(costs(2, 3, 4).splitlines()[2])
    | `nn.Conv2d(C, M, 3, padding=1)` | $MC \\cdot 9 + M$ | 112 | $HW \\cdot MC \\cdot 9$ | 432 |
    """
    expect.whole(size=size, channels=channels, maps=maps, least=1)
    c, m, pixels = channels, maps, size * size
    separable = nn.Sequential(nn.Conv2d(c, c, 3, padding=1, groups=c), nn.Conv2d(c, m, 1))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(c * pixels, m))
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, m))
    table = (
        ("`nn.Conv2d(C, M, 3, padding=1)`", nn.Conv2d(c, m, 3, padding=1),
         "MC \\cdot 9 + M", m * c * 9 + m, "HW \\cdot MC \\cdot 9", pixels * m * c * 9),
        ("`nn.Conv2d(C, M, 1)`", nn.Conv2d(c, m, 1), "MC + M", m * c + m, "HW \\cdot MC", pixels * m * c),
        ("depthwise `groups=C`, then 1 × 1", separable,
         "(9 + 1)C + MC + M", 10 * c + m * c + m, "HW (9C + MC)", pixels * (9 * c + m * c)),
        ("flatten, then `nn.Linear`", flat, "HWC\\,M + M", pixels * c * m + m, "HWC\\,M", pixels * c * m),
        ("mean of each map, then `nn.Linear`", pooled, "CM + M", c * m + m, "CM", c * m),
    )  # fmt: skip
    rows = []
    for name, model, formula, parameters, cost, multiply_adds in table:
        layers = layer_table(model, (c, size, size))
        found = sum(layer.parameters for layer in layers), sum(layer.multiply_adds for layer in layers)
        _agree(name, (parameters, multiply_adds), found)
        rows.append((name, f"${formula}$", f"{parameters:,}", f"${cost}$", f"{multiply_adds:,}"))
    sizes = f"C = {c}, M = {m}, H = W = {size}"
    columns = ("Layer", "Parameters", f"for {sizes}", "Multiply-adds for an example", f"for {sizes}")
    return tables.markdown(columns, rows)


def lenet_shapes() -> str:
    """Write, as a Markdown table, the shapes of one batch on its way through a network like LeNet.

    Examples
    --------
    >>> print(lenet_shapes().splitlines()[2])
    | input | $(B, 1, 28, 28)$ |  |
    """
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 10),
    )  # fmt: skip
    rows = [("input", _shape(("B", 1, 28, 28)), "")]
    for layer, cost in zip(model, layer_table(model, (1, 28, 28)), strict=True):
        name = repr(layer).split("(")[0] if isinstance(layer, nn.ReLU | nn.Flatten) else _call(layer)
        rows.append((f"`{name}`", _shape(("B", *cost.output_shape)), f"{cost.parameters:,}" if cost.parameters else ""))
    return tables.markdown(("Layer", "Shape after it", "Parameters"), rows)


def recurrent_shapes() -> str:
    """Write, as a Markdown table, what recurrent layers take and return; PyTorch is asked for every shape.

    B sequences of T steps with D features, H hidden units, L layers, and S = 1 or 2 directions.

    Examples
    --------
    >>> print(recurrent_shapes().splitlines()[3])
    | `nn.RNN(D, H, batch_first=True)` | $(B, T, D)$ | $(B, T, H)$ | $(1, B, H)$ |  |
    """
    sizes = {"B": 2, "T": 5, "D": 3, "H": 4, "L": 6}
    table = (
        ("nn.RNN(D, H)", "T B D", "T B H", "1 B H", ""),
        ("nn.RNN(D, H, batch_first=True)", "B T D", "B T H", "1 B H", ""),
        ("nn.GRU(D, H, L)", "T B D", "T B H", "L B H", ""),
        ("nn.LSTM(D, H, L)", "T B D", "T B H", "L B H", "L B H"),
        ("nn.GRU(D, H, L, bidirectional=True)", "T B D", "T B 2H", "2L B H", ""),
        ("nn.RNN(D, H)", "T D", "T H", "1 H", ""),
    )

    def numbers(shape: str) -> tuple[int, ...]:
        parts = [(part[:-1] or "1", sizes.get(part[-1])) for part in shape.split()]
        return tuple(int(factor) * size if size else 1 for factor, size in parts)

    rows = []
    for call, x, output, h, c in table:
        kind, arguments = call.removeprefix("nn.").removesuffix(")").split("(")
        words = [word.strip() for word in arguments.split(",")]
        plain = [sizes[word] for word in words if "=" not in word]
        options = {word.removesuffix("=True"): True for word in words if "=" in word}
        out, state = getattr(nn, kind)(*plain, **options)(torch.zeros(numbers(x)))
        states = state if isinstance(state, tuple) else (state,)
        expected = [numbers(shape) for shape in (output, h, c) if shape]
        _agree(call, expected, [tuple(found.shape) for found in (out, *states)])
        rows.append((f"`{call}`", *(_shape(shape.split()) if shape else "" for shape in (x, output, h, c))))
    return tables.markdown(("Layer", "Input", "`output`", "`h_n`", "`c_n`"), rows)


def decay(lr: float = 0.1, strength: float = 0.1) -> str:
    """Write, as a Markdown table, what the forms of weight decay make of the weight 2 in the first step.

    The loss has the gradient 0.5 once and the gradient 0 once; `strength` is what the table calls λ.

    Examples
    --------
    >>> print(decay().splitlines()[2])
    | `SGD(weight_decay=λ)` | $w - \\eta (g + \\lambda w)$ | 1.930 | 1.980 |
    """

    expect.finite(lr=lr, strength=strength)
    if lr < 0 or strength < 0:
        raise ValueError(f"lr and strength are not negative, got {lr} and {strength}.")

    def direction(g):  # the first step of Adam, but for its epsilon
        return (g > 0) - (g < 0)

    table = (
        ("`SGD(weight_decay=λ)`", torch.optim.SGD, strength, 0.0,
         "w - \\eta (g + \\lambda w)", lambda g: 2 - lr * (g + 2 * strength)),
        ("`SGD`, loss + λ/2 times `(w**2).sum()`", torch.optim.SGD, 0.0, strength / 2,
         "w - \\eta (g + \\lambda w)", lambda g: 2 - lr * (g + 2 * strength)),
        ("`SGD`, loss + λ times `(w**2).sum()`", torch.optim.SGD, 0.0, strength,
         "w - \\eta (g + 2 \\lambda w)", lambda g: 2 - lr * (g + 4 * strength)),
        ("`Adam(weight_decay=λ)`", torch.optim.Adam, strength, 0.0,
         "w - \\eta \\hat m / \\sqrt{\\hat v} \\text{ of } g + \\lambda w",
         lambda g: 2 - lr * direction(g + 2 * strength)),
        ("`AdamW(weight_decay=λ)`", torch.optim.AdamW, strength, 0.0,
         "(1 - \\eta\\lambda) w - \\eta \\hat m / \\sqrt{\\hat v} \\text{ of } g",
         lambda g: 2 - lr * (2 * strength + direction(g))),
    )  # fmt: skip
    rows = []
    for name, optimizer, weight_decay, penalty, update, formula in table:
        after = []
        for g in (0.5, 0.0):
            w = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
            stepper = optimizer([w], lr=lr, weight_decay=weight_decay)
            (g * w + penalty * w**2).sum().backward()
            stepper.step()
            after.append(_agree(f"{name}, g={g}", f"{formula(g):.3f}", f"{w.item():.3f}"))
        rows.append((name, f"${update}$", *after))
    columns = ("You write", "A step", "w = 2, g = 0.5", "w = 2, g = 0")
    return tables.markdown(columns, rows)


def _call(layer: nn.Module) -> str:
    """How the layer is written, without the arguments that PyTorch fills in."""
    if isinstance(layer, nn.Linear):
        return f"Linear({layer.in_features}, {layer.out_features})"
    if isinstance(layer, nn.MaxPool2d):
        return f"MaxPool2d({layer.kernel_size})"
    padding = f", padding={layer.padding[0]}" if layer.padding[0] else ""
    return f"Conv2d({layer.in_channels}, {layer.out_channels}, {layer.kernel_size[0]}{padding})"


def _agree(what: str, formula, asked):
    if formula != asked:
        raise ValueError(f"{what}: the formula gives {formula}, PyTorch {asked}.")
    return asked


def _shape(sizes: Iterable[object]) -> str:
    return f"$({', '.join(map(str, sizes))})$"
