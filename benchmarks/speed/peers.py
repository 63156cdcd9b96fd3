"""What others do for one meta-step, written as their documentation writes it."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch
from speed.work import META_LR, Step, Work
from torch import Tensor


def plain_loop(work: Work) -> Step:
    """Torch alone: a loop over the tasks, each with functional_call."""
    network = work.network()
    optimizer = torch.optim.Adam(network.parameters(), lr=META_LR)
    meta = dict(network.named_parameters())
    meta_batch = tasks(work)

    def step() -> list[Tensor]:
        total = torch.zeros((), device=work.device)
        for xs, ys, xq, yq in meta_batch:
            phi = meta
            for _ in range(work.inner_steps):
                loss = work.loss(torch.func.functional_call(network, phi, xs), ys)
                grads = torch.autograd.grad(loss, list(phi.values()), create_graph=True)
                phi = {
                    n: p - work.inner_lr * g for (n, p), g in zip(phi.items(), grads, strict=True)
                }
            total = total + work.loss(torch.func.functional_call(network, phi, xq), yq)
        optimizer.zero_grad()
        (total / work.tasks).backward()
        optimizer.step()
        return gradients_of(optimizer)

    return step


def learn2learn(work: Work) -> Step:
    """learn2learn's MAML: clone and adapt, a task at a time."""
    maml = learner_alone().MAML(work.network(), lr=work.inner_lr)
    optimizer = torch.optim.Adam(maml.parameters(), lr=META_LR)
    meta_batch = tasks(work)

    def step() -> list[Tensor]:
        optimizer.zero_grad()
        total = torch.zeros((), device=work.device)
        for xs, ys, xq, yq in meta_batch:
            learner = maml.clone()
            for _ in range(work.inner_steps):
                learner.adapt(work.loss(learner(xs), ys))
            total = total + work.loss(learner(xq), yq)
        (total / work.tasks).backward()
        optimizer.step()
        return gradients_of(optimizer)

    return step


def higher(work: Work) -> Step:
    """Higher's innerloop_ctx, a task at a time; each task's gradient is taken at once."""
    higher = importlib.import_module("higher")
    network = work.network()
    optimizer = torch.optim.Adam(network.parameters(), lr=META_LR)
    inner = torch.optim.SGD(network.parameters(), lr=work.inner_lr)
    meta_batch = tasks(work)

    def step() -> list[Tensor]:
        optimizer.zero_grad()
        for xs, ys, xq, yq in meta_batch:
            with higher.innerloop_ctx(network, inner, copy_initial_weights=False) as (
                learner,
                descent,
            ):
                for _ in range(work.inner_steps):
                    descent.step(work.loss(learner(xs), ys))
                (work.loss(learner(xq), yq) / work.tasks).backward()
        optimizer.step()
        return gradients_of(optimizer)

    return step


def torchopt(work: Work) -> Step:
    """TorchOpt's MetaSGD, a task at a time, the network's state kept and put back."""
    torchopt = importlib.import_module("torchopt")
    network = work.network()
    optimizer = torch.optim.Adam(network.parameters(), lr=META_LR)
    inner = torchopt.MetaSGD(network, lr=work.inner_lr)
    meta_batch = tasks(work)

    def step() -> list[Tensor]:
        optimizer.zero_grad()
        before = torchopt.extract_state_dict(network, by="reference")
        inner_before = torchopt.extract_state_dict(inner, by="reference")
        total = torch.zeros((), device=work.device)
        for xs, ys, xq, yq in meta_batch:
            for _ in range(work.inner_steps):
                inner.step(work.loss(network(xs), ys))
            total = total + work.loss(network(xq), yq)
            torchopt.recover_state_dict(network, before)
            torchopt.recover_state_dict(inner, inner_before)
        (total / work.tasks).backward()
        optimizer.step()
        return gradients_of(optimizer)

    return step


def gradients_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """What the optimizer's last step went by."""
    return [p.grad for p in optimizer.param_groups[0]["params"]]


def tasks(work: Work) -> list[tuple[Tensor, ...]]:
    """The tasks of the meta-batch, drawn before any clock runs."""
    return list(zip(*work.sets(), strict=True))


def learner_alone() -> ModuleType:
    """learn2learn's MAML without what its packages import beside: torchvision, gym .."""
    module = "learn2learn.algorithms.maml"
    if module in sys.modules:
        return sys.modules[module]
    found = importlib.util.find_spec("learn2learn")
    if found is None or found.origin is None:
        raise ImportError("learn2learn is not installed")
    for name in ("learn2learn", "learn2learn.algorithms"):
        package = ModuleType(name)
        package.__path__ = [str(Path(found.origin).parent.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    return importlib.import_module(module)


PEERS = {
    "learn2learn": learn2learn,
    "higher": higher,
    "torchopt": torchopt,
    "plain loop": plain_loop,
}
