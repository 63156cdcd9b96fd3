"""The same meta-step in JAX: jit, vmap and grad of one pure function."""

# ruff: noqa: ANN401 - JAX is optional, so that its arrays have no type here
import importlib
from typing import Any

from speed.work import META_LR, Step, Work

EPS = 1e-5  # as in torch's batch norms


def jax_step(work: Work) -> Step:
    """Compile a whole update: adaptation by vmap over the tasks, Adam by optax."""
    if work.sequence is not None:
        raise ImportError("no recurrent layer is implemented here")
    jax, optax = importlib.import_module("jax"), importlib.import_module("optax")
    jnp = jax.numpy
    meta = [jnp.asarray(p.detach().cpu().numpy()) for p in work.network().parameters()]
    sets = [jnp.asarray(part.cpu().numpy()) for part in work.sets()]
    optimizer = optax.adam(META_LR)

    def loss(phi: Any, x: Any, y: Any) -> Any:
        outputs = mlp(jax, phi, x) if work.image is None else conv4(jax, work, phi, x)
        if work.image is None:
            return jnp.square(outputs - y).mean()
        return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()

    def task_loss(phi: Any, xs: Any, ys: Any, xq: Any, yq: Any) -> Any:
        for _ in range(work.inner_steps):
            grads = jax.grad(loss)(phi, xs, ys)
            phi = [p - work.inner_lr * g for p, g in zip(phi, grads, strict=True)]
        return loss(phi, xq, yq)

    def meta_loss(meta: Any, *sets: Any) -> Any:
        return jax.vmap(task_loss, (None, 0, 0, 0, 0))(meta, *sets).mean()

    @jax.jit
    def update(meta: Any, state: Any, *sets: Any) -> Any:
        grads = jax.grad(meta_loss)(meta, *sets)
        moves, state = optimizer.update(grads, state)
        return optax.apply_updates(meta, moves), state, grads

    held = [meta, optimizer.init(meta)]

    def step() -> Any:
        held[0], held[1], grads = update(*held, *sets)
        return jax.block_until_ready(grads)

    return step


def mlp(jax: Any, phi: Any, x: Any) -> Any:
    """Apply linear layers with ReLUs between; torch's weights are [outputs, inputs]."""
    for layer in range(0, len(phi), 2):
        x = x @ phi[layer].T + phi[layer + 1]
        x = jax.nn.relu(x) if layer + 2 < len(phi) else x
    return x


def conv4(jax: Any, work: Work, phi: Any, x: Any) -> Any:
    """Apply four blocks and a linear head, as `Work.network` does."""
    jnp, stride = jax.numpy, 2 if work.downsample == "stride" else 1
    for block in range(4):
        weight, scale, shift = phi[3 * block : 3 * block + 3]
        x = jax.lax.conv_general_dilated(x, weight, (stride, stride), ((1, 1), (1, 1)))
        mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
        x = (x - mean) * jax.lax.rsqrt(variance + EPS)
        x = jax.nn.relu(x * scale[:, None, None] + shift[:, None, None])
        if stride == 1:
            height, width = (n // 2 * 2 for n in x.shape[2:])
            x = x[:, :, :height, :width].reshape(*x.shape[:2], height // 2, 2, width // 2, 2)
            x = x.max((3, 5))
    x = x.mean((2, 3)) if stride == 2 else x.reshape(len(x), -1)
    return jnp.dot(x, phi[-2].T) + phi[-1]
