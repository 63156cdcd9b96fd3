"""An inner step whose derivative is computed in the backward pass, forward-over-reverse."""

from typing import Protocol, cast

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from metaloop.episode import Examples
from metaloop.inner_loop.hessian import hessian_product
from metaloop.inner_loop.inner_step import InnerStep
from metaloop.inner_loop.objective import Parameters
from metaloop.inner_loop.update import State


class _Context(Protocol):
    """The values that autograd keeps between forward and backward."""

    saved_tensors: tuple[Tensor, ...]
    inner: InnerStep
    step: int
    spec: pytree.TreeSpec
    state_size: int

    def save_for_backward(self, *tensors: Tensor) -> None: ...
    def mark_non_differentiable(self, *tensors: Tensor) -> None: ...


def recompute(
    inner: InnerStep,
    state: State,
    theta: Parameters,
    own: Parameters,
    support: Examples,
    step: int,
) -> State:
    """Take one inner step without keeping its graph.

    Differentiable once: the derivative is a constant.
    """
    leaves, spec = pytree.tree_flatten((state, dict(theta), dict(own), support))
    state_leaves, state_spec = pytree.tree_flatten(state)
    outputs = _Recomputed.apply(  # type: ignore[no-untyped-call]
        inner, step, spec, len(state_leaves), *leaves
    )
    return cast(State, pytree.tree_unflatten(list(outputs[: len(state_leaves)]), state_spec))


class _Recomputed(torch.autograd.Function):
    """state_k -> state_{k+1}, and the gradient it used.

    The backward pass, with lambda_{k+1} the cotangent of state_{k+1}:

        (state_bar, gradient_bar, theta_bar, own_bar) = vjp(update)(lambda_{k+1})
        lambda_k = state_bar + H(phi_k) gradient_bar

    H is the support loss's Hessian over all of the model's parameters. Its tangent is zero for
    those that do not adapt; their rows are the gradient that reaches them through the inner loop.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        inner: InnerStep, step: int, spec: pytree.TreeSpec, state_size: int, *leaves: Tensor
    ) -> tuple[Tensor, ...]:
        state, theta, own, support = pytree.tree_unflatten(list(leaves), spec)
        gradient = inner.gradient(state.phi, theta, support)
        new = inner.move(state, gradient, theta, own, support, step)
        # autograd does not allow an input as an output, so copy what the step leaves unchanged
        return (
            *(leaf.clone() for leaf in pytree.tree_leaves(new)),
            *(gradient[name] for name in state.phi),
        )

    @staticmethod
    def setup_context(
        ctx: _Context, inputs: tuple[object, ...], output: tuple[Tensor, ...]
    ) -> None:
        inner, step, spec, state_size, *leaves = inputs
        gradient = output[cast(int, state_size) :]
        ctx.inner, ctx.step = cast(InnerStep, inner), cast(int, step)
        ctx.spec, ctx.state_size = cast(pytree.TreeSpec, spec), cast(int, state_size)
        ctx.mark_non_differentiable(*gradient)
        ctx.save_for_backward(*cast(list[Tensor], leaves), *gradient)

    @staticmethod
    def backward(ctx: _Context, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        # torch.func.grad also asks for a graph of the backward pass, which would hold every
        # step's. Detaching is safe: no meta-gradient is differentiated again.
        saved = [tensor.detach() for tensor in ctx.saved_tensors]
        cotangents = tuple(bar.detach() for bar in cotangents)
        size = ctx.spec.num_leaves
        state, theta, own, support = pytree.tree_unflatten(saved[:size], ctx.spec)
        gradient = dict(zip(state.phi, saved[size:], strict=True))
        adapting = {name: theta[name] for name in state.phi}

        def update(state: State, gradient: Parameters, theta: Parameters, own: Parameters) -> State:
            return ctx.inner.update(state, gradient, theta, own, ctx.step)

        pull_back = torch.func.vjp(update, state, gradient, adapting, own)[1]
        new_bar = pytree.tree_unflatten(
            list(cotangents[: ctx.state_size]), pytree.tree_structure(state)
        )
        state_bar, gradient_bar, theta_bar, own_bar = pull_back(new_bar)

        product = hessian_product(ctx.inner.gradient, {**theta, **state.phi}, support, gradient_bar)
        phi_bar = {name: bar + product[name] for name, bar in state_bar.phi.items()}
        theta_bar = {name: theta_bar.get(name, product[name]) for name in theta}
        bars = pytree.tree_leaves((state_bar._replace(phi=phi_bar), theta_bar, own_bar))
        no_gradient = [None] * len(pytree.tree_leaves(support))
        return (None, None, None, None, *bars, *no_gradient)
