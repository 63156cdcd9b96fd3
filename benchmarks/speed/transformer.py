"""A small transformer, vectorised over tasks, against a plain loop over them."""

import torch
from speed.work import META_LR, Step
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from metaloop.adapters import lora
from metaloop.algorithms import maml
from metaloop.episode import Episode, Examples
from metaloop.inner_loop import Objective
from metaloop.meta_gradient import meta_gradient

INNER_LR, ROWS, LENGTH, WIDTH = 0.01, 10, 12, 32


class Network(nn.Module):
    """Encoder layers over sequences, and a head on their mean."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        made = [
            nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, batch_first=True)
            for _ in range(layers)
        ]
        self.layers = nn.Sequential(*made)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[S, length, width] -> [S, 1]."""
        return self.head(self.layers(x).mean(1))


def steps(tasks: int, *, layers: int = 1, rank: int | None = None) -> dict[str, Step]:
    """Return a meta-step, meta-gradient and Adam, of each; of adapters, where a rank is given."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(tasks, ROWS, *shape, generator=generator)

    support, query = (Examples(draw(LENGTH, WIDTH), draw(1)) for _ in range(2))
    episodes = Episode(support, query, torch.zeros(tasks, 0))
    return {
        "metaloop": vectorised(episodes, make_network(layers, rank)),
        "plain loop": plain_loop(episodes, make_network(layers, rank)),
    }


def vectorised(episodes: Episode, network: nn.Module) -> Step:
    """Make a meta-step of all tasks at once."""
    values = {"inner_lr": INNER_LR, "inner_steps": 1, "eval_inner_steps": 1}
    objective = Objective(model=network, loss=F.mse_loss)
    algorithm = maml(objective, **values, adjoint="unrolled")
    meta, optimizer = learned(network)

    def step() -> list[Tensor]:
        gradient, _ = meta_gradient(algorithm, meta, episodes)
        for name, p in meta.items():
            p.grad = gradient[name]
        optimizer.step()
        return list(gradient.values())

    return step


def plain_loop(episodes: Episode, network: nn.Module) -> Step:
    """Make a loop in plain torch, with its only attention kernel that has second derivatives."""
    meta, optimizer = learned(network)

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


def make_network(layers: int, rank: int | None, width: int = WIDTH) -> nn.Module:
    """Make the network, always with the same weights; those of adapters are not zero."""
    torch.manual_seed(0)
    network = Network(layers, width)
    if rank is None:
        return network
    adapted = lora(network, rank=rank, alpha=rank)
    with torch.no_grad():
        for name, p in adapted.named_parameters():
            p.add_(0.1 * torch.randn_like(p) * ("lora_B" in name))
    return adapted


def learned(network: nn.Module) -> tuple[dict[str, nn.Parameter], torch.optim.Optimizer]:
    """Return what is meta-learned, and its optimizer."""
    meta = {name: p for name, p in network.named_parameters() if p.requires_grad}
    return meta, torch.optim.Adam(meta.values(), lr=META_LR, fused=True)
