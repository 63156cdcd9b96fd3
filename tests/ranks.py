"""Meta-trains every algorithm for three steps: python -m tests.ranks PROCESSES FOLDER.

Started once as it is and once by torchrun; the test beside it compares what came out.
"""

import os
import sys
import warnings
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from metaloop.episode import Episode, Examples
from metaloop.inner_loop import Objective
from metaloop.loggers import MetricsCsv
from metaloop.run.config.settings import Device, Training
from metaloop.run.config.trainer import make_trainer
from metaloop.tasks import ClassificationTask
from metaloop.tasks.shapes import Shapes
from metaloop.training.datamodule import EpisodicDataModule
from metaloop.training.meta_learner import MetaLearner
from tests.episodes import CLASSES, RECIPES, named, recipe


class Blobs(ClassificationTask):
    """Noise around one made-up image a class, 3-way 2-shot unless shapes vary."""

    input_shape, output_size, classes = (1, 6, 6), 3, CLASSES

    def __init__(self, **varying):
        self.shapes = Shapes(**{"ways": 3, "shots": 2, **varying})

    def draw(self, split, streams):
        ways, shots = len(sizes := self.shapes.of(streams)), sizes[0]
        generator = torch.Generator().manual_seed(0)
        centres = torch.randn(CLASSES, 1, 6, 6, generator=generator)
        chosen = streams.choose(count=ways, population=CLASSES)
        noise = streams.uniform(ways, shots + 2, 1, 6, 6, low=-1, high=1)
        images = centres[chosen][:, :, None] + noise
        labels = torch.arange(ways)[:, None].expand(images.shape[:3])
        support, query = (
            Examples(images[:, :, part].flatten(1, 2), labels[:, :, part].flatten(1, 2))
            for part in (slice(None, shots), slice(shots, None))
        )
        return Episode(support, query, chosen)


class Shifted(nn.Linear):
    """A layer with a context."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.context = nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return super().forward(x) + self.context


# a recipe on episodes whose shapes differ within a meta-batch and between the processes
VARYING = "maml, varying"


def learner(name: str) -> MetaLearner:
    torch.manual_seed(0)
    # no bias before the norm: its gradient is rounding noise, which the inner Adam blows up
    body = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=3, bias=False), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten()
    )
    body.append(Shifted(16, 8) if name == "cavia" else nn.Linear(16, 8))
    objective = Objective(
        model=named(body, nn.Linear(8, 3)),
        loss=F.cross_entropy,
        metrics=Blobs().metrics,
        norm_mode="transductive" if name in ("pretrain", "prototypical", "r2d2") else "per_step",
    )
    if name == VARYING:
        name, objective = "maml", replace(objective, ways=3)
    return MetaLearner(
        recipe(name, objective),
        optimizer=lambda groups: torch.optim.Adam(groups, lr=0.01),
        own_lr=0.001,
        clip_norm=0.5,
        report=True,
        log_every=2,
    )


def train(name: str, processes: int, folder: str) -> dict[str, torch.Tensor]:
    device = Device(
        accelerator="cpu",
        devices=processes,
        nodes=1,
        precision="64-true",
        tasks_at_once="all",
        compile=False,
        deterministic=False,
    )
    training = Training(
        max_steps=3,
        validate_every=2,
        log_every=2,
        save_every=1000,
        clip_norm=None,
        own_lr=None,
        clip_value=None,
        stop_when_diverged=True,
        report=True,
    )
    trainer = make_trainer(device, folder, [], [MetricsCsv(f"{folder}/{name}.csv")], training)
    module = learner(name)
    task = Blobs(ways=[2, 3], shots=[1, 2]) if name == VARYING else Blobs()
    data = EpisodicDataModule(task, seed=0, meta_batch_size=4, validation_episodes=5)
    trainer.fit(module, datamodule=data)
    return {n: p.detach() for n, p in module.meta.items()}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    processes, folder = int(sys.argv[1]), sys.argv[2]
    weights = {name: train(name, processes, folder) for name in (*RECIPES, VARYING)}
    if int(os.environ.get("RANK", 0)) == 0:
        torch.save(weights, f"{folder}/weights.pt")
