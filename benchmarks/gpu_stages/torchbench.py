"""The work of TorchBench's functorch_maml_omniglot, by its own code and by metaloop.

Three unpadded convolutions of 64 filters, batch norm, ReLU and max-pooling; 32 tasks, 5-way 5-shot
with 15 queries a class; five inner steps of 0.1, and Adam on the sum of the tasks' query losses.
Its authors took 107 ms a step on an A100.
"""

import functools
from typing import NamedTuple

import torch
from speed.work import META_LR, Step
from torch import Tensor, nn
from torch.nn import functional as F

from gpu_stages.ways import meta_step
from metaloop.algorithms import maml
from metaloop.episode import Episode, Examples
from metaloop.inner_loop import Objective

WAYS, SHOTS, QUERIES = 5, 5, 15
INNER_STEPS, INNER_LR = 5, 0.1


class Size(NamedTuple):
    """What a rehearsal makes smaller."""

    device: str
    tasks: int
    filters: int


def network(size: Size, norm: type[nn.Module], **norm_arguments: object) -> nn.Module:
    """The same weights always."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for channels in (1, size.filters, size.filters):
        layers += [nn.Conv2d(channels, size.filters, 3), norm(size.filters, **norm_arguments)]
        layers += [nn.ReLU(), nn.MaxPool2d(2, 2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(size.filters, WAYS)).to(size.device)


def sets(size: Size) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images of noise, whose content changes no cost: support [T, 25, ..], query [T, 75, ..]."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for each in (SHOTS, QUERIES):
        images = torch.rand(size.tasks, WAYS * each, 1, 28, 28, generator=generator)
        found += [images, torch.arange(WAYS).repeat_interleave(each).repeat(size.tasks, 1)]
    xs, ys, xq, yq = (part.to(size.device) for part in found)
    return xs, ys, xq, yq


def own_way(size: Size) -> Step:
    """Its train(): vmap over the tasks of a loop of torch.func.grad, then one backward."""
    net = network(size, nn.BatchNorm2d, affine=True, track_running_stats=False)
    params = dict(net.named_parameters())
    optimizer = torch.optim.Adam(params.values(), lr=META_LR)
    support_and_query = sets(size)

    def loss_for_task(
        params: dict[str, Tensor], xs: Tensor, ys: Tensor, xq: Tensor, yq: Tensor
    ) -> tuple[Tensor, Tensor]:
        def compute_loss(new_params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return F.cross_entropy(torch.func.functional_call(net, new_params, (x,)), y)

        new_params = params
        for _ in range(INNER_STEPS):
            grads = torch.func.grad(compute_loss)(new_params, xs, ys)
            new_params = {n: p - INNER_LR * grads[n] for n, p in new_params.items()}
        logits = torch.func.functional_call(net, new_params, (xq,))
        accuracy = (logits.argmax(dim=1) == yq).sum() / len(yq)
        return F.cross_entropy(logits, yq), accuracy

    def step() -> list[Tensor]:
        optimizer.zero_grad()
        for_task = functools.partial(loss_for_task, params)
        losses, _ = torch.func.vmap(for_task)(*support_and_query)
        losses.sum().backward()
        optimizer.step()
        return [p.grad for p in params.values()]

    return step


def task_by_task(size: Size) -> list[Tensor]:
    """The gradient of the mean over the tasks without vmap, which is exact for every norm."""
    net = network(size, nn.BatchNorm2d, track_running_stats=False)
    params = dict(net.named_parameters())
    for xs, ys, xq, yq in zip(*sets(size), strict=True):
        phi = params
        for _ in range(INNER_STEPS):
            loss = F.cross_entropy(torch.func.functional_call(net, phi, (xs,)), ys)
            grads = torch.autograd.grad(loss, list(phi.values()), create_graph=True)
            phi = {n: p - INNER_LR * g for (n, p), g in zip(phi.items(), grads, strict=True)}
        loss = F.cross_entropy(torch.func.functional_call(net, phi, (xq,)), yq)
        (loss / size.tasks).backward()
    return [p.grad for p in params.values()]


def ours(size: Size, way: str) -> Step:
    """The same by metaloop, whose gradient is that of the mean over the tasks."""
    net = network(size, nn.BatchNorm2d)
    steps = {"inner_steps": INNER_STEPS, "eval_inner_steps": INNER_STEPS}
    objective = Objective(model=net, loss=F.cross_entropy)
    algorithm = maml(objective, inner_lr=INNER_LR, **steps, adjoint="unrolled")
    xs, ys, xq, yq = sets(size)
    classes = torch.zeros(size.tasks, WAYS, dtype=torch.long, device=size.device)
    return meta_step(algorithm, Episode(Examples(xs, ys), Examples(xq, yq), classes), way)
