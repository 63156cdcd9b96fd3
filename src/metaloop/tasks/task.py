"""The contract of a task family: where episodes come from and how they are judged."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from metaloop.episode import Episode, Inputs, map_inputs, the_tensor
from metaloop.errors import UserError
from metaloop.tasks.disjoint import Deal, deal_fresh
from metaloop.tasks.metric import PROPER_SCORES, Metric, MetricFunction, accuracy
from metaloop.tasks.random_streams import SPLITS, RandomStreams, Split
from metaloop.tasks.readers.arrays import Arrays, to_tensor
from metaloop.tasks.readers.given import Given
from metaloop.tasks.readers.given_images import read_images
from metaloop.tasks.readers.given_rows import Columns, read_rows
from metaloop.tasks.readers.image_files import ImageFiles
from metaloop.tasks.shapes import Shapes

Network = Callable[[Inputs], Tensor]
LABELLED = "metaloop.tasks.datasets.labelled_dataset"


class Task(ABC):
    """A family of tasks. A user's own needs one method, `draw`.

    Constructing one needs no data where the config says all that its model has to know: a trained
    run's does, so that its learner adapts, predicts and is exported without them. Commands that
    draw episodes call `require_data` before they make a folder; the trainer calls `prepare` once
    on one process, `setup` once on every process, `draw` in the data loader's workers (CPU) and
    `gather` where the training runs.

    Attributes:
        input_shape: X, the shape of one input of the model.
        input_shapes: where inputs are a dict: the shape of each tensor of one input, by the names
            that the network takes.
        output_size: how many numbers the model puts out for one input: the ways of a
            classification, the width of a regression's target.
        classes: how many global class ids there are, over all splits; 0 in regression, and
            where nobody pretrains on them.
        vocabulary_size: how many token numbers there are where inputs are tokens (0 pads), else
            0: inputs are numbers. A model is supplied with it if its constructor asks.
        found: keys of the family's config that were null, as it has found them, most in its data;
            a run's config gets their values, so that its learner needs the data no more.
        splits: those that episodes are drawn from, all of them in training: nothing is asked of
            the others, nor need they be there.
        monitor: the reported value that makes a learner the best; it says itself which is better.
        target_names: what a regression's numbers are called, where they have names.
        shapes: how many classes and support examples episodes have, where that may vary; `draw`
            then asks `shapes.of(streams)`.
        is_fresh: whether every episode is of data drawn anew, as synthetic ones are.
        is_regression: whether targets are numbers rather than classes; None where the targets
            that a user adapts to decide.

    """

    input_shape: tuple[int, ...] = ()
    input_shapes: Mapping[str, tuple[int, ...]] = {}
    output_size: int
    classes: int = 0
    vocabulary_size: int = 0
    found: Mapping[str, object] = {}
    splits: Sequence[Split] = SPLITS
    shapes: Shapes = Shapes(shots=1)  # never asked for its shots: it does not vary
    target_names: Sequence[str] = ()
    monitor: str = "query_loss"
    is_fresh: bool = False
    is_regression: bool | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not isinstance(cls.monitor, str):
            raise UserError(
                f"{cls.__name__}.monitor is {cls.monitor}, and has to be the name alone: whether "
                "higher is better is the metric's to say, metaloop.Metric(function, "
                "higher_is_better=True)."
            )

    def require_data(self) -> None:  # noqa: B027 - many families have no data
        """Refuse what is seen at a glance: no data there, or episodes too large for a split.

        Raises:
            UserError: what is missing, and what to change.

        """

    def prepare(self) -> None:  # noqa: B027 - many families have nothing to prepare
        """Download, check and cache what the family needs."""

    def setup(self) -> None:  # noqa: B027 - many families have nothing to open
        """Open what `prepare` left."""

    @abstractmethod
    def draw(self, split: Split, streams: RandomStreams) -> Episode:
        """Draw one episode for each stream of `streams`, which is the only source of chance.

        Where shapes vary, they are all of one shape.

        Returns:
            a meta-batch of episodes, or any NamedTuple of CPU tensors [T, ..], an entry an
            episode, that `gather` turns into one. Training draws several meta-batches at once
            and cuts them apart.

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

    def extremes(self) -> Sequence["Task"]:
        """Its smallest episodes and its largest, each as a family; itself where none varies."""
        return [self._of(shapes) for shapes in self.shapes.extremes()] or [self]

    def gather(self, drawn: Episode, dtype: torch.dtype) -> Episode:
        """Turn what `draw` returned, already on the device, into episodes of this float type."""

        def to_type(tensor: Tensor) -> Tensor:
            return cast(tensor, dtype)

        return Episode(drawn.support.map(to_type), drawn.query.map(to_type), drawn.classes)

    def forward(self, network: Network, inputs: Inputs) -> Tensor:
        """The predictions for one set's inputs: the network's outputs, unless it acts on them.

        A family whose inputs are no inputs of the network (an environment's noise) lets it act
        here, on inputs of `input_shape`.
        """
        return network(inputs)

    def read_examples(
        self, place: Path, *, skip_unusable: bool, like: Given | None = None
    ) -> Given:
        """Read a user's examples from a file or folder, as the family reads its own.

        Args:
            place: images where `input_shape` is that of images, else a table.
            skip_unusable: leave out files that cannot be used, instead of refusing them.
            like: examples read before, whose columns these have to have.

        """
        if self.input_shapes:
            raise UserError(
                f"The run's inputs are several arrays ({', '.join(self.input_shapes)}), which no "
                "CSV file or folder holds. Adapt in Python: Learner.adapt(x={NAME: array, ..}, y)."
            )
        if len(self.input_shape) == 3:
            return read_images(place, self.image_files(), skip_unusable=skip_unusable)
        return read_rows(
            place,
            self.input_shape,
            is_regression=bool(self.is_regression),
            columns=Columns(like.features if like else None),
        )

    def image_files(self) -> ImageFiles:
        """How image files become inputs of `input_shape`."""
        channels, size, _ = self.input_shape
        return ImageFiles(size, channels)

    def describe_inputs(self) -> dict[str, object]:
        """Say how an example becomes an input, to a program that has to do it without metaloop.

        In fields that machines read, and in words, its `steps` in their order: what
        `read_examples`, `encode` and `scale` do.
        """
        if len(self.input_shape) != 3:
            return {"kind": "numbers", "steps": ["Take its numbers as they are."]}
        ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
        ends = ends.expand(2, *self.input_shape)
        low, high = the_tensor(self.scale(ends, torch.float32)).flatten(1)[:, 0].tolist()
        files = self.image_files().describe()
        last = f"Scale bytes 0..255 to {low:g}..{high:g}, and put the channels first."
        return {**files, "range": [low, high], "steps": [*files["steps"], last]}

    def encode(self, x: Arrays) -> Inputs:
        """Turn rows as a user holds them into a tensor [rows, *X], or a dict of such."""
        if isinstance(x, Mapping):
            return {name: to_tensor(rows, f"x[{name!r}]") for name, rows in x.items()}
        return to_tensor(x, "x")

    def scale(self, inputs: Inputs, dtype: torch.dtype) -> Inputs:
        """Turn what `encode` gives, [rows, *X], into what `gather` gives a model.

        A tensor becomes numbers; of a dict what are whole numbers stay so.
        """
        if isinstance(inputs, Tensor):
            return inputs.to(dtype)
        return map_inputs(lambda tensor: cast(tensor, dtype), inputs)

    def class_name(self, class_id: int) -> str:
        """What to call a global class in tables and pictures."""
        return f"class {class_id}"

    @abstractmethod
    def loss(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """The mean loss over the examples, a scalar."""

    @property
    def metrics(self) -> Mapping[str, MetricFunction]:
        """What is reported beside the loss: functions of (predictions, targets), each a scalar.

        One that chooses the best of several (`Metric`) says whether higher is better.
        """
        return {}

    @property
    def evaluation_metrics(self) -> Mapping[str, MetricFunction]:
        """What an evaluation reports in addition to `metrics`: no meta-step pays for it."""
        return {}

    def introduce(self) -> list[str]:
        """Lines to print where a training starts: what it reads, and what to look at twice."""
        return []

    def describe(self) -> dict[str, int | str | bool]:
        """Say what a result's protocol has to name: ways, shots, queries .."""
        return {}

    def _of(self, shapes: Shapes) -> Self:
        family = copy.copy(self)
        family.shapes = shapes
        return family


class RegressionTask(Task):
    """Tasks judged by the mean squared error over examples and outputs."""

    is_regression = True

    def loss(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(predictions, targets)


class ClassificationTask(Task):
    """Tasks judged by cross-entropy, with the accuracy beside it."""

    monitor = "accuracy"
    is_regression = False

    @staticmethod
    def of(dataset: Dataset[Any] | None = None, **options: object) -> "ClassificationTask":
        """Episodes of any labelled map-style Dataset, or of three, one a split.

        >>> ClassificationTask.of(dataset, ways=5, shots=1)  # doctest: +SKIP
        >>> ClassificationTask.of(train=a, validation=b, test=c, ways=5, shots=1)  # doctest: +SKIP

        The options are those of `LabelledDataset`, which it makes.
        """
        family = import_module(LABELLED)  # which builds on this file
        made: ClassificationTask = family.LabelledDataset(dataset=dataset, **options)
        return made

    def loss(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(predictions, targets)

    @property
    def metrics(self) -> Mapping[str, MetricFunction]:
        return {"accuracy": Metric(accuracy, higher_is_better=True)}

    @property
    def evaluation_metrics(self) -> Mapping[str, MetricFunction]:
        """Scores of probabilities, where the loss says that outputs are their logits."""
        return PROPER_SCORES if type(self).loss is ClassificationTask.loss else {}


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers get this float type; labels, tokens and masks stay integers."""
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
