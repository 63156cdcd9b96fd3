"""N-way K-shot episodes of rows of one tensor, with classes of any size."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from metaloop.arguments import Count
from metaloop.episode import Episode, Inputs, map_inputs, tensors_of
from metaloop.tasks.disjoint import Deal
from metaloop.tasks.kinds import ClassificationTask
from metaloop.tasks.random_streams import RandomStreams, Split
from metaloop.tasks.shapes import Shapes, Size
from metaloop.tasks.tables.row_groups import RowGroups
from metaloop.tasks.task import cast


class DrawnRows(NamedTuple):
    """A meta-batch as indices, as it travels from the loader's workers to the device.

    Shapes:
        rows    [T, N, K+Q]  rows of the inputs, support rows first; K: most shots
        classes [T, N]       global class ids; position n is label n
        shots   [T, N]       support rows of each class
    """

    rows: Tensor
    classes: Tensor
    shots: Tensor


class RowClasses(ClassificationTask):
    """Draws `ways` classes with `shots + queries` rows each; a subclass provides the rows.

    Args:
        ways: N, classes per episode, or the range from which it is drawn.
        shots: K, support rows per class, or the range from which it is drawn.
        queries: Q, query rows per class.
        shape_block, uneven_shots: see Shapes.

    Examples:
        >>> import torch
        >>> from metaloop import RandomStreams, RowClasses
        >>> class Points(RowClasses):
        ...     input_shape = (2,)
        ...     def setup(self):
        ...         labels, names = torch.arange(27) % 9, [f"class {c}" for c in range(9)]
        ...         splits = {"train": range(3), "validation": range(3, 6), "test": range(6, 9)}
        ...         self.open_rows(torch.rand(27, 2), labels, names, splits, "these points")
        >>> task = Points(ways=2, shots=1, queries=2)
        >>> task.setup()
        >>> drawn = task.draw("train", RandomStreams(0, "train", torch.arange(4)))
        >>> task.gather(drawn, torch.float32).query.inputs.shape
        torch.Size([4, 4, 2])

    """

    inputs: Inputs  # [R, *X]
    groups: RowGroups

    def __init__(
        self,
        *,
        ways: Size,
        shots: Size,
        queries: Count,
        shape_block: Count = 1,
        uneven_shots: bool = False,
    ) -> None:
        self.shapes = Shapes(ways=ways, shots=shots, block=shape_block, uneven=uneven_shots)
        self.queries = queries
        self.output_size = self.shapes.ways.most

    def open_rows(
        self,
        inputs: Inputs,
        labels: Tensor,
        names: Sequence[str],
        splits: Mapping[Split, Sequence[int]],
        source: str,
    ) -> None:
        """Set the rows, their class indices [R], and each split's classes."""
        self.inputs, self.groups = inputs, RowGroups(labels, names, splits)
        self.groups.require(
            self.splits,
            groups=self.shapes.ways.most,
            rows=self.shapes.shots.most + self.queries,
            source=source,
            kind="classes",
            remedy="Lower task.ways, task.shots or task.queries, add rows, or remove such classes.",
        )

    def class_name(self, class_id: int) -> str:
        return self.groups.names[class_id]

    def draw(self, split: Split, streams: RandomStreams) -> DrawnRows:  # type: ignore[override]
        shots = self.shapes.of(streams)
        rows, classes = self.groups.draw(
            split, streams, groups=len(shots), rows=max(shots) + self.queries
        )
        return DrawnRows(rows, classes, torch.tensor(shots).expand_as(classes))

    def deal(self, seed: int, split: Split, indices: Tensor) -> Deal:
        ways, shots = self.shapes.largest(RandomStreams(seed, split, indices))
        return self.groups.deal(ways, shots + self.queries, seed, split, indices)

    def origins(self, drawn: DrawnRows) -> dict[str, Tensor]:  # type: ignore[override]
        return self.shapes.origins(drawn.rows, drawn.classes, drawn.shots, self.queries)

    def gather(self, drawn: DrawnRows, dtype: torch.dtype) -> Episode:  # type: ignore[override]
        device = drawn.rows.device
        if tensors_of(self.inputs)[0].device != device:  # once: then they stay there
            self.inputs = map_inputs(lambda tensor: tensor.to(device), self.inputs)

        def select(tensor: Tensor) -> Tensor:
            return cast(tensor[drawn.rows], dtype)

        inputs = map_inputs(select, self.inputs)
        return Episode(*self.shapes.to_sets(inputs, drawn.shots, self.queries), drawn.classes)

    def describe(self) -> dict[str, int | str | bool]:
        return {**self.shapes.describe(), "queries": self.queries}
