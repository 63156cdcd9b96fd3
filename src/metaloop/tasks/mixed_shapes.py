"""The shapes of a mixture's episodes: which source each is of, and of that source's which shape."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from metaloop.tasks.random_streams import RandomStreams
from metaloop.tasks.shapes import Shapes
from metaloop.tasks.task import Task

SOURCE = "source"  # column with the name of an episode's source
CHOICE = 2  # purpose of the random streams that choose a source; shapes use another


class MixedShapes(Shapes):
    """The shapes of several sources' episodes, and the choice of a source for each block.

    Args:
        sources: the sources by name.
        shares: shares of the episodes, one per source, with sum 1.
        block: number of consecutive episodes from one source.

    """

    def __init__(self, sources: Mapping[str, Task], shares: Sequence[float], block: int) -> None:
        parts = [task.shapes for task in sources.values()]
        of_classes = [task for task in sources.values() if task.is_regression is False]
        ways = [
            size
            for task in of_classes
            for size in (task.shapes.ways.fewest, task.output_size)
            if task.shapes.has_classes or size == task.output_size
        ]
        super().__init__(
            ways=[min(ways), max(ways)] if ways else None,
            shots=[min(p.shots.fewest for p in parts), max(p.shots.most for p in parts)],
        )
        self.block, self.names, self.parts = block, list(sources), parts
        self.ends = torch.tensor(shares, dtype=torch.float64).cumsum(0)

    @property
    def vary(self) -> bool:
        return True  # two sources' episodes never form one group

    def sources(self, streams: RandomStreams) -> Tensor:
        """Choose the number of each episode's source, [T]."""
        place = streams.of_blocks(self.block, CHOICE).uniform(1)[:, 0]
        return torch.searchsorted(self.ends, place, right=True).clamp(max=len(self.ends) - 1)

    def draw(self, streams: RandomStreams) -> Tensor:
        """Draw each episode's source, then the row of that source's shapes."""
        source = self.sources(streams)
        drawn = [part.draw(streams) for part in self.parts]
        rows = torch.zeros(len(source), 1 + max(r.shape[1] for r in drawn), dtype=torch.int64)
        rows[:, 0] = source
        for number, of_source in enumerate(drawn):
            chosen = source == number
            rows[chosen, 1 : 1 + of_source.shape[1]] = of_source[chosen]
        return rows

    def columns(self, streams: RandomStreams) -> dict[str, list[object]]:
        source = self.sources(streams).tolist()
        told = [part.columns(streams) for part in self.parts]
        blank = [""] * len(source)

        def column(name: str) -> list[object]:
            each = [columns.get(name, blank) for columns in told]
            return [each[number][i] for i, number in enumerate(source)]

        names = dict.fromkeys(name for columns in told for name in columns)
        return {SOURCE: [self.names[n] for n in source], **{name: column(name) for name in names}}
