"""A user's own features with labels, or many small regression data sets, from one file."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from metaloop.arguments import Count, NonNegative, Seed
from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.tasks.random_streams import SPLITS, RandomStreams, Split
from metaloop.tasks.readers.table_files import require_file
from metaloop.tasks.shapes import Shapes, Size
from metaloop.tasks.tables.array_rows import ArraySource
from metaloop.tasks.tables.row_classes import DrawnRows, RowClasses
from metaloop.tasks.tables.row_groups import RowGroups
from metaloop.tasks.task import RegressionTask, Task


class ArrayClasses(RowClasses):
    """N-way K-shot episodes over the classes of a file.

    Args:
        source: the file and its columns; its groups are the classes.
        ways, shots, queries, shape_block, uneven_shots: see RowClasses.
        input_shape: X; None reads it from the file.
        classes: how many global class ids there are; None reads it from the file.

    """

    def __init__(
        self,
        source: ArraySource,
        *,
        ways: Size,
        shots: Size,
        queries: Count,
        input_shape: Sequence[Count] | None,
        classes: Count | None,
        shape_block: Count = 1,
        uneven_shots: bool = False,
    ) -> None:
        super().__init__(
            ways=ways,
            shots=shots,
            queries=queries,
            shape_block=shape_block,
            uneven_shots=uneven_shots,
        )
        self.source = source
        if input_shape is None or classes is None:
            rows = source.read()
            input_shape, classes = list(rows.inputs.shape[1:]), len(rows.names)
        self.input_shape, self.classes = tuple(input_shape), classes
        self.found = {"input_shape": list(input_shape), "classes": classes}

    def require_data(self) -> None:
        require_file(self.source.path)

    def setup(self) -> None:
        rows = self.source.read()
        require_shape(self.source.path, "features", rows.inputs, self.input_shape)
        if self.splits == SPLITS and len(rows.names) > self.classes:  # pretraining's head
            raise UserError(
                f"{self.source.path} has {len(rows.names)} classes, more than task.classes="
                f"{self.classes}. Set task.classes={len(rows.names)}."
            )
        self.open_rows(rows.inputs, rows.members, rows.names, rows.splits, str(self.source.path))

    def describe_inputs(self) -> dict[str, object]:
        return describe_features(self.source)

    def describe(self) -> dict[str, int | str | bool]:
        return {**super().describe(), **describe_source(self.source)}


class ArrayRegression(RegressionTask):
    """Each data set of a file is a task; an episode draws shots + queries of its rows.

    Args:
        source: the file and its columns; its groups are the data sets.
        shots: K, support rows, or the range it is drawn from.
        queries: query rows.
        shape_block: see Shapes.
        input_shape: X; None reads it from the file.
        output_size: numbers to predict; None reads it from the file.

    """

    inputs: Tensor  # [R, *X]
    targets: Tensor  # [R, Y]
    groups: RowGroups

    def __init__(
        self,
        source: ArraySource,
        *,
        shots: Size,
        queries: Count,
        input_shape: Sequence[Count] | None,
        output_size: Count | None,
        shape_block: Count = 1,
    ) -> None:
        self.source, self.shots, self.queries = source, shots, queries
        self.shapes = Shapes(shots=shots, block=shape_block)
        if input_shape is None or output_size is None:
            rows = source.read()
            input_shape, output_size = list(rows.inputs.shape[1:]), rows.targets.shape[1]
        self.input_shape, self.output_size = tuple(input_shape), output_size
        self.found = {"input_shape": list(input_shape), "output_size": output_size}
        self.target_names = source.targets if len(source.targets) == output_size else ()

    def require_data(self) -> None:
        require_file(self.source.path)

    def setup(self) -> None:
        rows = self.source.read()
        require_shape(self.source.path, "features", rows.inputs, self.input_shape)
        require_shape(self.source.path, "target", rows.targets, (self.output_size,))
        self.inputs, self.targets = rows.inputs, rows.targets
        self.groups = RowGroups(rows.members, rows.names, rows.splits)
        self.groups.require(
            self.splits,
            groups=1,
            rows=self.shapes.shots.most + self.queries,
            source=str(self.source.path),
            kind="data sets",
            remedy="Lower task.shots or task.queries, add rows, or take such data sets out.",
        )

    def draw(self, split: Split, streams: RandomStreams) -> DrawnRows:  # type: ignore[override]
        (shots,) = self.shapes.of(streams)
        rows, _ = self.groups.draw(split, streams, groups=1, rows=shots + self.queries)
        nothing = torch.empty(streams.episodes, 0, dtype=torch.int64)
        return DrawnRows(rows, nothing, nothing)

    def gather(self, drawn: DrawnRows, dtype: torch.dtype) -> Episode:  # type: ignore[override]
        if self.inputs.device != drawn.rows.device:
            device = drawn.rows.device  # once: then they live there
            self.inputs, self.targets = self.inputs.to(device), self.targets.to(device)
        rows = drawn.rows.squeeze(1)
        inputs, targets = self.inputs[rows].to(dtype), self.targets[rows].to(dtype)
        support, query = (
            Examples(inputs[:, part], targets[:, part])
            for part in (slice(None, -self.queries), slice(-self.queries, None))
        )
        return Episode(support, query, drawn.classes)

    def describe_inputs(self) -> dict[str, object]:
        return describe_features(self.source)

    def describe(self) -> dict[str, int | str | bool]:
        sizes = {**self.shapes.describe(), "queries": self.queries}
        return {**sizes, **describe_source(self.source)}


def arrays(
    *,
    kind: Literal["classification", "regression"],
    data_dir: str | None,
    file: str | None,
    features: str | list[str] | None,
    target: str | list[str],
    task_column: str | None,
    split_column: str | None,
    split_fractions: list[NonNegative],
    split_seed: Seed,
    ways: Size,
    shots: Size,
    queries: Count,
    input_shape: list[Count] | None,
    output_size: Count | None,
    classes: Count | None,
    shape_block: Count = 1,
    uneven_shots: bool = False,
) -> Task:
    """Tasks from one file of yours; the keys are explained in conf/task/arrays.yaml.

    Raises:
        UserError: no file is named, or what the file holds does not fit.

    """
    _require_shares(split_fractions)
    targets = [target] if isinstance(target, str) else target
    is_regression = kind == "regression"
    if not is_regression:
        _require_one_column(targets, task_column)
    source = ArraySource(
        data_dir=data_dir,
        file=file,
        features=features,
        targets=targets if is_regression else [],
        group=(task_column or "task") if is_regression else targets[0],
        split=split_column,
        fractions=split_fractions,
        seed=split_seed,
    )
    if is_regression:
        _refuse_uneven(uneven_shots)
        of_numbers = partial(ArrayRegression, input_shape=input_shape, output_size=output_size)
        return of_numbers(source, shots=shots, queries=queries, shape_block=shape_block)
    of_classes = partial(ArrayClasses, input_shape=input_shape, classes=classes, ways=ways)
    episodes = partial(of_classes, shots=shots, queries=queries)
    return episodes(source, shape_block=shape_block, uneven_shots=uneven_shots)


def _require_shares(split_fractions: Sequence[float]) -> None:
    if len(split_fractions) != 3 or abs(sum(split_fractions) - 1) > 1e-6:
        raise UserError(
            f"task.split_fractions={split_fractions} has to be three shares that make 1: of "
            "train, validation and test, as in [0.6,0.2,0.2]."
        )


def _refuse_uneven(uneven_shots: bool) -> None:
    if uneven_shots:
        raise UserError(
            "task.uneven_shots=true has no effect: a regression has no classes whose shots could "
            "differ. Leave it out."
        )


def _require_one_column(targets: Sequence[str], task_column: str | None) -> None:
    """Refuse a classification with several columns of classes, or one of data sets."""
    if len(targets) != 1:
        raise UserError(f"task.target={targets}: a class is one column. Name one.")
    if task_column is not None:
        raise UserError(
            f"task.task_column={task_column} has no effect: in a classification a task is drawn of "
            "classes. Leave it out (and name the features by task.features), or set "
            "task.kind=regression."
        )


def require_shape(path: Path, what: str, rows: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a file whose rows are not of the shape that the model was built for."""
    if tuple(rows.shape[1:]) != shape:
        raise UserError(
            f"{path}: its {what} have {list(rows.shape[1:])} numbers a row, but the learner is "
            f"built for {list(shape)}. Name the columns it was trained on, or train another."
        )


def describe_features(source: ArraySource) -> dict[str, object]:
    """What a program without metaloop has to know of the columns."""
    named = [source.features] if isinstance(source.features, str) else source.features
    which = f": {', '.join(named)}" if named else ""
    steps = [f"Take its features as they are, in the order of training{which}."]
    return {"kind": "numbers", "features": named, "steps": steps}


def describe_source(source: ArraySource) -> dict[str, int | str | bool]:
    """What a protocol has to name of the file."""
    split = source.split or f"seeded, {source.seed}"
    return {"file": source.path.name, "split_by": split}
