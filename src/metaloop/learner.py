"""A trained learner in Python: load a run, adapt to a few examples, predict."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from metaloop.adapted import Adapted, Arrays, Head, Labels, adapt_to, export, freeze
from metaloop.adapted.adapted import kind_of
from metaloop.adapted.description import describe, describe_outputs
from metaloop.algorithms import Algorithm
from metaloop.arguments import CountOrZero, Seed
from metaloop.episode import Examples, Inputs, map_inputs
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.inner_loop import NormModeName, Parameters
from metaloop.run.checkpoints.weights import find_weights, load_learner
from metaloop.run.config.build import build
from metaloop.run.config.run_config import RunConfig
from metaloop.tasks import Task


class Learner:
    """A run's meta-learned parameters, ready to adapt; made by `Learner.load`.

    Attributes:
        algorithm: how it adapts; `algorithm.objective.model` is the network.
        meta: everything meta-learned, by name.
        task: the family of tasks it was trained on.
        run: the name of the run that trained it.

    Examples:
        >>> import torch
        >>> from metaloop import Learner, Objective, Sinusoid, maml
        >>> objective = Objective(model=torch.nn.Linear(1, 1), loss=torch.nn.MSELoss())
        >>> algorithm = maml(
        ...     objective, inner_lr=0.5, inner_steps=1, eval_inner_steps=1, adjoint="unrolled"
        ... )
        >>> learner = Learner(algorithm, objective.meta_parameters(), Sinusoid(shots=2, queries=5))
        >>> adapted = learner.adapt([-1.0, 1.0], [-2.0, 2.0])  # one step reaches y = 2 x
        >>> adapted.predict([3.0]).round(4).tolist()
        [6.0]

    """

    def __init__(
        self, algorithm: Algorithm, meta: Parameters, task: Task, run: str | None = None
    ) -> None:
        self.algorithm, self.task, self.run = algorithm, task, run
        self.meta = {name: p.detach().clone() for name, p in meta.items()}

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        checkpoint: Literal["best", "last"] = "best",
        norm_mode: NormModeName | None = None,
        device: str = "cpu",
    ) -> "Learner":
        """Load a run folder's learner; the run's data is not needed.

        The folder's config names classes, which are constructed if they make what belongs there;
        METALOOP_TRUST in the environment says whose.

        Args:
            folder: what metaloop-train made.
            checkpoint: the best in validation, or the last.
            norm_mode: whose statistics norms take; None as the run was evaluated.
            device: where it computes, in torch's words.

        Raises:
            UserError: no run folder, no checkpoint, or one of another model.

        """
        if checkpoint not in ("best", "last"):
            raise UserError(f"checkpoint={checkpoint} is unknown. Choices: best, last.")
        run = RunFolder.open(folder)
        config = RunConfig.read(run)
        if config.command != "train":
            raise UserError(
                f"{folder} is an evaluation or adaptation. Name the run that it belongs to."
            )
        # one process here, whatever it was trained on
        alone = {"devices": 1, "nodes": 1}
        config = config.changed(norm_mode=norm_mode or config.norm_mode, device=alone)
        with _generators_restored():
            pieces = build(config)
        learner = pieces.meta_learner
        step = load_learner(learner, find_weights(run, checkpoint))
        learner.to(device).eval()
        name = run.path.resolve().name
        return cls(pieces.algorithm.at(step), learner.meta, pieces.task, name)

    def adapt(
        self,
        x: Arrays,
        y: Labels,
        *,
        steps: CountOrZero | None = None,
        head: Head | None = None,
        seed: Seed = 0,
    ) -> Adapted:
        """Adapt to a few labelled examples, in K `steps` (None: the run's eval_inner_steps).

        `x` are inputs [rows, *X] in numpy or torch: images as uint8, or as floats in 0..1,
        channels first; sentences, a string a row; or a dict of arrays
        where the network takes several by name. `y` are labels of any hashable kind (numbers
        in regression); classes may have different numbers of examples. With fewer classes than
        the run's the unused logits are masked: they enter neither the support loss nor the
        probabilities. More need a `head`: "mean" or "fresh" (drawn by `seed`).
        """
        return adapt_to(
            self.algorithm,
            self.meta,
            self.task,
            x,
            y,
            steps=steps,
            head=head,
            seed=seed,
            run=self.run,
        )

    def export(self, path: str | Path) -> None:
        """Write the network at theta, before any adaptation, as .pt2 or .onnx.

        Its outputs are logits, or numbers. Norms need stored statistics (frozen, per_step): those
        of a support set are not there yet.
        """
        *_, phi = self.algorithm.adapt(self.meta, _nothing(self), 0)
        example = self.task.scale(_blank(self.task, 1), kind_of(self.algorithm.objective.model)[0])
        is_classifier = self.task.is_regression is False
        outputs = {"kind": "logits"} if is_classifier else describe_outputs(self.task, None)
        objective = self.algorithm.objective
        description = describe(
            self.task, example, outputs, run=self.run, norm_mode=objective.norm_mode, steps=0
        )
        network = freeze(objective, phi, None, None, tuple(self.task.input_shapes))
        export(network, example, Path(path), description)


def _nothing(learner: Learner) -> Examples:
    """An empty support set: no step is taken on it."""
    dtype, device = kind_of(learner.algorithm.objective.model)
    empty = map_inputs(lambda tensor: tensor.to(device, dtype), _blank(learner.task, 0))
    return Examples(empty, torch.empty(0, dtype=dtype, device=device))


def _blank(task: Task, rows: int) -> Inputs:
    """So many inputs, as `encode` gives them."""
    if task.input_shapes:
        return {name: torch.zeros(rows, *shape) for name, shape in task.input_shapes.items()}
    return torch.zeros(rows, *task.input_shape)


@contextmanager
def _generators_restored() -> Iterator[None]:
    """Building a run seeds all generators; whoever loads a learner keeps theirs."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(python)
    np.random.set_state(numpy)
