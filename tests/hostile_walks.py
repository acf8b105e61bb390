"""Cases for `hostile`: surfaces, the rules that walk over them, and what is said of sizes; each with another way."""

import math

import torch
from hostile import Case, double, finite, normal, whole

from helpers import (
    activations,
    convolution,
    curvature,
    initialization,
    optim_maps,
    optim_paths,
    optim_rules,
    optim_surfaces,
    schedules,
    shapes,
    surfaces,
)

RAVINE = optim_surfaces.ravine()


def right_size(size, kernel_size, stride, padding, dilation):
    whole(size, kernel_size, stride, dilation)
    whole(padding, least=0)
    last = size + 2 * padding - 1 - dilation * (kernel_size - 1)
    assert last >= 0
    return len(range(0, last + 1, stride))


def right_field(layers):
    pairs = [(*layer, 1, 1)[:3] for layer in layers]
    whole(*(n for layer in layers for n in layer))
    assert all(1 <= len(layer) <= 3 for layer in layers)
    seen = {0}
    for k, s, d in reversed(pairs):
        seen = {s * i + d * u for i in seen for u in range(k)}
    return {"size": max(seen) + 1, "jump": math.prod(s for _, s, _ in pairs)}


def right_descent(hessian, start, lr, n_steps):
    H, x = double(torch.as_tensor(hessian)), double(torch.as_tensor(start))
    x = x.reshape(1) if x.dim() == 0 else x
    whole(n_steps, least=0)
    finite(lr, least=0)
    assert H.dim() == 2
    assert x.shape[-1:] == H.shape[:1] == H.shape[1:]
    assert x.dim() < 3
    assert torch.equal(H, H.T)
    assert bool(H.isfinite().all() & x.isfinite().all())
    path = [x]
    for _ in range(n_steps):
        path.append(path[-1] - lr * path[-1] @ H)
    return {"points": torch.stack(path)}


def walk(hessian, start, lr, n_steps):
    return optim_paths.descend(surfaces.quadratic(hessian), start, lr=lr, n_steps=n_steps)


def torch_walk(hessian, start, lr, n_steps):
    twin = optim_paths.torch_twin(optim_rules.GradientDescent(), lr)
    return optim_paths.torch_path(surfaces.quadratic(hessian), start, twin, n_steps=n_steps)


QUADRATIC = {
    "hessian": torch.tensor([[2.0, 1.0], [1.0, 4.0]]),
    "start": torch.tensor([1.0, -2.0]),
    "lr": 0.1,
    "n_steps": 3,
}


def of_rule(rule, options):
    """A case for one update rule: three steps from one point, beside the same rule of `torch.optim`."""

    def call(lr, **given):
        return optim_paths.descend(RAVINE, [-5.0, -2.0], lr=lr, n_steps=3, rule=rule(**given)).points

    def right(lr, **given):
        finite(lr, least=0)
        finite(*given.values(), least=0)
        given = {name: float(value) for name, value in given.items()}
        bounded = ("momentum", "dampening", "alpha", "rho", "beta1", "beta2")
        assert all(value < 1 for name, value in given.items() if name in bounded)
        make = optim_paths.torch_twin(rule(**given), lr)
        return optim_paths.torch_path(RAVINE, [-5.0, -2.0], make, n_steps=3).points

    leave_out = "momentum: zero" if rule is optim_rules.Nesterov else ""  # torch.optim.SGD refuses it
    return Case(f"optim_rules.{rule.__name__}", call, {"lr": 0.1, **options}, right, leave_out=leave_out)


def ahead(lr, momentum):
    rule = optim_rules.NesterovLookAhead(momentum=momentum)
    return optim_paths.descend(RAVINE, [-5.0, -2.0], lr=lr, n_steps=3, rule=rule).points


def right_ahead(lr, momentum):
    finite(lr, momentum, least=0)
    assert momentum < 1
    x, v = torch.tensor([-5.0, -2.0]).double(), torch.zeros(2).double()
    path = [x]
    for _ in range(3):
        v = momentum * v - lr * torch.tensor([0.2, 4.0]) * (x + momentum * v)
        x = x + v
        path.append(x)
    return torch.stack(path)


def kind_of(point, tol):
    return {"value": curvature.classify(surfaces.saddle(), point, tol=tol).kind}


def right_kind(point, tol):
    finite(tol, least=0)
    x = double(point)
    assert x.shape == (2,)
    assert bool(x.isfinite().all())
    slope = torch.stack([2 * x[0], x[1] ** 3 - 2 * x[1]])
    curves = 2.0, 3 * x[1].item() ** 2 - 2
    kind = "minimum" if min(curves) > tol else "saddle" if max(curves) > tol and min(curves) < -tol else "undecided"
    return {"value": "not stationary" if slope.norm() > tol else kind}


def right_updates(values, level):
    v = double(values)
    assert not math.isnan(level)
    assert v.dim()
    assert len(v)
    runs = v.flatten(1).T if v.dim() > 1 else v[None]
    counts = [next((t for t in range(len(run)) if all(x <= level for x in run[t:].tolist())), math.inf) for run in runs]
    return torch.tensor(counts, dtype=torch.float64).reshape(v.shape[1:])


def right_line(x, y):
    x, y = double(x), double(y)
    assert x.dim() == 1
    assert x.shape == y.shape
    assert bool(x.isfinite().all() & y.isfinite().all())
    dx = x - x.mean()
    w = (dx * (y - y.mean())).sum() / dx.square().sum()
    assert bool(dx.abs().max() > 0)
    return torch.stack([w, y.mean() - w * x.mean()])


def broadcast(a, b):
    try:
        return tuple(torch.broadcast_shapes(a, b))
    except RuntimeError:
        return None


def right_rates(n_steps, lr):
    whole(n_steps)
    finite(lr, least=0)
    return [lr * 0.1 ** (t // 2) for t in range(n_steps)]


def trained(X, y, rates, batch_size, gain, clip_norm, n_records, widths):
    runs = schedules.train_many(
        X, y, rates, seeds=[0, 0], batch_size=batch_size, widths=widths, gain=gain, clip_norm=clip_norm,
        n_records=n_records,
    )  # fmt: skip
    return runs.losses


def right_trained(X, y, rates, batch_size, gain, clip_norm, n_records, widths):
    """Rates of zero leave the first loss as it is; anything else is as hostile to torch's own layers."""
    whole(batch_size, n_records, *widths)
    finite(gain)
    assert clip_norm > 0
    assert double(X).shape[1] == widths[0]
    assert X.is_floating_point()
    assert y.dtype == torch.int64
    assert y.shape == X.shape[:1]
    assert rates.shape[1] == 2
    assert bool(rates.isfinite().all() & (double(rates) >= 0).all())
    assert 0 <= int(y.min()) <= int(y.max()) < widths[-1]
    assert batch_size <= len(X)
    assert n_records <= len(rates)
    start = trained(X.detach(), y, rates[:1].detach() * 0, batch_size, gain, clip_norm, 1, widths)[0]
    return start.expand(n_records + 1, -1) if not rates.any() else ...


def right_forward_variances(widths, gain, input_variance):
    whole(*widths)
    finite(gain)
    finite(input_variance, least=0)
    assert len(widths) > 1
    q = [gain**2 * 2 * input_variance]
    for _ in widths[2:]:
        q.append(gain**2 * q[-1])  # He's factor 2 and the half that a ReLU leaves
    return {"forward": q, "backward": ...}


def measured(widths, gain, n_seeds):
    scheme, relu = initialization.SCHEMES[10], initialization.ACTIVATIONS["relu"]
    run = initialization.measured_variances(scheme, relu, widths, gain=gain, n_seeds=n_seeds)
    return run.forward.shape, bool(run.forward.isfinite().all())


def right_measured(widths, gain, n_seeds):
    whole(*widths, n_seeds)
    finite(gain)
    assert len(widths) > 1
    return torch.Size([len(widths) - 1]), True


def right_eigenvalue(hessian):
    H = double(hessian)
    assert H.dim() == 2
    assert torch.equal(H, H.T)
    low, *_, high = torch.linalg.eigvalsh(H).tolist() * 2
    assert low > 0
    return 2 / high


def right_value(points):
    return (
        {"value": double(points)[..., 0] ** 2 / 10 + 2 * double(points)[..., 1] ** 2}
        if points.shape[-1] == 2
        else 1 / 0
    )


def right_profile(depth, width, weight_scale, z_std, n_samples, seed):
    whole(depth, width, n_samples)
    whole(seed, least=0)
    finite(weight_scale, z_std, above=0)
    return (depth,), True


def profile(**options):
    found = activations.depth_profile(torch.tanh, **options)
    return tuple(found.signal.shape), bool(found.signal.isfinite().all())


def right_arrivals(lr, n_steps, tol, n):
    whole(n_steps, least=0)
    whole(n, least=2)
    finite(lr, least=0)
    assert not math.isnan(tol)
    return {"x": torch.linspace(-6, 3, n), "y": torch.linspace(-3, 3, n), "values": ...}


def right_sweep(rates, start, n_steps, tol):
    whole(n_steps, least=0)
    assert not math.isnan(tol)
    x = double(start)[None] if start.dim() == 1 else double(start)
    assert rates.dim() == 1
    assert len(rates) * len(x)
    assert x.shape[1:] == (2,)
    assert bool(x.isfinite().all())
    assert bool(rates.isfinite().all() & (double(rates) >= 0).all())
    loss = []
    for _ in range(n_steps + 1):
        loss.append((double(torch.tensor([0.1, 2.0])) * x**2).sum(-1))
        x = x.expand(len(rates), *x.shape[-2:]) * (1 - double(rates)[:, None, None] * torch.tensor([0.2, 4.0]))
    values = torch.stack([each.expand(len(rates), -1) for each in loss])
    return {"rates": double(rates), "updates": right_updates(values, tol)}


def right_map(rates, momenta, n_steps, start):
    whole(n_steps, least=0)
    assert rates.dim() == momenta.dim() == 1
    assert len(rates) * len(momenta)
    assert rates.dtype == momenta.dtype
    assert bool((double(momenta) >= 0).all() & (double(momenta) < 1).all())
    ends = []
    for mu in double(momenta).tolist():
        row = [
            optim_paths.descend(
                RAVINE, double(start), lr=lr, n_steps=n_steps, rule=optim_rules.Momentum(momentum=mu)
            ).values[-1].item()
            for lr in double(rates).tolist()
        ]  # fmt: skip
        ends.append(row)
    return {"values": ends}


SIZE = {"size": 7, "kernel_size": 3, "stride": 2, "padding": 1, "dilation": 1}
CASES = [
    Case("convolution.output_size", convolution.output_size, SIZE, right_size),
    Case("convolution.receptive_field", convolution.receptive_field, {"layers": [(3, 2), (2, 1, 3)]}, right_field),
    Case(
        "shapes.align",
        lambda a, b: shapes.align(a, b).shape,
        {"a": (2, 1, 3), "b": (4, 1)},
        lambda a, b: whole(*a, *b, least=0) or broadcast(a, b),
    ),
    Case(
        "optim_paths.descend surfaces.quadratic surfaces.Surface surfaces.value_and_gradient",
        walk,
        QUADRATIC,
        right_descent,
    ),
    Case("optim_paths.torch_path optim_paths.torch_twin", torch_walk, QUADRATIC, right_descent),
    Case("optim_paths.quadratic_path surfaces.symmetric", optim_paths.quadratic_path, QUADRATIC, right_descent),
    Case("optim_rules.NesterovLookAhead", ahead, {"lr": 0.1, "momentum": 0.9}, right_ahead),
    Case("curvature.classify", kind_of, {"point": torch.tensor([0.0, 0.0]), "tol": 1e-8}, right_kind),
    of_rule(optim_rules.GradientDescent, {"weight_decay": 0.1}),
    of_rule(optim_rules.Momentum, {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.1}),
    of_rule(optim_rules.Nesterov, {"momentum": 0.9, "weight_decay": 0.1}),
    of_rule(optim_rules.AdaGrad, {"eps": 1e-10, "lr_decay": 0.1, "weight_decay": 0.1}),
    of_rule(optim_rules.RMSProp, {"alpha": 0.9, "eps": 1e-8, "momentum": 0.5, "weight_decay": 0.1}),
    of_rule(optim_rules.Adadelta, {"rho": 0.9, "eps": 1e-6, "weight_decay": 0.1}),
    of_rule(optim_rules.Adam, {"eps": 1e-8, "weight_decay": 0.1}),
    Case(
        "optim_maps.updates_to",
        optim_maps.updates_to,
        {"values": normal(5, 2), "level": 0.5},
        right_updates,
        leave_out="10,000",
    ),
    Case(
        "optim_maps.over_starts optim_maps.lowest",
        lambda **options: optim_maps.over_starts(RAVINE, rule=optim_rules.GradientDescent(), **options),
        {"lr": 0.4, "n_steps": 5, "tol": 1e-3, "n": 3},
        right_arrivals,
    ),
    Case(
        "optim_maps.sweep",
        lambda **options: optim_maps.sweep(RAVINE, rule=optim_rules.GradientDescent(), **options),
        {"rates": torch.tensor([0.1, 0.4]), "start": torch.tensor([[-0.5, -0.2]]), "n_steps": 6, "tol": 0.02},
        right_sweep,
        leave_out="10,000",
    ),
    Case(
        "optim_maps.over_rate_and_momentum",
        lambda **options: optim_maps.over_rate_and_momentum(
            RAVINE, make=lambda mu: optim_rules.Momentum(momentum=mu), **options
        ),
        {
            "rates": torch.tensor([0.1, 0.4]),
            "momenta": torch.tensor([0.0, 0.5, 0.9]),
            "n_steps": 3,
            "start": torch.tensor([-5.0, -2.0]),
        },
        right_map,
        leave_out="10,000",
    ),
    Case(
        "curvature.largest_stable_lr",
        curvature.largest_stable_lr,
        {"hessian": torch.tensor([[2.0, 1.0], [1.0, 4.0]])},
        right_eigenvalue,
    ),
    Case(
        "surfaces.as_points",
        lambda points: {"value": RAVINE(points)},
        {"points": torch.tensor([[1.0, 2.0], [0.0, 1.0]])},
        right_value,
    ),
    Case(
        "surfaces.line_fit",
        lambda x, y: surfaces.line_fit(x, y).minima[0],
        {"x": torch.tensor([1.0, 2.0, 4.0]), "y": torch.tensor([1.0, 3.0, 2.0])},
        right_line,
    ),
    Case(
        "surfaces.x_cos",
        lambda c: surfaces.x_cos(c)(torch.tensor([1.0])),
        {"c": 0.5},
        lambda c: finite(c, above=0) or math.cos(c),
    ),
    Case(
        "schedules.rates_of",
        lambda n_steps, lr: schedules.rates_of(lambda o: torch.optim.lr_scheduler.StepLR(o, 2), n_steps, lr=lr),
        {"n_steps": 5, "lr": 0.1},
        right_rates,
    ),
    Case(
        "schedules.train_many",
        trained,
        {
            "X": normal(6, 3),
            "y": torch.tensor([0, 1, 1, 0, 1, 0]),
            "rates": torch.zeros(4, 2),
            "batch_size": 2,
            "gain": 1.0,
            "clip_norm": 1.0,
            "n_records": 2,
            "widths": (3, 4, 2),
        },
        right_trained,
        leave_out="10,000",
    ),
    Case(
        "initialization.predicted_variances",
        lambda **options: initialization.predicted_variances(
            initialization.SCHEMES[10], initialization.ACTIVATIONS["relu"], **options
        ),
        {"widths": (6, 5, 4), "gain": 1.1, "input_variance": 0.5},
        right_forward_variances,
    ),
    Case(
        "initialization.measured_variances", measured, {"widths": (6, 5, 4), "gain": 1.0, "n_seeds": 2}, right_measured
    ),
    Case(
        "activations.depth_profile",
        profile,
        {"depth": 2, "width": 4, "weight_scale": 1.0, "z_std": 1.0, "n_samples": 5, "seed": 0},
        right_profile,
        leave_out="seed: inf|seed: nan",
    ),
    Case(
        "activations.get",
        lambda name: activations.get(name).name,
        {"name": "GELU"},
        lambda name: {"GELU": "GELU"}[name],
    ),
]
