"""A learner whose answers are known by heart, and examples for it."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from metaloop.adapted import Adapted
from metaloop.algorithms import Prototypical
from metaloop.inner_loop import Objective
from metaloop.learner import Learner
from metaloop.tasks import RowClasses
from metaloop.tasks.readers.given import Given


class Numbers(RowClasses):
    input_shape = (1,)


def nearest_mean(x, y) -> Adapted:
    """A learner that takes a number for one of the class whose mean is nearest."""
    task = Numbers(ways=2, shots=1, queries=1)
    network = torch.nn.Sequential(OrderedDict(head=torch.nn.Linear(1, 2)))
    objective = Objective(model=network, loss=F.cross_entropy, metrics=task.metrics)
    learner = Learner(Prototypical(objective), objective.meta_parameters(), task)
    return learner.adapt(np.array(x, dtype=np.float32)[:, None], y)


def given(x, labels=None) -> Given:
    inputs = np.array(x, dtype=np.float32)[:, None]
    names = [f"row {i}" for i in range(len(x))]
    return Given(Path("examples.csv"), inputs, names, labels, columns={"row": names})
