"""A learner adapted to somebody's few examples: it predicts, scores and saves."""

import json
from collections.abc import Hashable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from metaloop.adapted.arrays import (
    find_classes,
    is_regression,
    named,
    to_indices,
    to_inputs,
    to_labels,
    to_numbers,
)
from metaloop.adapted.description import Description, describe, describe_outputs
from metaloop.adapted.export import export, freeze
from metaloop.adapted.ways import Head, fit_ways
from metaloop.algorithms import Algorithm
from metaloop.arguments import CountOrZero, Seed
from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.inner_loop import Parameters
from metaloop.tasks import Task
from metaloop.tasks.readers.arrays import Array, Arrays, Labels

ROWS_AT_ONCE = 1024  # of predictions that do not depend on each other


class Adapted:
    """phi_K: a learner after K inner steps on a support set. `adapt_to` makes it.

    Attributes:
        algorithm: whose inner loop it was, for as many classes as the support set has.
        meta: theta and what the algorithm has learned beside it.
        task: the family that the learner was trained on.
        support: the examples it adapted to, sorted by class; targets are 0..N-1 or numbers.
        classes_: the labels, in the order of probabilities; None in regression.
        steps: K.
        run: the name of the run that trained the learner, where it is known.
        phi: the adapted parameters, by the model's names.

    """

    def __init__(
        self,
        algorithm: Algorithm,
        meta: Parameters,
        task: Task,
        support: Examples,
        classes: list[Hashable] | None,
        steps: int,
        *,
        is_flat: bool,
        run: str | None = None,
    ) -> None:
        self.run = run
        self.algorithm, self.meta, self.task = algorithm, meta, task
        self.support, self.steps, self.is_flat = support, steps, is_flat
        self.classes_ = None if classes is None else named(classes)
        *_, phi = self.path()
        self.phi = {name: p.detach() for name, p in phi.items()}
        if not all(bool(p.isfinite().all()) for p in self.phi.values()):
            raise UserError(
                f"The learner diverged in {steps} inner steps: its weights are no numbers any "
                "more. Take fewer steps, or bring the inputs into the scale of the run's."
            )

    def path(self) -> Iterator[Parameters]:
        """phi_0 .. phi_K, once more."""
        with torch.no_grad():
            yield from self.algorithm.adapt(self.meta, self.support, self.steps)

    def predict(self, x: Arrays) -> Array:
        """The most probable label of each row; in regression numbers, shaped as y was.

        With norm_mode=transductive the rows of x are normalised by each other's statistics, as an
        episode's query set is in evaluation: pass together what belongs together.
        """
        outputs = self.outputs(x)
        if self.classes_ is not None:
            labels: Array = self.classes_[outputs.argmax(1).cpu().numpy()]
            return labels
        numbers: Array = outputs.cpu().numpy()
        return numbers[:, 0] if self.is_flat else numbers

    def predict_proba(self, x: Arrays) -> Array:
        """The probability of each class for each row, [rows, classes] as in `classes_`."""
        if self.classes_ is None:
            raise UserError("A regression has no classes, so no probabilities. Use predict.")
        probabilities: Array = self.outputs(x).softmax(1).cpu().numpy()
        return probabilities

    def score(self, x: Arrays, y: Labels) -> float:
        """Accuracy; in regression R^2, the share of y's variance that is explained."""
        query = Examples(self.to_inputs(x), self.to_targets(y))
        require_as_many(query)
        outputs = self.outputs_of(self.phi, query.inputs)
        if self.classes_ is not None:
            return float((outputs.argmax(1) == query.targets).double().mean())
        targets = query.targets.double()
        error = (targets - outputs.double()).square().sum()
        return float(1 - error / (targets - targets.mean(0)).square().sum())

    def outputs(self, x: Arrays) -> Tensor:
        """The network's outputs: logits of the classes [rows, classes], or numbers."""
        return self.outputs_of(self.phi, self.to_inputs(x))

    def outputs_of(self, phi: Parameters, inputs: Tensor) -> Tensor:
        """The same under any phi of the path, of inputs already in the run's scale."""
        size = self._rows_at_once(len(inputs))
        with torch.no_grad():
            parts = [
                self.algorithm.objective.predict_query(phi, self._episode(part))
                for part in torch.split(inputs, size)
            ]
        return torch.cat(parts)

    def to_inputs(self, x: Arrays) -> Tensor:
        """Inputs in the run's scale."""
        return to_inputs(self.task, x, *self._kind)

    def to_targets(self, y: Labels) -> Tensor:
        """Labels as class numbers, or numbers as they are."""
        if self.classes_ is None:
            return to_numbers(self.task, y, *self._kind)
        return to_indices(to_labels(y), self.classes_.tolist(), self._kind[1])

    def state_dict(self) -> dict[str, Tensor]:
        """The adapted weights by the model's names, its buffers among them."""
        held = {n: p.detach() for n, p in self.algorithm.objective.model.state_dict().items()}
        return {name: self.phi.get(name, p) for name, p in held.items()}

    def save(self, path: str | Path) -> None:
        """Write {"state_dict": weights, "classes": labels}, for torch.load.

        To a path that ends in .safetensors: the weights, and as metadata the labels as JSON.
        """
        weights = {name: p.cpu().clone() for name, p in self.state_dict().items()}
        classes = None if self.classes_ is None else self.classes_.tolist()
        if Path(path).suffix == ".safetensors":
            labels = None if classes is None else [str(label) for label in classes]
            whole = {name: p.contiguous() for name, p in weights.items()}
            save_file(whole, path, metadata={"classes": json.dumps(labels)})
            return
        torch.save({"state_dict": weights, "classes": classes}, path)

    def export(self, path: str | Path) -> None:
        """Write the adapted network as .pt2 or .onnx: inputs in the run's scale, any batch size.

        It gives probabilities of the classes, in order, or numbers, and holds `describe()` as JSON
        for programs without metaloop. With norm_mode=inductive the
        support set's statistics are part of it; what depends on the batch (transductive,
        support_plus_one) is refused, unless the model has no batch norms.
        """
        classes = self._names
        inputs = self.support.inputs
        ways = None if classes is None else len(classes)
        network = freeze(self.algorithm.objective, self.phi, inputs, ways)
        export(network, inputs, Path(path), self.describe(), classes)

    def describe(self) -> Description:
        """What an exported file takes and gives, by which run: `in_words` says it to a reader."""
        return describe(
            self.task,
            self.support.inputs,
            describe_outputs(self.task, self._names),
            run=self.run,
            norm_mode=self.algorithm.objective.norm_mode,
            steps=self.steps,
        )

    @property
    def _names(self) -> list[str] | None:
        return None if self.classes_ is None else [str(label) for label in self.classes_]

    @property
    def _kind(self) -> tuple[torch.dtype, torch.device]:
        return kind_of(self.meta)

    def _episode(self, inputs: Tensor) -> Episode:
        return Episode(self.support, Examples(inputs, inputs[:, :0]), inputs[:0])

    def _rows_at_once(self, rows: int) -> int:
        """All where they are normalised together, else so many that they fit in memory."""
        mode = self.algorithm.objective.mode
        return mode.rows_at_once(rows, len(self.support.inputs), ROWS_AT_ONCE)


def adapt_to(
    algorithm: Algorithm,
    meta: Parameters,
    task: Task,
    x: Arrays,
    y: Labels,
    *,
    steps: CountOrZero | None = None,
    head: Head | None = None,
    seed: Seed = 0,
    run: str | None = None,
) -> Adapted:
    """Adapt to labelled examples; classes may differ in how many they have.

    phi_0 .. phi_K by the algorithm's own inner loop on the mean support loss, so that a class
    with more examples weighs more.

    Args:
        algorithm: how the learner adapts.
        meta: what was meta-learned.
        task: the family it was trained on: scale and shape of inputs, kind of targets.
        x: inputs [rows, *X]; images as uint8 or as floats in 0..1, channels first.
        y: labels of any hashable kind, or numbers.
        steps: K; None takes the algorithm's eval_inner_steps.
        head: for another number of classes than the learner's; see `fit_ways`.
        seed: of a fresh head.
        run: the name of the run that trained the learner.

    Raises:
        UserError: what arrived does not fit the learner.

    """
    meta = {name: p.detach() for name, p in meta.items()}
    steps = algorithm.eval_inner_steps if steps is None else steps
    if steps < 0:
        raise UserError(f"steps={steps}: a number of inner steps is 0 or more.")
    if head not in (None, "fresh", "mean"):
        raise UserError(f"head={head} is unknown. Choices: fresh, mean.")
    kind = kind_of(meta)
    inputs, is_flat = to_inputs(task, x, *kind), False
    if is_regression(task, y):
        if head is not None:
            raise UserError(f"head={head} is for classes, and the task's targets are numbers.")
        support, classes = Examples(inputs, to_numbers(task, y, *kind)), None
        is_flat = np.ndim(y) == 1  # type: ignore[arg-type]
        require_as_many(support)
    else:
        labels = to_labels(y)
        classes = find_classes(labels) if labels else []
        support = Examples(inputs, to_indices(labels, classes, kind[1]))
        require_as_many(support)
        order = support.targets.argsort(stable=True)  # as episodes have it
        support = Examples(inputs[order], support.targets[order])
        algorithm, meta = fit_ways(
            algorithm, meta, outputs=task.output_size, ways=len(classes), head=head, seed=seed
        )
    algorithm.objective.model.eval()
    return Adapted(algorithm, meta, task, support, classes, steps, is_flat=is_flat, run=run)


def kind_of(meta: Parameters) -> tuple[torch.dtype, torch.device]:
    """The float type of the parameters and where they are."""
    first = next(iter(meta.values()))
    return first.dtype, first.device


def require_as_many(examples: Examples) -> None:
    """Refuse inputs and targets of different numbers."""
    if len(examples.inputs) != len(examples.targets):
        raise UserError(
            f"x has {len(examples.inputs)} rows and y {len(examples.targets)}: each example needs "
            "one label or target."
        )
