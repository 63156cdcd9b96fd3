"""The contract of a task family: draws episodes, and defines loss and metrics."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from metaloop.episode import Episode, Inputs, map_inputs, the_tensor
from metaloop.errors import UserError
from metaloop.tasks.disjoint import Deal, deal_fresh
from metaloop.tasks.metric import MetricFunction
from metaloop.tasks.random_streams import SPLITS, RandomStreams, Split
from metaloop.tasks.readers.arrays import Arrays, to_tensor
from metaloop.tasks.readers.given import ExampleFiles, Given, name_files, require_place
from metaloop.tasks.readers.given_images import read_images
from metaloop.tasks.readers.given_rows import Columns, read_rows
from metaloop.tasks.readers.image_files import ImageFiles
from metaloop.tasks.shapes import Shapes

Network = Callable[[Inputs], Tensor]
Function = Callable[[Tensor], Tensor]


class Task(ABC):
    """A family of tasks. Your own only needs one method, `draw`.

    Its constructor needs no data if the config contains everything that its model needs. The
    config of a trained run does, so its learner can adapt, predict and be exported without the
    data. Commands that draw episodes call `require_data` before they create a folder. The trainer
    calls `prepare` once on one process, `setup` once on every process, `draw` in the data loader's
    workers (CPU) and `gather` on the training device.

    Attributes:
        input_shape: X, the shape of one input of the model.
        input_shapes: if inputs are a dict: shapes of one input's tensors, by the network's names.
        output_size: number of the model's outputs for one input: the ways of a classification, the
            size of a regression's target.
        classes: number of global class ids over all splits; 0 in regression or without pretraining.
        vocabulary_size: number of token ids if inputs are tokens (0 is padding); 0 if inputs are
            real values. Passed to a model whose constructor has an argument of this name.
        found: values of the family's config keys that were null, mostly inferred from its data. A
            run's config records them, so that its learner does not need the data.
        splits: those from which episodes are drawn, all in training. Others need not exist.
        monitor: the reported value that selects the best learner; the metric defines its direction.
        target_names: names of a regression's targets, if they have names.
        shapes: numbers of classes and support examples per episode, where they may vary; `draw`
            then calls `shapes.of(streams)`.
        is_fresh: whether every episode has newly drawn data, as synthetic families do.
        is_regression: whether targets are real values rather than classes; None if this depends on
            the targets that a user adapts to.

    Examples:
        >>> import torch
        >>> from metaloop import Episode, Examples, RandomStreams, Task
        >>> class Offsets(Task):  # y = x + offset, judged by the mean absolute error
        ...     input_shape, output_size = (1,), 1
        ...     def draw(self, split, streams):
        ...         x = streams.uniform(4, 1)
        ...         y = x + streams.normal(1, 1)
        ...         classes = torch.empty(streams.episodes, 0, dtype=torch.int64)
        ...         support, query = Examples(x[:, :1], y[:, :1]), Examples(x[:, 1:], y[:, 1:])
        ...         return Episode(support, query, classes)
        ...     def loss(self, predictions, targets):
        ...         return torch.nn.functional.l1_loss(predictions, targets)
        >>> episodes = Offsets().draw("train", RandomStreams(0, "train", torch.arange(3)))
        >>> episodes.support.inputs.shape, episodes.query.inputs.shape
        (torch.Size([3, 1, 1]), torch.Size([3, 3, 1]))

    """

    input_shape: tuple[int, ...] = ()
    input_shapes: Mapping[str, tuple[int, ...]] = {}
    output_size: int
    classes: int = 0
    vocabulary_size: int = 0
    found: Mapping[str, object] = {}
    splits: Sequence[Split] = SPLITS
    shapes: Shapes = Shapes(shots=1)  # fixed, so its shots are never used
    target_names: Sequence[str] = ()
    monitor: str = "query_loss"
    is_fresh: bool = False
    is_regression: bool | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not isinstance(cls.monitor, str):
            raise UserError(
                f"{cls.__name__}.monitor is {cls.monitor}, but it must be only a name: the metric "
                "defines whether higher is better, by metaloop.Metric(function, "
                "higher_is_better=True)."
            )

    def require_data(self) -> None:  # noqa: B027 - many families have no data
        """Make quick checks: the data exists, and episodes are not too large for a split.

        Raises:
            UserError: what is missing, and what to change.

        """

    def prepare(self) -> None:  # noqa: B027 - many families have nothing to prepare
        """Download, check and cache the family's data."""

    def setup(self) -> None:  # noqa: B027 - many families have nothing to open
        """Open what `prepare` has made."""

    @abstractmethod
    def draw(self, split: Split, streams: RandomStreams) -> Episode:
        """Draw one episode per stream of `streams`, which is the only source of randomness.

        If shapes vary, all of these episodes have one shape.

        Returns:
            a meta-batch of episodes, or any NamedTuple of CPU tensors [T, ..], one entry per
            episode, which `gather` turns into a meta-batch. Training draws several meta-batches
            at once and splits them.

        """

    def deal(self, seed: int, split: Split, indices: Tensor) -> Deal:
        """Deal the split's examples to these episodes, each example to one at most.

        It ends before the first episode that too few are left for. `draw` gets what was dealt by
        `streams.pick`.

        Raises:
            UserError: the family does not say what its episodes are drawn from.

        """
        if self.is_fresh:
            return deal_fresh(indices)
        raise UserError(
            f"{type(self).__name__} does not say which examples its episodes share, so that there "
            "is no open interval. Set evaluation.interval=closed; or, if every episode is of data "
            "drawn anew, say so in the class: is_fresh = True."
        )

    def origins(self, drawn: Episode) -> dict[str, Tensor]:
        """Say what episodes were drawn from, in columns of episodes.csv: numbers, [T, ..] each.

        Args:
            drawn: what `draw` returned.

        """
        return {}

    def truth(self, split: Split, streams: RandomStreams) -> Function | None:
        """Return the function behind the targets of the episodes that `draw` makes of `streams`.

        It maps inputs [T, n, *X] to targets without noise, and is drawn in pictures beneath the
        learner's; None: unknown.
        """
        return None

    def extremes(self) -> Sequence["Task"]:
        """Return families of the smallest and largest episodes; itself if shapes are fixed."""
        return [self._of(shapes) for shapes in self.shapes.extremes()] or [self]

    def gather(self, drawn: Episode, dtype: torch.dtype) -> Episode:
        """Turn the result of `draw`, already on the device, into episodes of this float dtype."""

        def to_type(tensor: Tensor) -> Tensor:
            return cast(tensor, dtype)

        return Episode(drawn.support.map(to_type), drawn.query.map(to_type), drawn.classes)

    def forward(self, network: Network, inputs: Inputs) -> Tensor:
        """Compute predictions for the inputs of one set: by default the network's outputs.

        Override this if the inputs are not the network's inputs (an environment's noise, for
        instance): call the network here on inputs of `input_shape`.
        """
        return network(inputs)

    def require_examples(self, place: Path, key: str) -> None:
        """Refuse a path of a kind that `read_examples` does not read."""
        require_place(place, key)

    def read_examples(
        self, place: Path, *, skip_unusable: bool, like: Given | None = None
    ) -> Given:
        """Read a user's examples from a file or folder, in the same way as the family's data.

        Args:
            place: images if `input_shape` is an image's, else a table.
            skip_unusable: leave out unusable files instead of refusing them.
            like: examples read earlier, whose columns these must have.

        """
        if self.input_shapes:
            raise UserError(
                f"The run's inputs are several arrays ({', '.join(self.input_shapes)}), which a "
                "CSV file or folder cannot hold. Adapt in Python: "
                "Learner.adapt(x={NAME: array, ..}, y)."
            )
        if len(self.input_shape) == 3:
            return read_images(place, self.image_files(), skip_unusable=skip_unusable)
        return read_rows(
            place,
            self.input_shape,
            is_regression=bool(self.is_regression),
            columns=Columns(like.features if like else None),
        )

    def suggest_files(self) -> ExampleFiles | None:
        """Name files that `read_examples` can read; None if no file can hold the examples."""
        if self.input_shapes:
            return None
        return name_files(self.input_shape, self.output_size if self.is_regression else None)

    def image_files(self) -> ImageFiles:
        """Return the converter of image files to inputs of `input_shape`."""
        channels, size, _ = self.input_shape
        return ImageFiles(size, channels)

    def describe_inputs(self) -> dict[str, object]:
        """Describe how an example becomes an input, for programs without metaloop.

        Contains fields for machines, and `steps` as text, in order: the effect of
        `read_examples`, `encode` and `scale`.
        """
        if len(self.input_shape) != 3:
            return {"kind": "numbers", "steps": ["Take its numbers unchanged."]}
        ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
        ends = ends.expand(2, *self.input_shape)
        low, high = the_tensor(self.scale(ends, torch.float32)).flatten(1)[:, 0].tolist()
        files = self.image_files().describe()
        last = f"Scale bytes 0..255 to {low:g}..{high:g}, with the channels first."
        return {**files, "range": [low, high], "steps": [*files["steps"], last]}

    def encode(self, x: Arrays) -> Inputs:
        """Convert a user's rows to a tensor [rows, *X], or a dict of such tensors."""
        if isinstance(x, Mapping):
            return {name: to_tensor(rows, f"x[{name!r}]") for name, rows in x.items()}
        return to_tensor(x, "x")

    def scale(self, inputs: Inputs, dtype: torch.dtype) -> Inputs:
        """Convert the result of `encode`, [rows, *X], to a model's inputs, like `gather`.

        A tensor becomes floats; in a dict, integers stay integers.
        """
        if isinstance(inputs, Tensor):
            return inputs.to(dtype)
        return map_inputs(lambda tensor: cast(tensor, dtype), inputs)

    def class_name(self, class_id: int) -> str:
        """Name a global class for tables."""
        return f"class {class_id}"

    def class_title(self, class_id: int) -> str:
        """Name a global class for pictures, in words."""
        return self.class_name(class_id)

    @abstractmethod
    def loss(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Compute the mean loss over the examples, a scalar."""

    @property
    def metrics(self) -> Mapping[str, MetricFunction]:
        """Further reported values: functions of (predictions, targets), each a scalar.

        A metric that selects the best of several learners (`Metric`) defines its direction.
        """
        return {}

    @property
    def evaluation_metrics(self) -> Mapping[str, MetricFunction]:
        """What an evaluation reports in addition to `metrics`: no meta-step pays for it."""
        return {}

    def introduce(self) -> list[str]:
        """Return lines to print when training starts: what it reads, and warnings."""
        return []

    def describe(self) -> dict[str, int | str | bool]:
        """Describe the family for a result's protocol: ways, shots, queries and so on."""
        return {}

    def _of(self, shapes: Shapes) -> Self:
        family = copy.copy(self)
        family.shapes = shapes
        return family


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert floats to this dtype; labels, tokens and masks stay integers."""
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
