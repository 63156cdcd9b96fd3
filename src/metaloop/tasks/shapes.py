"""The shapes of episodes, ways and shots, fixed or varying.

Triantafillou et al. 2020 (arXiv:1903.03096) train and test on episodes of varying ways and shots.
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
    """Arguments of a family of N-way K-shot episodes; see Shapes."""

    ways: Size
    shots: Size
    shape_block: NotRequired[Count]
    uneven_shots: NotRequired[bool]


class Range(NamedTuple):
    """A range of integers, both ends included."""

    fewest: int
    most: int

    @property
    def described(self) -> int | str:
        """The number or range, as written in a protocol."""
        return self.most if self.fewest == self.most else f"{self.fewest}..{self.most}"


class Shapes:
    """N ways and K shots of a family's episodes, each fixed or drawn uniformly from a range.

    An episode's shape is a pure function of (seed, split, index // block); tasks of the same shape
    are vectorised together.

    Args:
        ways: N, or a range [fewest, most], both included; None if there are no classes.
        shots: K, or a range.
        block: number of consecutive episodes with the same shape.
        uneven: draw the shots of each class separately, the same for all tasks of a block.

    Raises:
        UserError: if there is only one class, a range is empty, or a key has no effect.

    Examples:
        >>> from metaloop import Shapes
        >>> shapes = Shapes(ways=[5, 20], shots=1)
        >>> shapes.vary, [extreme.describe() for extreme in shapes.extremes()]
        (True, [{'ways': 5, 'shots': 1}, {'ways': 20, 'shots': 1}])

    """

    def __init__(
        self, *, ways: Size | None = None, shots: Size, block: Count = 1, uneven: bool = False
    ) -> None:
        self.has_classes = ways is not None
        self.ways, self.shots = _range(ways or 1, "ways"), _range(shots, "shots")
        self.block, self.uneven = block, uneven
        if self.has_classes and self.ways.fewest < 2:
            raise UserError(
                f"task.ways={ways}: with a single class every prediction is correct. Set it to 2 "
                "or more."
            )
        if uneven and self.shots.fewest == self.shots.most:
            raise UserError(
                f"task.uneven_shots=true draws the shots of each class from a range, but task.shots"
                f"={shots} is not a range. Set task.shots=[1,{self.shots.most + 1}], for example, "
                "or task.uneven_shots=false."
            )
        if block > 1 and not self.vary:
            raise UserError(
                f"task.shape_block={block} has no effect, since all episodes have one shape. Set "
                "task.shape_block=1, or task.ways or task.shots to a range, such as [5,20]."
            )

    @property
    def ways_vary(self) -> bool:
        """Whether episodes differ in their number of classes."""
        return self.ways.fewest < self.ways.most

    @property
    def vary(self) -> bool:
        """Whether episodes differ in shape."""
        return self.ways_vary or self.shots.fewest < self.shots.most

    def draw(self, streams: RandomStreams) -> Tensor:
        """Draw the shots of each class, [T, most ways]; 0 for classes that an episode lacks.

        Episodes of the same shape have equal rows.
        """
        blocks = streams.of_blocks(self.block)
        ways = _draw(blocks, self.ways)
        shots = _draw(blocks, self.shots, self.ways.most if self.uneven else 1)
        return shots * (torch.arange(self.ways.most) < ways)

    def largest(self, streams: RandomStreams) -> tuple[Tensor, Tensor]:
        """Return each episode's number of classes and its largest number of shots; both [T]."""
        shots = self.draw(streams)
        return (shots > 0).sum(1), shots.max(1).values

    def of(self, streams: RandomStreams) -> list[int]:
        """Return the shots of each class in episodes of the same shape."""
        if not self.vary:
            return [self.shots.most] * self.ways.most
        drawn = self.draw(streams)
        assert bool((drawn == drawn[0]).all()), "episodes of one draw have the same shape"
        return [shots for shots in drawn[0].tolist() if shots]

    def to_sets(self, inputs: Inputs, shots: Tensor, queries: int) -> tuple[Examples, Examples]:
        """Split the examples drawn of each class into a support and a query set, class by class.

        The first examples are the support's, the last the query's.

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
        """Return `Task.origins` for episodes of classes, with rows as in `to_sets`."""
        support, query = (the_tensor(s.inputs) for s in self.to_sets(rows, shots, queries))
        return {"classes": classes, "support": support, "query": query}

    def extremes(self) -> "list[Shapes]":
        """Return the smallest and the largest shape, each fixed; empty if shapes do not vary."""
        ways = self.ways if self.has_classes else (None, None)
        pairs = zip(ways, self.shots, strict=True)
        return [Shapes(ways=n, shots=k) for n, k in pairs] if self.vary else []

    def describe(self) -> dict[str, int | str | bool]:
        """Describe the shapes for a protocol."""
        ways = {"ways": self.ways.described} if self.has_classes else {}
        varying = {"shape_block": self.block, "uneven_shots": self.uneven} if self.vary else {}
        return {**ways, "shots": self.shots.described, **varying}

    def columns(self, streams: RandomStreams) -> dict[str, list[object]]:
        """Return columns of a table of episodes: ways, and shots (of each class if uneven)."""
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
