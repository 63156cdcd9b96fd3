"""How many classes and support examples an episode has, where that varies.

Triantafillou et al. 2020 (arXiv:1903.03096) train and test on episodes of any ways and shots.
"""

from typing import Annotated, NamedTuple, NotRequired, TypedDict

import torch
from pydantic import Field
from torch import Tensor

from metaloop.arguments import Count
from metaloop.episode import Examples, Inputs, tensors_of, the_tensor
from metaloop.errors import UserError
from metaloop.tasks.random_streams import RandomStreams

Size = Count | Annotated[list[Count], Field(min_length=2, max_length=2)]


class SizeOptions(TypedDict):
    """What a family of N-way K-shot episodes hands on to who draws them; see Shapes."""

    ways: Size
    shots: Size
    shape_block: NotRequired[Count]
    uneven_shots: NotRequired[bool]


class Range(NamedTuple):
    """Whole numbers from one to another, both included."""

    fewest: int
    most: int

    @property
    def described(self) -> int | str:
        """As a protocol has it: the number, or the range."""
        return self.most if self.fewest == self.most else f"{self.fewest}..{self.most}"


class Shapes:
    """N ways and K shots of a family's episodes, fixed or each drawn from a range, uniformly.

    An episode's shape is a pure function of (seed, split, index // block): tasks of one shape are
    vectorised together.

    Args:
        ways: N, or the range [fewest, most] that it is drawn from, both included; None where there
            are no classes.
        shots: K likewise.
        block: consecutive episodes of one shape.
        uneven: draw the shots of each class by themselves, the same for all tasks of a block.

    Raises:
        UserError: one class, a range that holds nothing, or keys without an effect.

    """

    def __init__(
        self, *, ways: Size | None = None, shots: Size, block: Count = 1, uneven: bool = False
    ) -> None:
        self.has_classes = ways is not None
        self.ways, self.shots = _range(ways or 1, "ways"), _range(shots, "shots")
        self.block, self.uneven = block, uneven
        if self.has_classes and self.ways.fewest < 2:
            raise UserError(
                f"task.ways={ways}: with one class there is nothing to tell apart, and every "
                "answer is right. Set it to 2 or more."
            )
        if uneven and self.shots.fewest == self.shots.most:
            raise UserError(
                f"task.uneven_shots=true draws the shots of each class from a range, and task.shots"
                f"={shots} is none. Set task.shots=[1,{self.shots.most + 1}], for one, or "
                "task.uneven_shots=false."
            )
        if block > 1 and not self.vary:
            raise UserError(
                f"task.shape_block={block} has no effect where all episodes have one shape. Set "
                "task.shape_block=1, or task.ways or task.shots to a range, such as [5,20]."
            )

    @property
    def ways_vary(self) -> bool:
        """Whether episodes differ in how many classes they have."""
        return self.ways.fewest < self.ways.most

    @property
    def vary(self) -> bool:
        """Whether episodes differ in shape."""
        return self.ways_vary or self.shots.fewest < self.shots.most

    def draw(self, streams: RandomStreams) -> Tensor:
        """The shots of each class of every episode, [T, most ways]; 0 for those not there.

        Rows are equal where episodes have one shape.
        """
        blocks = streams.of_blocks(self.block)
        ways = _draw(blocks, self.ways)
        shots = _draw(blocks, self.shots, self.ways.most if self.uneven else 1)
        return shots * (torch.arange(self.ways.most) < ways)

    def largest(self, streams: RandomStreams) -> tuple[Tensor, Tensor]:
        """How many classes each episode has, and the most shots of one of them; both [T]."""
        shots = self.draw(streams)
        return (shots > 0).sum(1), shots.max(1).values

    def of(self, streams: RandomStreams) -> list[int]:
        """The shots of each class, in episodes that all have one shape."""
        if not self.vary:
            return [self.shots.most] * self.ways.most
        drawn = self.draw(streams)
        assert bool((drawn == drawn[0]).all()), "one draw is of episodes of one shape"
        return [shots for shots in drawn[0].tolist() if shots]

    def to_sets(self, inputs: Inputs, shots: Tensor, queries: int) -> tuple[Examples, Examples]:
        """Make a support and a query set, class by class, of what was drawn of each class.

        Of its examples the first are the support's, and the last the query's.

        Shapes:
            inputs [T, N, most shots + Q, ..] (each of a dict); shots [T, N], the same for all tasks
        """
        first_tensor = tensors_of(inputs)[0]
        tasks, ways, drawn = first_tensor.shape[:3]
        labels = torch.arange(ways, device=first_tensor.device)[:, None].expand(tasks, ways, drawn)
        first, last = slice(None, drawn - queries), slice(drawn - queries, None)
        parts = Examples(inputs, labels)
        support = parts.map(lambda part: part[:, :, first].flatten(1, 2))
        if self.uneven:
            counts = list(enumerate(shots[0].tolist()))
            support = parts.map(lambda part: torch.cat([part[:, n, :k] for n, k in counts], 1))
        return support, parts.map(lambda part: part[:, :, last].flatten(1, 2))

    def origins(
        self, rows: Tensor, classes: Tensor, shots: Tensor, queries: int
    ) -> dict[str, Tensor]:
        """What `Task.origins` tells of episodes of classes, whose rows are as in `to_sets`."""
        support, query = (the_tensor(s.inputs) for s in self.to_sets(rows, shots, queries))
        return {"classes": classes, "support": support, "query": query}

    def extremes(self) -> "list[Shapes]":
        """The smallest and the largest shape, each fixed; none where they do not vary."""
        ways = self.ways if self.has_classes else (None, None)
        pairs = zip(ways, self.shots, strict=True)
        return [Shapes(ways=n, shots=k) for n, k in pairs] if self.vary else []

    def describe(self) -> dict[str, int | str | bool]:
        """What a protocol has to name of it."""
        ways = {"ways": self.ways.described} if self.has_classes else {}
        varying = {"shape_block": self.block, "uneven_shots": self.uneven} if self.vary else {}
        return {**ways, "shots": self.shots.described, **varying}

    def columns(self, streams: RandomStreams) -> dict[str, list[object]]:
        """What tells the episodes apart in a table: ways, and shots (of each class if uneven)."""
        if not self.vary:
            return {}
        drawn = [[shots for shots in row if shots] for row in self.draw(streams).tolist()]
        shots = [" ".join(map(str, row)) if self.uneven else row[0] for row in drawn]
        return {**({"ways": list(map(len, drawn))} if self.has_classes else {}), "shots": shots}


def _range(size: Size, name: str) -> Range:
    low, high = (size, size) if isinstance(size, int) else size
    if low > high:
        raise UserError(
            f"task.{name}=[{low},{high}] is the range from the fewest to the most {name}. Set "
            f"task.{name}=[{high},{low}]."
        )
    return Range(low, high)


def _draw(streams: RandomStreams, numbers: Range, count: int = 1) -> Tensor:
    return numbers.fewest + streams.integers(count, high=numbers.most - numbers.fewest + 1)
