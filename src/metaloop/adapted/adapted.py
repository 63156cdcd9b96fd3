"""A learner adapted to a few examples of a user: it predicts, scores and saves."""

import json
from collections.abc import Hashable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from metaloop.adapted.arrays import (
    find_classes,
    is_regression,
    to_array,
    to_indices,
    to_inputs,
    to_labels,
    to_values,
)
from metaloop.adapted.description import Description, describe, describe_outputs
from metaloop.adapted.export import export, freeze, with_weights
from metaloop.adapted.ways import Head, fit_ways
from metaloop.adapters import merge
from metaloop.algorithms import Algorithm
from metaloop.arguments import CountOrZero, Seed
from metaloop.episode import Episode, Examples, Inputs, count_rows, map_inputs, tensors_of
from metaloop.errors import UserError
from metaloop.inner_loop import Parameters
from metaloop.tasks import Task
from metaloop.tasks.readers.arrays import Array, Arrays, Labels

ROWS_AT_ONCE = 1024  # for predictions that do not depend on each other


class Adapted:
    """phi_K: a learner after K inner steps on a support set, created by `adapt_to`.

    Attributes:
        algorithm: the algorithm, for the number of classes in the support set.
        meta: theta and the algorithm's learned parameters.
        task: the family that the learner was trained on.
        support: the examples it adapted to, sorted by class; targets are 0..N-1 or real values.
        classes_: the labels, in the order of probabilities; None in regression.
        steps: K.
        run: name of the run that trained the learner, if known.
        phi: the adapted parameters, by the model's names.

    Examples:
        >>> import torch
        >>> from metaloop import ClassificationTask, Learner, Objective, Prototypical
        >>> network = torch.nn.Sequential()
        >>> network.add_module("head", torch.nn.Linear(2, 2))
        >>> objective = Objective(model=network, loss=torch.nn.functional.cross_entropy)
        >>> points = torch.utils.data.TensorDataset(torch.rand(20, 2), torch.arange(20) % 10)
        >>> task = ClassificationTask.of(points, ways=2, shots=1)
        >>> learner = Learner(Prototypical(objective), objective.meta_parameters(), task)
        >>> adapted = learner.adapt([[0.0, 0.0], [1.0, 1.0]], ["low", "high"])
        >>> adapted.predict([[0.1, 0.2], [0.9, 0.7]]).tolist()  # the nearest class mean
        ['low', 'high']

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
        self.classes_ = None if classes is None else to_array(classes)
        *_, phi = self.path()
        self.phi = {name: p.detach() for name, p in phi.items()}
        if not all(bool(p.isfinite().all()) for p in self.phi.values()):
            raise UserError(
                f"The learner diverged in {steps} inner steps: its weights are not finite. Take "
                "fewer steps, or bring the inputs into the scale of the training data."
            )

    def path(self) -> Iterator[Parameters]:
        """Yield phi_0 .. phi_K again."""
        with torch.no_grad():
            yield from self.algorithm.adapt(self.meta, self.support, self.steps)

    def predict(self, x: Arrays) -> Array:
        """Predict the most probable label of each row; in regression values, shaped like y.

        With norm_mode=transductive, the rows of x are normalised by their common statistics, like
        an episode's query set in evaluation, so predictions depend on which rows are passed
        together.
        """
        outputs = self.outputs(x)
        if self.classes_ is not None:
            labels: Array = self.classes_[outputs.argmax(1).cpu().numpy()]
            return labels
        values: Array = outputs.cpu().numpy()
        return values[:, 0] if self.is_flat else values

    def predict_proba(self, x: Arrays) -> Array:
        """Predict the probability of each class, [rows, classes], in the order of `classes_`."""
        if self.classes_ is None:
            raise UserError("A regression learner has no class probabilities. Use predict.")
        probabilities: Array = self.outputs(x).softmax(1).cpu().numpy()
        return probabilities

    def score(self, x: Arrays, y: Labels) -> float:
        """Compute the accuracy; in regression R^2, the explained share of y's variance."""
        query = Examples(self.to_inputs(x), self.to_targets(y))
        require_as_many(query)
        outputs = self.outputs_of(self.phi, query.inputs)
        if self.classes_ is not None:
            return float((outputs.argmax(1) == query.targets).double().mean())
        targets = query.targets.double()
        error = (targets - outputs.double()).square().sum()
        return float(1 - error / (targets - targets.mean(0)).square().sum())

    def outputs(self, x: Arrays) -> Tensor:
        """Compute the network's outputs: logits [rows, classes], or real values."""
        return self.outputs_of(self.phi, self.to_inputs(x))

    def outputs_of(self, phi: Parameters, inputs: Inputs) -> Tensor:
        """Compute the outputs for any phi of the path, from inputs in the run's scale."""
        rows = count_rows(inputs)
        size = self._rows_at_once(rows)
        cuts = (slice(start, start + size) for start in range(0, rows, size))
        with torch.no_grad():
            parts = [
                self.algorithm.objective.predict_query(phi, self._episode(inputs, cut))
                for cut in cuts
            ]
        return torch.cat(parts)

    def to_inputs(self, x: Arrays) -> Inputs:
        """Convert inputs to the run's scale."""
        return to_inputs(self.task, x, *self._kind)

    def to_targets(self, y: Labels) -> Tensor:
        """Convert labels to class indices; real values stay as they are."""
        if self.classes_ is None:
            return to_values(self.task, y, *self._kind)
        return to_indices(to_labels(y), self.classes_.tolist(), self._kind[1])

    def state_dict(self) -> dict[str, Tensor]:
        """Return the adapted weights and the buffers, by the model's names; adapters are merged."""
        model = with_weights(self.algorithm.objective.model, self.phi)
        return {name: p.detach() for name, p in merge(model).items()}

    def save(self, path: str | Path) -> None:
        """Write {"state_dict": weights, "classes": labels}, for torch.load.

        If the path ends in .safetensors, write the weights, with the labels as JSON metadata.
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

        Its outputs are the classes' probabilities, in order, or real values. The file contains
        `describe()` as JSON for programs without metaloop. With norm_mode=inductive the support
        set's statistics are part of the network. Modes that depend on the batch (transductive,
        support_plus_one) are refused unless the model has no batch norms.
        """
        classes = self._names
        inputs = self.support.inputs
        ways = None if classes is None else len(classes)
        named = tuple(self.task.input_shapes)
        network = freeze(self.algorithm.objective, self.phi, inputs, ways, named)
        export(network, inputs, Path(path), self.describe(), classes)

    def describe(self) -> Description:
        """Describe inputs and outputs of an exported file; `in_words` turns this into text."""
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
        return kind_of(self.algorithm.objective.model)

    def _episode(self, inputs: Inputs, cut: slice) -> Episode:
        nothing = tensors_of(inputs)[0].new_empty(0)  # targets and classes are not used
        seen = map_inputs(lambda tensor: tensor[cut], inputs)
        return Episode(self.support, Examples(seen, nothing), nothing)

    def _rows_at_once(self, rows: int) -> int:
        """Count the rows per pass: all if they are normalised together, else what fits."""
        mode = self.algorithm.objective.mode
        return mode.rows_at_once(rows, count_rows(self.support.inputs), ROWS_AT_ONCE)


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
    """Adapt to labelled examples; classes may have different numbers of examples.

    Runs the algorithm's inner loop, phi_0 .. phi_K, on the mean support loss, so a class with more
    examples has more weight.

    Args:
        algorithm: the algorithm of the learner.
        meta: what was meta-learned.
        task: the family it was trained on: scale and shape of inputs, kind of targets.
        x: inputs [rows, *X]; images as uint8 or as floats in 0..1, channels first; a dict of
            arrays if the network has several named inputs.
        y: labels of any hashable kind, or real values.
        steps: K; None takes the algorithm's eval_inner_steps.
        head: for another number of classes than the learner's; see `fit_ways`.
        seed: seed of a fresh head.
        run: name of the run that trained the learner.

    Raises:
        UserError: if the examples do not fit the learner.

    """
    meta = {name: p.detach() for name, p in meta.items()}
    steps = algorithm.eval_inner_steps if steps is None else steps
    if steps < 0:
        raise UserError(f"steps={steps}: the number of inner steps must be 0 or more.")
    if head not in (None, "fresh", "mean"):
        raise UserError(f"head={head} is unknown. Choices: fresh, mean.")
    kind = kind_of(algorithm.objective.model)
    inputs, is_flat = to_inputs(task, x, *kind), False
    if is_regression(task, y):
        if head is not None:
            raise UserError(f"head={head} is for classes, but the task's targets are real values.")
        support, classes = Examples(inputs, to_values(task, y, *kind)), None
        is_flat = np.ndim(y) == 1  # type: ignore[arg-type]
        require_as_many(support)
    else:
        labels = to_labels(y)
        classes = find_classes(labels) if labels else []
        support = Examples(inputs, to_indices(labels, classes, kind[1]))
        require_as_many(support)
        order = support.targets.argsort(stable=True)  # as in episodes
        support = support.map(lambda tensor: tensor[order])
        algorithm, meta = fit_ways(
            algorithm, meta, outputs=task.output_size, ways=len(classes), head=head, seed=seed
        )
    algorithm.objective.model.eval()
    return Adapted(algorithm, meta, task, support, classes, steps, is_flat=is_flat, run=run)


def kind_of(model: nn.Module) -> tuple[torch.dtype, torch.device]:
    """Return dtype and device of a model's parameters, learned or frozen."""
    first = next(model.parameters())
    return first.dtype, first.device


def require_as_many(examples: Examples) -> None:
    """Refuse different numbers of inputs and targets."""
    if (rows := count_rows(examples.inputs)) != len(examples.targets):
        raise UserError(
            f"x has {rows} rows, but y has {len(examples.targets)}: each example needs "
            "one label or target."
        )
