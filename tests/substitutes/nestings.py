"""The nestings of autograd, vmap, grad and jvp in which an operation is differentiated.

An operation takes tensors, its arguments, and constants that every task has its own of. Task t's
argument is theta, or theta + own_t: so in the first gradient it is the same for all tasks, or not.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

TASKS, ALPHA = 2, 0.1
Table = Mapping[Callable[..., object], Callable[..., object]]
TORCH: Table = {}  # replaces nothing


class Replacing(TorchFunctionMode):
    """Call a table's substitutes in place of torch's functions."""

    def __init__(self, table: Table):
        super().__init__()
        self.table = table

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return self.table.get(func, func)(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Operation:
    """A function of tensors of these shapes, and of each task's constants [TASKS, ...]."""

    function: Callable[..., Tensor | Sequence[Tensor]]
    shapes: Sequence[tuple[int, ...]]
    constants: Sequence[Tensor] = ()

    def tensors(self, *lead: int, seed: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
        draw = torch.Generator().manual_seed(seed)
        return [
            0.7 * torch.randn((*lead, *s), generator=draw, dtype=torch.float64).to(dtype)
            for s in self.shapes
        ]

    def outputs(self, table: Table, arguments: Sequence[Tensor], constants: Sequence[Tensor]):
        with Replacing(table):
            result = self.function(*arguments, *constants)
        return [result] if isinstance(result, Tensor) else list(result)


@dataclass(frozen=True)
class Case:
    """An operation with a table, at a point: the losses and derivatives of its tasks."""

    operation: Operation
    table: Table
    is_own: Sequence[bool]  # for each argument, whether tasks differ in it
    dtype: torch.dtype = torch.float64

    @property
    def theta(self) -> list[Tensor]:
        return self.operation.tensors(seed=0, dtype=self.dtype)

    @property
    def data(self) -> tuple[list[Tensor], list[Tensor]]:
        constants = [
            c.to(self.dtype) if c.is_floating_point() else c for c in self.operation.constants
        ]
        return self.operation.tensors(TASKS, seed=1, dtype=self.dtype), constants

    @property
    def direction(self) -> list[Tensor]:
        return self.operation.tensors(seed=2, dtype=self.dtype)

    def loss(self, theta, own, constants) -> Tensor:
        """Weigh all outputs, so that each counts in its own way; a scalar counts as it is."""
        arguments = [t + o if k else t for t, o, k in zip(theta, own, self.is_own, strict=True)]
        total = torch.zeros((), dtype=self.dtype)
        for output in self.operation.outputs(self.table, arguments, constants):
            if output.dim():
                weights = torch.linspace(0.5, 1.5, output.numel(), dtype=output.dtype)
                output = (torch.sin(output) * weights.reshape(output.shape)).sum()
            total = total + output
        return total

    def of_task(self, t):
        own, constants = self.data
        return [o[t] for o in own], [c[t] for c in constants]

    def gradient(self, theta, data):
        """One task's gradient, by plain autograd, recorded."""
        return torch.autograd.grad(
            self.loss(theta, *data), theta, create_graph=True, materialize_grads=True
        )

    def looped(self) -> list[Tensor]:
        """The meta-gradient of one inner step by plain autograd, task by task."""
        theta = [t.requires_grad_() for t in self.theta]
        total = torch.zeros((), dtype=self.dtype)
        for t in range(TASKS):
            data = self.of_task(t)
            here = [p.view_as(p) for p in theta]
            phi = [p - ALPHA * g for p, g in zip(here, self.gradient(here, data), strict=True)]
            total = total + self.loss(phi, *data)
        return list(torch.autograd.grad(total, theta, materialize_grads=True))

    def vectorised(self) -> list[Tensor]:
        """The same by autograd over vmap over grad."""
        theta = [t.requires_grad_() for t in self.theta]

        def adapted_loss(own, constants):
            gradient = torch.func.grad(lambda p: self.loss(p, own, constants))(list(theta))
            phi = [p - ALPHA * g for p, g in zip(theta, gradient, strict=True)]
            return self.loss(phi, own, constants)

        losses = torch.func.vmap(adapted_loss, randomness="different")(*self.data)
        return list(torch.autograd.grad(losses.sum(), theta, materialize_grads=True))

    def hessian(self, theta, direction, own, constants) -> list[Tensor]:
        """One task's Hessian times the direction, by jvp over grad."""

        def gradient(theta):
            return torch.func.grad(lambda p: self.loss(p, own, constants))(theta)

        return torch.func.jvp(gradient, (theta,), (direction,))[1]

    def forward(self) -> list[Tensor]:
        """Every task's Hessian product, task by task."""
        products = [
            self.hessian(self.theta, self.direction, *self.of_task(t)) for t in range(TASKS)
        ]
        return [torch.stack(parts) for parts in zip(*products, strict=True)]

    def vectorised_forward(self) -> list[Tensor]:
        """Every task's Hessian product, by vmap over jvp over grad."""
        hessian = functools.partial(self.hessian, self.theta, self.direction)
        return torch.func.vmap(hessian, randomness="different")(*self.data)

    def reverse(self) -> list[Tensor]:
        """Every task's Hessian product by plain autograd, twice."""
        products = []
        for t in range(TASKS):
            theta = [p.requires_grad_() for p in self.theta]
            slope = torch.zeros((), dtype=self.dtype)
            for g, v in zip(self.gradient(theta, self.of_task(t)), self.direction, strict=True):
                slope = slope + (g * v).sum()
            products.append(
                torch.autograd.grad(slope, theta, materialize_grads=True)
                if slope.requires_grad
                else [torch.zeros_like(p) for p in theta]
            )
        return [torch.stack(parts) for parts in zip(*products, strict=True)]

    def differences(self, h: float = 1e-5) -> list[Tensor]:
        """Every task's Hessian product by central differences of the first derivative."""
        products = []
        for t in range(TASKS):
            ends = []
            for sign in (1, -1):
                moved = zip(self.theta, self.direction, strict=True)
                theta = [(p + sign * h * v).requires_grad_() for p, v in moved]
                ends.append(
                    torch.autograd.grad(
                        self.loss(theta, *self.of_task(t)), theta, materialize_grads=True
                    )
                )
            products.append([(a - b) / (2 * h) for a, b in zip(*ends, strict=True)])
        return [torch.stack(parts) for parts in zip(*products, strict=True)]


def relative_error(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """|found - expected| / |expected| over all tensors."""
    pairs = list(zip(found, expected, strict=True))
    size = sum(float(e.double().square().sum()) for _, e in pairs) ** 0.5
    distance = sum(float((f.double() - e.double()).square().sum()) for f, e in pairs) ** 0.5
    return distance / (size or 1.0)


def sharings(operation: Operation) -> list[list[bool]]:
    """Which arguments tasks have of their own: all, none, the inputs alone, the rest alone."""
    n = len(operation.shapes)
    some = [[i == 0 for i in range(n)], [i > 0 for i in range(n)]] if n > 1 else []
    return [[True] * n, [False] * n, *some]


def assert_is_torchs(operation: Operation, table: Table, tolerance: float = 1e-12) -> None:
    """Value and first derivative are those of torch's own function."""
    for case in (Case(operation, table, [True] * len(operation.shapes)),):
        torchs = Case(operation, TORCH, case.is_own)
        found, expected = [], []
        for one, to in ((case, found), (torchs, expected)):
            theta = [p.requires_grad_() for p in one.theta]
            own, constants = one.of_task(0)
            arguments = [t + o for t, o in zip(theta, own, strict=True)]
            to.append(operation_values(one, arguments, constants))
            to.append(
                torch.autograd.grad(one.loss(theta, own, constants), theta, materialize_grads=True)
            )
        assert [v.shape for v in found[0]] == [v.shape for v in expected[0]]
        assert [v.dtype for v in found[0]] == [v.dtype for v in expected[0]]
        assert relative_error(found[0], expected[0]) < tolerance
        assert relative_error(found[1], expected[1]) < tolerance


def operation_values(case: Case, arguments, constants) -> list[Tensor]:
    return [v.detach() for v in case.operation.outputs(case.table, arguments, constants)]


def assert_exact(operation: Operation, table: Table, torchs: Table = TORCH) -> None:
    """Every nesting has the second derivative that differences of torch's first one give."""
    for is_own in sharings(operation):
        case = Case(operation, table, is_own)
        reverse = case.reverse()
        assert relative_error(reverse, Case(operation, torchs, is_own).differences()) < 1e-6
        assert relative_error(case.forward(), reverse) < 1e-10, is_own
        assert relative_error(case.vectorised_forward(), reverse) < 1e-10, is_own
        assert relative_error(case.vectorised(), case.looped()) < 1e-10, is_own


def assert_exact_in(dtype: torch.dtype, operation: Operation, table: Table) -> None:
    """A small dtype's derivatives are those of float64, to that dtype's rounding."""
    is_own = [True] * len(operation.shapes)
    rounding = 200 * torch.finfo(dtype).eps
    expected = Case(operation, table, is_own)
    found = Case(operation, table, is_own, dtype)
    outputs = operation_values(found, found.theta, found.of_task(0)[1])
    assert all(v.dtype == dtype for v in outputs if v.is_floating_point())
    assert relative_error(found.vectorised(), expected.looped()) < rounding
    assert relative_error(found.vectorised_forward(), expected.reverse()) < rounding
