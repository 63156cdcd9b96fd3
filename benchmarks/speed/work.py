"""The meta-training work that all peers do: the same network, tasks, steps and optimizer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Step = Callable[[], Sequence[object]]  # does a meta-step (meta-gradient, Adam), returns gradients
META_LR = 1e-3


@dataclass(frozen=True)
class Work:
    """One meta-batch, and the network that learns from it.

    Attributes:
        tasks: T.
        ways, shots, queries: N, K, Q; in a regression ways is 1, and shots and queries are points.
        image: (channels, height, width); None for a single number.
        width: filters of Conv4, or units of the MLP's two hidden layers.
        inner_steps, inner_lr: of plain gradient descent on all parameters.
        device: device of the computation.
        train: arguments of metaloop-train for the same work.
        sequence: (steps, features) of an input; None if it is not a sequence.

    """

    name: str
    tasks: int
    ways: int
    shots: int
    queries: int
    image: tuple[int, int, int] | None
    width: int
    downsample: Literal["stride", "max_pool"]
    inner_steps: int
    inner_lr: float
    train: tuple[str, ...] = ()
    device: str = "cpu"
    sequence: tuple[int, int] | None = None

    @property
    def is_omniglot(self) -> bool:
        """Whether metaloop-train reads Omniglot's archives for it."""
        return "task=omniglot" in self.train

    @property
    def rounding(self) -> float:
        """Largest difference of two float32 gradients by rounding, relative to their norm.

        With images, rounding to the other side of a ReLU's kink, or to another maximum in
        max-pooling, changes the third digit. The first-order gradient is much further away.
        """
        return 1e-3 if self.image is None else 2e-2

    def network(self) -> nn.Module:
        """Make the network from torch's own layers, always with the same weights."""
        torch.manual_seed(0)
        return self._network().to(self.device)

    def _network(self) -> nn.Module:
        if self.sequence is not None:
            return Recurrent(self.sequence[1], self.width)
        if self.image is None:
            return nn.Sequential(
                nn.Linear(1, self.width),
                nn.ReLU(),
                nn.Linear(self.width, self.width),
                nn.ReLU(),
                nn.Linear(self.width, 1),
            )
        channels, height, width = self.image
        blocks = [self._block(n) for n in (channels, self.width, self.width, self.width)]
        if self.downsample == "stride":
            return nn.Sequential(*blocks, Positions(), nn.Linear(self.width, self.ways))
        positions = (height // 16) * (width // 16)
        return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(self.width * positions, self.ways))

    def _block(self, inputs: int) -> nn.Sequential:
        stride = 2 if self.downsample == "stride" else 1
        pool = nn.Identity() if stride == 2 else nn.MaxPool2d(2)
        return nn.Sequential(
            nn.Conv2d(inputs, self.width, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(self.width, track_running_stats=False),
            nn.ReLU(),
            pool,
        )

    def sets(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw support inputs [T, S, *X] and targets, query inputs and targets."""
        generator = torch.Generator().manual_seed(1)
        found: list[Tensor] = []
        for count in (self.shots, self.queries):
            if self.sequence is not None:
                x = torch.randn(self.tasks, count, *self.sequence, generator=generator)
                found += [x, x.mean((2, 3))[..., None]]
            elif self.image is None:
                x = torch.rand(self.tasks, count, 1, generator=generator) * 10 - 5
                found += [x, torch.sin(x)]
            else:
                shape = (self.tasks, self.ways * count, *self.image)
                labels = torch.arange(self.ways).repeat_interleave(count)
                found += [torch.rand(shape, generator=generator), labels.repeat(self.tasks, 1)]
        xs, ys, xq, yq = (part.to(self.device) for part in found)
        return xs, ys, xq, yq

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Compute the mean loss of a set."""
        return (
            F.mse_loss(outputs, targets)
            if self.image is None
            else F.cross_entropy(outputs, targets)
        )


class Positions(nn.Module):
    """The mean over an image's positions."""

    def forward(self, x: Tensor) -> Tensor:
        """[rows, channels, H, W] -> [rows, channels]."""
        return x.mean((2, 3))


class Recurrent(nn.Module):
    """A GRU and a linear head on its last state."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(features, width, batch_first=True), nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[rows, steps, features] -> [rows, 1]."""
        return self.head(self.gru(x)[0][:, -1])


OMNIGLOT = (
    "task=omniglot",
    "task.ways=5",
    "task.shots=1",
    "model.filters=64",
    "model.downsample=stride",
    "data.meta_batch_size=32",
    "algorithm.inner_lr=0.4",
)
WORKS = {
    "sinusoid": Work(
        "sinusoid", 25, 1, 10, 10, None, 40, "stride", 1, 0.01,
        ("task=sinusoid", "task.shots=10", "task.queries=10", "data.meta_batch_size=25"),
    ),
    "gru": Work(
        "GRU on sequences", 8, 1, 10, 10, None, 32, "stride", 2, 0.01, sequence=(20, 4),
    ),
    "omniglot_1": Work(
        "Omniglot, 1 query", 32, 5, 1, 1, (1, 28, 28), 64, "stride", 1, 0.4,
        (*OMNIGLOT, "task.queries=1"),
    ),
    "omniglot_15": Work(
        "Omniglot, 15 queries", 32, 5, 1, 15, (1, 28, 28), 64, "stride", 1, 0.4,
        (*OMNIGLOT, "task.queries=15"),
    ),
    "mini_imagenet": Work(
        "miniImageNet's shape", 4, 5, 1, 15, (3, 84, 84), 32, "max_pool", 5, 0.01,
        (
            "task=image_folder", "task.image_size=84", "task.queries=15", "model.filters=32",
            "model.downsample=max_pool", "data.meta_batch_size=4", "algorithm.inner_steps=5",
            "algorithm.inner_lr=0.01",
        ),
    ),
}  # fmt: skip
