"""N-way K-shot episodes over the rows of one tensor, classes of any size."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from metaloop.arguments import Count
from metaloop.episode import Episode, Examples
from metaloop.tasks.random_streams import RandomStreams, Split
from metaloop.tasks.tables.row_groups import RowGroups
from metaloop.tasks.task import ClassificationTask, require_ways


class DrawnRows(NamedTuple):
    """A meta-batch as indices: what travels from the loader's workers to the device.

    Shapes:
        rows    [T, N, K+Q]  rows of the inputs, the support's first
        classes [T, N]       global class ids; position n is label n
    """

    rows: Tensor
    classes: Tensor


class RowClasses(ClassificationTask):
    """Draws ways classes and shots + queries rows of each; a subclass brings the rows.

    Args:
        ways: N, classes in an episode.
        shots: K, support rows a class.
        queries: Q, query rows a class.

    """

    inputs: Tensor  # [R, *X]
    groups: RowGroups

    def __init__(self, *, ways: Count, shots: Count, queries: Count) -> None:
        self.ways, self.shots, self.queries = ways, shots, queries
        require_ways(ways)
        self.output_size = ways

    def open_rows(
        self,
        inputs: Tensor,
        labels: Tensor,
        names: Sequence[str],
        splits: Mapping[Split, Sequence[int]],
        source: str,
    ) -> None:
        """Take the rows, their classes' numbers [R], and each split's classes."""
        self.inputs, self.groups = inputs, RowGroups(labels, names, splits)
        self.groups.require(
            self.splits,
            groups=self.ways,
            rows=self.shots + self.queries,
            source=source,
            kind="classes",
            remedy="Lower task.ways, task.shots or task.queries, add rows, or take such classes "
            "out.",
        )

    def class_name(self, class_id: int) -> str:
        return self.groups.names[class_id]

    def draw(self, split: Split, streams: RandomStreams) -> DrawnRows:  # type: ignore[override]
        drawn = self.groups.draw(split, streams, groups=self.ways, rows=self.shots + self.queries)
        return DrawnRows(*drawn)

    def gather(self, drawn: DrawnRows, dtype: torch.dtype) -> Episode:  # type: ignore[override]
        if self.inputs.device != drawn.rows.device:
            self.inputs = self.inputs.to(drawn.rows.device)  # once: then they live there
        inputs = self.inputs[drawn.rows]
        inputs = inputs.to(dtype) if inputs.is_floating_point() else inputs
        labels = torch.arange(self.ways, device=inputs.device)[:, None].expand_as(drawn.rows)
        support, query = (
            Examples(inputs[:, :, part].flatten(1, 2), labels[:, :, part].flatten(1, 2))
            for part in (slice(None, self.shots), slice(self.shots, None))
        )
        return Episode(support, query, drawn.classes)

    def describe(self) -> dict[str, int | str | bool]:
        return {"ways": self.ways, "shots": self.shots, "queries": self.queries}
