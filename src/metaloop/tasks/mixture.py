"""Mix several sources of episodes in one run; each episode comes from one of them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from metaloop.arguments import Count, NonNegative
from metaloop.episode import Episode, Inputs
from metaloop.errors import UserError
from metaloop.tasks.disjoint import Deal, join_deals
from metaloop.tasks.metric import MetricFunction
from metaloop.tasks.mixed_shapes import MixedShapes
from metaloop.tasks.random_streams import RandomStreams, Split
from metaloop.tasks.readers.arrays import Arrays
from metaloop.tasks.readers.given import ExampleFiles, Given
from metaloop.tasks.readers.image_files import ImageFiles
from metaloop.tasks.task import Function, Network, Task


class DrawnOfSource(NamedTuple):
    """The draw of one source, with its number in a shape, readable without waiting for a device.

    Shapes:
        source [T, number of the source, 0]
    """

    source: Tensor
    drawn: Episode


class Mixture(Task):
    """Draws each block of episodes from one of several sources, which have names.

    Sources need inputs of the same shape, and the same loss. Their ways may differ: an episode's
    loss uses as many outputs as it has classes. Global class ids continue from source to source.
    New examples are read, encoded and scaled as by the first source.

    Args:
        of: the sources by name.
        weights: relative frequency of each source; None: all equal.
        shape_block: number of consecutive episodes from one source.

    Examples:
        >>> from metaloop import Mixture, Sinusoid, SinusoidLine
        >>> waves = Sinusoid(shots=5, queries=5)
        >>> both = SinusoidLine(shots=5, queries=5, noise_std=0.3)
        >>> task = Mixture(of={"waves": waves, "both": both}, weights={"waves": 3, "both": 1})
        >>> task.describe()["sources"]
        'waves 75%, both 25%'

    """

    shapes: MixedShapes

    def __init__(
        self,
        *,
        of: Mapping[str, Task],
        weights: Mapping[str, NonNegative] | None = None,
        shape_block: Count = 1,
    ) -> None:
        if not of:
            raise UserError(
                "task.of has no sources. Add tasks by name, as in conf/task/mixture.yaml."
            )
        self.sources = dict(of)
        (first, self.first), *others = self.sources.items()
        for name, other in others:
            _require_alike(first, self.first, name, other)
        self.shapes = MixedShapes(self.sources, _shares(list(of), weights), shape_block)
        self.input_shape, self.input_shapes = self.first.input_shape, self.first.input_shapes
        self.output_size = max(task.output_size for task in self.sources.values())
        self.vocabulary_size = self.first.vocabulary_size
        self.is_regression, self.monitor = self.first.is_regression, self.first.monitor
        self.is_fresh = all(task.is_fresh for task in self.sources.values())
        counts = torch.tensor([task.classes for task in self.sources.values()])
        self.classes, self.offsets = int(counts.sum()), (counts.cumsum(0) - counts).tolist()
        self.found = {"of": {name: dict(task.found) for name, task in self.sources.items()}}

    @property
    def splits(self) -> Sequence[Split]:
        """Splits in use, the same for every source."""
        return self.first.splits

    @splits.setter
    def splits(self, splits: Sequence[Split]) -> None:
        for task in self.sources.values():
            task.splits = splits

    def require_data(self) -> None:
        for task in self.sources.values():
            task.require_data()

    def prepare(self) -> None:
        for task in self.sources.values():
            task.prepare()

    def setup(self) -> None:
        for task in self.sources.values():
            task.setup()

    def draw(self, split: Split, streams: RandomStreams) -> DrawnOfSource:  # type: ignore[override]
        source = self.shapes.sources(streams)
        assert bool((source == source[0]).all()), "one draw has episodes of one source"
        number = int(source[0])
        drawn = list(self.sources.values())[number].draw(split, streams)
        return DrawnOfSource(torch.empty(streams.episodes, number, 0), drawn)

    def deal(self, seed: int, split: Split, indices: Tensor) -> Deal:
        """Each source's to its own episodes, to the first of a source that is used up."""
        source = self.shapes.sources(RandomStreams(seed, split, indices))
        places = [(source == number).nonzero()[:, 0] for number in range(len(self.sources))]
        return join_deals(
            (mine, task.deal(seed, split, indices[mine]))
            for task, mine in zip(self.sources.values(), places, strict=True)
            if len(mine)
        )

    def truth(self, split: Split, streams: RandomStreams) -> Function | None:
        number = int(self.shapes.sources(streams)[0])
        return list(self.sources.values())[number].truth(split, streams)

    def origins(self, drawn: DrawnOfSource) -> dict[str, Tensor]:  # type: ignore[override]
        number = drawn.source.shape[1]
        told = list(self.sources.values())[number].origins(drawn.drawn)
        own = {"classes": told["classes"] + self.offsets[number]} if "classes" in told else {}
        return {**told, **own}

    def gather(self, drawn: DrawnOfSource, dtype: torch.dtype) -> Episode:  # type: ignore[override]
        number = drawn.source.shape[1]
        episode = list(self.sources.values())[number].gather(drawn.drawn, dtype)
        return episode._replace(classes=episode.classes + self.offsets[number])

    def extremes(self) -> list[Task]:
        return [family for task in self.sources.values() for family in task.extremes()]

    # properties, so that the test of known functions sees the source's function
    @property
    def loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Loss of the sources."""
        return self.first.loss

    @property
    def forward(self) -> Callable[[Network, Inputs], Tensor]:
        """Function from a network and inputs to predictions, that of the sources."""
        return self.first.forward

    @property
    def metrics(self) -> Mapping[str, MetricFunction]:
        return self.first.metrics

    @property
    def evaluation_metrics(self) -> Mapping[str, MetricFunction]:
        return self.first.evaluation_metrics

    def require_examples(self, place: Path, key: str) -> None:
        self.first.require_examples(place, key)

    def read_examples(
        self, place: Path, *, skip_unusable: bool, like: Given | None = None
    ) -> Given:
        return self.first.read_examples(place, skip_unusable=skip_unusable, like=like)

    def suggest_files(self) -> ExampleFiles | None:
        return self.first.suggest_files()

    def image_files(self) -> ImageFiles:
        return self.first.image_files()

    def introduce(self) -> list[str]:
        return [line for task in self.sources.values() for line in task.introduce()]

    def describe_inputs(self) -> dict[str, object]:
        return self.first.describe_inputs()

    def encode(self, x: Arrays) -> Inputs:
        return self.first.encode(x)

    def scale(self, inputs: Inputs, dtype: torch.dtype) -> Inputs:
        return self.first.scale(inputs, dtype)

    def class_name(self, class_id: int) -> str:
        """Return the class's name in its source, with the source's name."""
        name, task, own_id = self._source_of(class_id)
        return f"{name}: {task.class_name(own_id)}"

    def class_title(self, class_id: int) -> str:
        name, task, own_id = self._source_of(class_id)
        return f"{name}: {task.class_title(own_id)}"

    def describe(self) -> dict[str, int | str | bool]:
        ends = [0.0, *self.shapes.ends.tolist()]
        shares = zip(self.sources, ends, ends[1:], strict=False)
        return {
            "sources": ", ".join(f"{name} {end - start:.0%}" for name, start, end in shares),
            "shape_block": self.shapes.block,
            **{
                f"{name}.{key}": value
                for name, task in self.sources.items()
                for key, value in task.describe().items()
            },
        }

    def _source_of(self, class_id: int) -> tuple[str, Task, int]:
        """Return a class's source by name, and its id there."""
        number = max(n for n, offset in enumerate(self.offsets) if offset <= class_id)
        name, task = list(self.sources.items())[number]
        return name, task, class_id - self.offsets[number]


def _shares(names: Sequence[str], weights: Mapping[str, float] | None) -> list[float]:
    weights = dict.fromkeys(names, 1.0) if weights is None else weights
    if set(weights) != set(names) or not sum(weights.values()):
        raise UserError(
            f"task.weights={dict(weights)} must give a number to each source of task.of "
            f"({', '.join(names)}), at least one above 0."
        )
    return [weights[name] / sum(weights.values()) for name in names]


def _require_alike(name: str, task: Task, other_name: str, other: Task) -> None:
    """Refuse two sources that one learner cannot take.

    Raises:
        UserError: what differs, with the sources' names.

    """
    for what, (mine, theirs) in _compare(task, other).items():
        if mine != theirs:
            raise UserError(
                f"task.of.{name} and task.of.{other_name} cannot be sources of one run: their "
                f"{what} differ ({_name(mine)} and {_name(theirs)}). Sources have inputs of one "
                "shape (for images task.of.NAME.image_size and channels), one encoding and scale "
                "of inputs, and one loss."
            )
    for each, source in ((name, task), (other_name, other)):
        if source.is_regression is False and not source.classes:
            raise UserError(
                f"task.of.{each} does not give its number of classes, so its class ids could "
                f"collide with another source's. Set {type(source).__name__}.classes."
            )


def _compare(one: Task, other: Task) -> dict[str, tuple[object, object]]:
    functions = {f"methods `{n}`": n for n in ("encode", "scale", "forward", "loss")}
    said: dict[str, Callable[[Task], object]] = {
        "input shapes": lambda task: dict(task.input_shapes) or tuple(task.input_shape),
        "kinds of targets": lambda task: task.is_regression,
        "vocabulary sizes": lambda task: task.vocabulary_size,
        "output sizes": lambda task: task.is_regression is not False and task.output_size,
        "metrics": lambda task: (task.monitor, *task.metrics),
        **{what: partial(_method, name=name) for what, name in functions.items()},
    }
    return {what: (of(one), of(other)) for what, of in said.items()}


def _method(task: Task, name: str) -> object:
    return getattr(type(task), name)


def _name(value: object) -> object:
    return getattr(value, "__qualname__", value)
