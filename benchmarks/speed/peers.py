"""One meta-step by other libraries, written as in their documentation."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch
from speed.work import META_LR, Step, Work
from torch import Tensor, nn


def plain_loop(work: Work) -> Step:
    """Plain torch: a loop over the tasks, each with functional_call."""
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
    """learn2learn's MAML: clone and adapt, task by task."""
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
    """Higher's innerloop_ctx, task by task; each task's gradient is computed immediately."""
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
    """TorchOpt's MetaSGD, task by task, with the network's state saved and restored."""
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


def iteryne(work: Work) -> Step:
    """Iteryne's MAML: clone and adapt, task by task."""
    module = importlib.import_module("iteryne")
    maml = module.MAML(work.network(), inner_lr=work.inner_lr, inner_steps=work.inner_steps)
    optimizer = torch.optim.Adam(maml.parameters(), lr=META_LR)
    meta_batch = tasks(work)

    def step() -> list[Tensor]:
        optimizer.zero_grad()
        for xs, ys, xq, yq in meta_batch:
            learner = maml.clone()
            for _ in range(work.inner_steps):
                learner.adapt(work.loss(learner(xs), ys))
            (work.loss(learner(xq), yq) / work.tasks).backward()
        optimizer.step()
        return gradients_of(optimizer)

    return step


def parallel_metalearn(work: Work) -> Step:
    """parallel-metalearn's MAML: torch.vmap over the tasks, with its own recurrent layers."""
    library = importlib.import_module("metalearn.algorithms")
    descent = importlib.import_module("metalearn.inner_optimizers").InnerSGD
    base = importlib.import_module("metalearn.loss.base").BaseLoss
    translator = importlib.import_module("metalearn.nn_models.pytorch2metalearn").ModelTranslator

    class MeanLoss(base):  # type: ignore[misc, valid-type]
        def forward(self, out_dict, targets, model_states=None, **_):  # noqa: ANN001, ANN003, ANN202
            return work.loss(out_dict["logits"], targets), torch.zeros(())

    model = Answering(work.network())
    if work.sequence is not None:
        model = translator.convert_to_functional(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=META_LR)
    weights = model.get_fast_weights()
    maml = library.MAML(
        model=model,
        optimizer=optimizer,
        inner_optimizer=descent(weights, inner_lr=work.inner_lr, learn_lr=False),
        support_loss_fn=MeanLoss(),
        inner_steps=work.inner_steps,
        device=torch.device(work.device),
    )
    sets = work.sets()

    def step() -> list[Tensor]:
        maml.step(iter([sets]))
        return gradients_of(optimizer)

    return step


class Answering(nn.Module):
    """A network with the interface of parallel-metalearn's MAML."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, **_: object) -> dict[str, Tensor]:
        """[rows, ..] -> {"logits": [rows, outputs]}."""
        return {"logits": self.network(x)}

    def get_fast_weights(self) -> dict[str, nn.Parameter]:
        """Return the parameters that adapt: all."""
        return dict(self.named_parameters())


def gradients_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return the gradients of the optimizer's last step."""
    return [p.grad for p in optimizer.param_groups[0]["params"]]


def tasks(work: Work) -> list[tuple[Tensor, ...]]:
    """Return the tasks of the meta-batch, drawn before timing starts."""
    return list(zip(*work.sets(), strict=True))


def learner_alone() -> ModuleType:
    """Import learn2learn's MAML without its packages' other imports: torchvision, gym .."""
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
    "iteryne": iteryne,
    "parallel-metalearn": parallel_metalearn,
    "plain loop": plain_loop,
}
