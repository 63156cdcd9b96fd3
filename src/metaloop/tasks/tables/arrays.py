"""A user's features with labels, or many small regression data sets, from one file."""

from collections.abc import Callable
from functools import partial
from typing import Literal, Unpack

import torch
from torch import Tensor

from metaloop.arguments import Count, NonNegative, Positive, Seed
from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.tasks.disjoint import Deal
from metaloop.tasks.kinds import RegressionTask
from metaloop.tasks.random_streams import SPLITS, RandomStreams, Split
from metaloop.tasks.readers.table import Decimal, to_label
from metaloop.tasks.shapes import Shapes, Size, SizeOptions
from metaloop.tasks.tables.array_rows import ArraySource, refuse_useless
from metaloop.tasks.tables.row_classes import DrawnRows, RowClasses
from metaloop.tasks.tables.row_groups import RowGroups
from metaloop.tasks.tables.table_task import Recorded, TableTask, require_shape
from metaloop.tasks.task import Task

WAYS, SHOTS, REGRESSION_SHOTS = 5, 1, 10
IN_REGRESSION = "in a regression, whose tasks are data sets"
IN_CLASSIFICATION = "in a classification, whose tasks are sampled classes (task.kind=regression)"
Standardise = Literal["train"] | None


class ArrayClasses(TableTask, RowClasses):
    """N-way K-shot episodes of the classes in a file.

    Args:
        source: the file and its columns; its groups are the classes.
        recorded, standardise: see TableTask.
        ways, shots, queries, shape_block, uneven_shots: see RowClasses.

    Examples:
        >>> from inspect import signature
        >>> import numpy as np
        >>> import torch
        >>> from metaloop import ArrayClasses, RandomStreams, arrays
        >>> species = [f"species {i // 3}" for i in range(30)]
        >>> np.savez("flowers.npz", features=np.random.rand(30, 4), species=species)
        >>> parameters = signature(arrays).parameters.values()
        >>> keys = dict.fromkeys(p.name for p in parameters if p.default is p.empty)  # all None
        >>> keys |= {"kind": "classification", "data_dir": ".", "file": "flowers.npz"}
        >>> task = arrays(**{**keys, "target": "species", "ways": 2, "shots": 1, "queries": 2})
        >>> task.setup()
        >>> drawn = task.draw("train", RandomStreams(0, "train", torch.arange(8)))
        >>> episodes = task.gather(drawn, torch.float32)
        >>> isinstance(task, ArrayClasses), episodes.support.inputs.shape
        (True, torch.Size([8, 2, 4]))

    """

    def __init__(
        self,
        source: ArraySource,
        recorded: Recorded,
        standardise: Standardise,
        *,
        queries: Count,
        **sizes: Unpack[SizeOptions],
    ) -> None:
        super().__init__(queries=queries, **sizes)
        self.classes = self.remember(source, recorded, standardise).size or 0
        drawn = {"ways": sizes["ways"], "shots": sizes["shots"], "classes": self.classes}
        self.found = {**self.found_of_table, **drawn}

    def setup(self) -> None:
        rows, path = self.read_table(), str(self.source.path)
        if self.splits == SPLITS and len(rows.names) > self.classes:  # pretraining's head
            raise UserError(
                f"{path} has {len(rows.names)} classes, more than task.classes={self.classes}. Set "
                f"task.classes={len(rows.names)}."
            )
        self.open_rows(rows.inputs, rows.members, rows.names, rows.splits, path)


class ArrayRegression(TableTask, RegressionTask):
    """Each data set in a file is a task; an episode draws shots + queries of its rows.

    Args:
        source: the file and its columns; its groups are the data sets.
        recorded, standardise: see TableTask.
        shots: K, support rows, or the range from which it is drawn.
        queries: query rows.
        shape_block: see Shapes.

    Examples:
        >>> from inspect import signature
        >>> import numpy as np
        >>> import torch
        >>> from metaloop import ArrayRegression, RandomStreams, arrays
        >>> x, number = np.arange(60.0)[:, None], np.arange(60) // 6  # ten data sets of six rows
        >>> np.savez("curves.npz", features=x, y=np.sin(x), task=number)
        >>> parameters = signature(arrays).parameters.values()
        >>> keys = dict.fromkeys(p.name for p in parameters if p.default is p.empty)  # all None
        >>> keys |= {"kind": "regression", "data_dir": ".", "file": "curves.npz", "target": "y"}
        >>> task = arrays(**{**keys, "shots": 4, "queries": 2})
        >>> task.setup()
        >>> drawn = task.draw("train", RandomStreams(0, "train", torch.arange(3)))
        >>> episodes = task.gather(drawn, torch.float32)
        >>> isinstance(task, ArrayRegression), episodes.support.inputs.shape
        (True, torch.Size([3, 4, 1]))

    """

    inputs: Tensor  # [R, *X]
    targets: Tensor  # [R, Y]
    groups: RowGroups

    def __init__(
        self,
        source: ArraySource,
        recorded: Recorded,
        standardise: Standardise,
        *,
        shots: Size,
        queries: Count,
        shape_block: Count = 1,
    ) -> None:
        self.queries = queries
        self.shapes = Shapes(shots=shots, block=shape_block)
        self.output_size = self.remember(source, recorded, standardise).size or 0
        self.target_names = source.targets if len(source.targets) == self.output_size else ()
        sizes = {"shots": shots, "output_size": self.output_size}
        self.found = {**self.found_of_table, **sizes}

    def setup(self) -> None:
        rows, path = self.read_table(), self.source.path
        require_shape(path, "target", rows.targets, (self.output_size,))
        self.inputs, self.targets = rows.inputs, rows.targets
        self.groups = RowGroups(rows.members, rows.names, rows.splits)
        self.groups.require(
            self.splits,
            groups=1,
            rows=self.shapes.shots.most + self.queries,
            source=str(path),
            kind="data sets",
            remedy="Lower task.shots or task.queries, add rows, or remove such data sets.",
        )

    def draw(self, split: Split, streams: RandomStreams) -> DrawnRows:  # type: ignore[override]
        (shots,) = self.shapes.of(streams)
        rows, _ = self.groups.draw(split, streams, groups=1, rows=shots + self.queries)
        no_ids = torch.empty(streams.episodes, 0, dtype=torch.int64)
        return DrawnRows(rows, no_ids, no_ids)

    def deal(self, seed: int, split: Split, indices: Tensor) -> Deal:
        data_sets, shots = self.shapes.largest(RandomStreams(seed, split, indices))
        return self.groups.deal(data_sets, shots + self.queries, seed, split, indices)

    def origins(self, drawn: DrawnRows) -> dict[str, Tensor]:  # type: ignore[override]
        rows = drawn.rows.squeeze(1)
        support, query = rows[:, : -self.queries], rows[:, -self.queries :]
        return {"data_set": self.groups.members[rows[:, :1]], "support": support, "query": query}

    def gather(self, drawn: DrawnRows, dtype: torch.dtype) -> Episode:  # type: ignore[override]
        if self.inputs.device != drawn.rows.device:
            device = drawn.rows.device  # once: then they stay there
            self.inputs, self.targets = self.inputs.to(device), self.targets.to(device)
        rows = drawn.rows.squeeze(1)
        inputs, targets = self.inputs[rows].to(dtype), self.targets[rows].to(dtype)
        support, query = (
            Examples(inputs[:, part], targets[:, part])
            for part in (slice(None, -self.queries), slice(-self.queries, None))
        )
        return Episode(support, query, drawn.classes)

    def describe(self) -> dict[str, int | str | bool]:
        return {**self.shapes.describe(), "queries": self.queries, **super().describe()}


def arrays(
    *,
    kind: Literal["classification", "regression"],
    data_dir: str | None,
    file: str | None,
    features: str | list[str] | None,
    target: str | list[str],
    task_column: str | None,
    decimal: Decimal | None,
    standardise: Standardise,
    split_column: str | None,
    split_fractions: list[NonNegative] | None,
    split_seed: Seed | None,
    ways: Size | None,
    shots: Size | None,
    queries: Count,
    input_shape: list[Count] | None,
    output_size: Count | None,
    classes: Count | None,
    feature_means: list[float] | None,
    feature_spreads: list[Positive] | None,
    white: NonNegative | None,
    shape_block: Count = 1,
    uneven_shots: bool = False,
) -> Task:
    """Tasks from one file of a user; conf/task/arrays.yaml explains the keys.

    Raises:
        UserError: if a key has no effect, or the file's content does not fit.

    Examples:
        >>> from inspect import signature
        >>> from metaloop import UserError, arrays
        >>> parameters = signature(arrays).parameters.values()
        >>> keys = dict.fromkeys(p.name for p in parameters if p.default is p.empty)  # all None
        >>> keys |= {"kind": "regression", "data_dir": ".", "file": "curves.npz", "target": "y"}
        >>> try:
        ...     arrays(**{**keys, "queries": 5, "ways": 5})
        ... except UserError as error:
        ...     print(error)
        task.ways=5 has no effect in a regression, whose tasks are data sets...

    """
    targets = [to_label(name) for name in ([target] if isinstance(target, str) else target)]
    make: Callable[..., Task]
    if kind == "regression":
        refuse_useless(IN_REGRESSION, ways=ways, classes=classes, uneven_shots=uneven_shots or None)
        group, size = to_label(task_column or "task"), output_size
        make = partial(ArrayRegression, shots=shots or REGRESSION_SHOTS)
    else:
        refuse_useless(IN_CLASSIFICATION, task_column=task_column, output_size=output_size)
        group, size, targets = _only(targets), classes, []
        make = partial(ArrayClasses, ways=ways or WAYS, shots=shots or SHOTS)
        make = partial(make, uneven_shots=uneven_shots)
    source = ArraySource(
        data_dir=data_dir,
        file=file,
        features=to_label(features) if isinstance(features, str) else features,
        targets=targets,
        group=group,
        split=to_label(split_column) or None,
        fractions=split_fractions,
        seed=split_seed,
        decimal=decimal,
    )
    recorded = Recorded(input_shape, size, feature_means, feature_spreads, white)
    return make(source, recorded, standardise, queries=queries, shape_block=shape_block)


def _only(targets: list[str]) -> str:
    if len(targets) != 1:
        raise UserError(f"task.target={targets}: classes are one column. Name only one.")
    return targets[0]
