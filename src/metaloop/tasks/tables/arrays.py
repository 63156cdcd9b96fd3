"""A user's own features with labels, or many small regression data sets, from one file."""

from typing import Literal

import torch
from torch import Tensor

from metaloop.arguments import Count, NonNegative, Positive, Seed
from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.tasks.random_streams import RandomStreams, Split
from metaloop.tasks.readers.table import Decimal, to_label
from metaloop.tasks.tables.array_rows import ArraySource, refuse_useless
from metaloop.tasks.tables.row_classes import DrawnRows, RowClasses
from metaloop.tasks.tables.row_groups import RowGroups
from metaloop.tasks.tables.table_task import Recorded, TableTask, require_shape
from metaloop.tasks.task import RegressionTask, Task

WAYS, SHOTS, REGRESSION_SHOTS = 5, 1, 10
Standardise = Literal["train"] | None


class ArrayClasses(TableTask, RowClasses):
    """N-way K-shot episodes over the classes of a file.

    Args:
        source: the file and its columns; its groups are the classes.
        recorded, standardise: see TableTask.
        ways, shots, queries: see RowClasses.

    """

    def __init__(
        self,
        source: ArraySource,
        recorded: Recorded,
        standardise: Standardise,
        *,
        ways: Count,
        shots: Count,
        queries: Count,
    ) -> None:
        super().__init__(ways=ways, shots=shots, queries=queries)
        self.classes = self.remember(source, recorded, standardise).size or 0
        sizes = {"ways": ways, "shots": shots, "classes": self.classes}
        self.found = {**self.found_of_table, **sizes}

    def setup(self) -> None:
        rows, path = self.read_table(), str(self.source.path)
        if "train" in self.splits and len(rows.names) > self.classes:  # of pretraining's head
            raise UserError(
                f"{path} has {len(rows.names)} classes, more than task.classes={self.classes}. Set "
                f"task.classes={len(rows.names)}."
            )
        self.open_rows(rows.inputs, rows.members, rows.names, rows.splits, path)


class ArrayRegression(TableTask, RegressionTask):
    """Each data set of a file is a task; an episode draws shots + queries of its rows.

    Args:
        source: the file and its columns; its groups are the data sets.
        recorded, standardise: see TableTask.
        shots: K, support rows.
        queries: query rows.

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
        shots: Count,
        queries: Count,
    ) -> None:
        self.shots, self.queries = shots, queries
        self.output_size = self.remember(source, recorded, standardise).size or 0
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
            rows=self.shots + self.queries,
            source=str(path),
            kind="data sets",
            remedy="Lower task.shots or task.queries, add rows, or take such data sets out.",
        )

    def draw(self, split: Split, streams: RandomStreams) -> DrawnRows:  # type: ignore[override]
        rows, _ = self.groups.draw(split, streams, groups=1, rows=self.shots + self.queries)
        return DrawnRows(rows, torch.empty(streams.episodes, 0, dtype=torch.int64))

    def gather(self, drawn: DrawnRows, dtype: torch.dtype) -> Episode:  # type: ignore[override]
        if self.inputs.device != drawn.rows.device:
            device = drawn.rows.device  # once: then they live there
            self.inputs, self.targets = self.inputs.to(device), self.targets.to(device)
        rows = drawn.rows.squeeze(1)
        inputs, targets = self.inputs[rows].to(dtype), self.targets[rows].to(dtype)
        support, query = (
            Examples(inputs[:, part], targets[:, part])
            for part in (slice(None, self.shots), slice(self.shots, None))
        )
        return Episode(support, query, drawn.classes)

    def describe(self) -> dict[str, int | str | bool]:
        return {"shots": self.shots, "queries": self.queries, **super().describe()}


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
    ways: Count | None,
    shots: Count | None,
    queries: Count,
    input_shape: list[Count] | None,
    output_size: Count | None,
    classes: Count | None,
    feature_means: list[float] | None,
    feature_spreads: list[Positive] | None,
    white: NonNegative | None,
) -> Task:
    """Tasks from one file of yours; the keys are explained in conf/task/arrays.yaml.

    Raises:
        UserError: a key has no effect, or what the file holds does not fit.

    """
    targets = [to_label(name) for name in ([target] if isinstance(target, str) else target)]
    is_regression = kind == "regression"
    if is_regression:
        refuse_useless("in a regression, whose tasks are data sets", ways=ways, classes=classes)
    else:
        reason = "in a classification, whose tasks are drawn of classes (task.kind=regression)"
        refuse_useless(reason, task_column=task_column, output_size=output_size)
        if len(targets) != 1:
            raise UserError(f"task.target={targets}: a class is one column. Name one.")
    source = ArraySource(
        data_dir=data_dir,
        file=file,
        features=to_label(features) if isinstance(features, str) else features,
        targets=targets if is_regression else [],
        group=to_label(task_column or "task") if is_regression else targets[0],
        split=to_label(split_column) or None,
        fractions=split_fractions,
        seed=split_seed,
        decimal=decimal,
    )
    size = output_size if is_regression else classes
    recorded = Recorded(input_shape, size, feature_means, feature_spreads, white)
    if is_regression:
        shots = shots or REGRESSION_SHOTS
        return ArrayRegression(source, recorded, standardise, shots=shots, queries=queries)
    sizes = {"ways": ways or WAYS, "shots": shots or SHOTS, "queries": queries}
    return ArrayClasses(source, recorded, standardise, **sizes)
