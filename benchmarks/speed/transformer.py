"""A small transformer, vectorised over tasks, against a plain loop over them."""

import torch
from speed.work import META_LR, Step
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from metaloop.algorithms import maml
from metaloop.episode import Episode, Examples
from metaloop.inner_loop import Objective
from metaloop.meta_gradient import meta_gradient

INNER_LR, ROWS, LENGTH, WIDTH = 0.01, 10, 12, 32


class Network(nn.Module):
    """One encoder layer over sequences, and a head on their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, 0.0, batch_first=True)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[S, length, width] -> [S, 1]."""
        return self.head(self.layer(x).mean(1))


def steps(tasks: int) -> dict[str, Step]:
    """Return a meta-step, meta-gradient and Adam, of each."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(tasks, ROWS, *shape, generator=generator)

    support, query = (Examples(draw(LENGTH, WIDTH), draw(1)) for _ in range(2))
    episodes = Episode(support, query, torch.zeros(tasks, 0))
    return {"metaloop": vectorised(episodes), "plain loop": plain_loop(episodes)}


def vectorised(episodes: Episode) -> Step:
    """Make a meta-step of all tasks at once."""
    network, optimizer = make_network()
    values = {"inner_lr": INNER_LR, "inner_steps": 1, "eval_inner_steps": 1}
    objective = Objective(model=network, loss=F.mse_loss)
    algorithm = maml(objective, **values, adjoint="unrolled")
    meta = dict(network.named_parameters())

    def step() -> list[Tensor]:
        gradient, _ = meta_gradient(algorithm, meta, episodes)
        for name, p in meta.items():
            p.grad = gradient[name]
        optimizer.step()
        return list(gradient.values())

    return step


def plain_loop(episodes: Episode) -> Step:
    """Make a loop in plain torch, with its only attention kernel that has second derivatives."""
    network, optimizer = make_network()
    meta = dict(network.named_parameters())

    def loss(phi: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(torch.func.functional_call(network, phi, x), y)

    def step() -> list[Tensor]:
        optimizer.zero_grad()
        total, tasks = torch.zeros(()), len(episodes.classes)
        with sdpa_kernel(SDPBackend.MATH):
            for t in range(tasks):
                xs, ys, xq, yq = (part[t] for part in (*episodes.support, *episodes.query))
                slopes = torch.autograd.grad(
                    loss(meta, xs, ys), list(meta.values()), create_graph=True
                )
                moved = zip(meta.items(), slopes, strict=True)
                total = total + loss({n: p - INNER_LR * g for (n, p), g in moved}, xq, yq)
            (total / tasks).backward()
        optimizer.step()
        return [p.grad for p in meta.values()]

    return step


def make_network() -> tuple[Network, torch.optim.Optimizer]:
    """Make network and optimizer, always with the same weights."""
    torch.manual_seed(0)
    network = Network()
    return network, torch.optim.Adam(network.parameters(), lr=META_LR, fused=True)
