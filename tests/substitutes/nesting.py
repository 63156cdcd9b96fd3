"""A meta-gradient in the nesting that sees a wrong second derivative, and its plain reference.

Autograd over vmap over grad, as a chunk of tasks is computed; vmap over vjp or jvp over grad finds
nothing wrong in torch's norms.
"""

import torch
from torch.overrides import TorchFunctionMode

ALPHA = 0.01


class Substituting(TorchFunctionMode):
    """The bare idea of the mode: a torch function that the table names is replaced."""

    def __init__(self, table):
        super().__init__()
        self.table = table
        self.met = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.met.append(func)
        return self.table.get(func, func)(*args, **(kwargs or {}))


def loss_of(function, table):
    """A scalar whose derivatives of every order depend on every output."""

    def loss(weights, x):
        with Substituting(table):
            y = function(weights, x)
        y = y.double() if y.dtype != torch.float64 else y
        ramp = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
        return (ramp * y).sum() + (ramp * y**2).sum().sin() + (y**3).mean()

    return loss


def inner_gradient(loss):
    def gradient(weights, x):
        def of_weights(*weights):
            return loss(weights, x)

        return torch.func.grad(of_weights, argnums=tuple(range(len(weights))))(*weights)

    return gradient


def vectorised(function, table, theta, xs):
    """The gradient of sum_t L(theta - alpha grad L(theta; x_t); x_t), all tasks at once."""
    leaves = [p.clone().requires_grad_() for p in theta]
    loss = loss_of(function, table)
    gradient = inner_gradient(loss)

    def adapted(x):
        found = gradient(leaves, x)
        return loss([p - ALPHA * g for p, g in zip(leaves, found, strict=True)], x)

    losses = torch.func.vmap(adapted, randomness="different")(xs)
    return torch.autograd.grad(losses.sum(), leaves)


def task_by_task(function, theta, xs, table=None):
    """The same by plain autograd and torch's own functions."""
    leaves = [p.clone().requires_grad_() for p in theta]
    loss = loss_of(function, table or {})
    total = torch.zeros((), dtype=torch.float64)
    for x in xs:
        weights = [p.view_as(p) for p in leaves]
        found = torch.autograd.grad(loss(weights, x), weights, create_graph=True)
        total = total + loss([p - ALPHA * g for p, g in zip(weights, found, strict=True)], x)
    return torch.autograd.grad(total, leaves)


def hessian_product_forward(function, table, theta, x):
    """H(theta) v by jvp of grad, for one task."""
    gradient = inner_gradient(loss_of(function, table))
    return torch.func.jvp(lambda *w: gradient(w, x), tuple(theta), tuple(directions(theta)))[1]


def hessian_product_reverse(function, theta, x):
    """The same by plain autograd, twice."""
    weights = [p.clone().requires_grad_() for p in theta]
    found = torch.autograd.grad(loss_of(function, {})(weights, x), weights, create_graph=True)
    along = sum((g * v).sum() for g, v in zip(found, directions(theta), strict=True))
    return torch.autograd.grad(along, weights)


def directions(theta):
    return [torch.arange(p.numel(), dtype=p.dtype).sin().view(p.shape) for p in theta]


def difference(found, expected):
    """The largest relative difference of the tensors of two gradients."""
    pairs = list(zip(found, expected, strict=True))
    return max(((f - e).norm() / e.norm().clamp(min=1e-30)).item() for f, e in pairs)
