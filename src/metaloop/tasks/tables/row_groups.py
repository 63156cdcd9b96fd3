"""Rows of a table in groups of different size (classes, data sets), drawn without replacement."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from metaloop.errors import UserError
from metaloop.tasks.disjoint import Deal, deal_examples
from metaloop.tasks.random_streams import SPLITS, RandomStreams, Split


class RowGroups:
    """The group of each row, and the groups of each split.

    Args:
        members: group of each row, [R], indices 0..G-1.
        names: names of the groups.
        splits: indices of each split's groups.

    """

    def __init__(
        self, members: Tensor, names: Sequence[str], splits: Mapping[Split, Sequence[int]]
    ) -> None:
        self.members, self.names = members, list(names)
        self.splits = {split: torch.tensor(splits[split], dtype=torch.int64) for split in SPLITS}
        self.counts = torch.bincount(members, minlength=len(names))
        self.first = self.counts.cumsum(0) - self.counts
        self.order = members.argsort(stable=True)

    def draw(
        self, split: Split, streams: RandomStreams, *, groups: int, rows: int
    ) -> tuple[Tensor, Tensor]:
        """Draw groups of the split, and rows of each.

        Shapes:
            rows   [T, groups, rows]
            chosen [T, groups]
        """
        candidates = self.splits[split]
        picked, members = streams.pick(self.counts[candidates], groups=groups, members=rows)
        chosen = candidates[picked]
        return self.order[self.first[chosen][..., None] + members], chosen

    def deal(self, groups: Tensor, rows: Tensor, seed: int, split: Split, indices: Tensor) -> Deal:
        """Deal the split's rows to episodes of so many groups and rows of each, both [T]."""
        return deal_examples(self.counts[self.splits[split]], groups, rows, seed, split, indices)

    def require(
        self,
        splits: Sequence[Split],
        *,
        groups: int,
        rows: int,
        source: str,
        kind: str,
        remedy: str,
    ) -> None:
        """Refuse episodes for which one of these splits has too few groups or rows.

        Raises:
            UserError: if it has too few groups (`kind`: classes, data sets), or a group has too
                few rows.

        """
        for split in splits:
            mine = self.splits[split].tolist()
            sizes = {self.names[g]: int(self.counts[g]) for g in mine}
            small = [name for name, size in sizes.items() if size < rows]
            if len(mine) < groups:
                raise UserError(
                    f"{source}: an episode needs {groups} {kind}, but the {split} split has "
                    f"{len(mine)}. {remedy}"
                )
            if small:
                raise UserError(
                    f"{source}: an episode needs {rows} rows of each of its {kind} (shots and "
                    f"queries), but of the {split} split's {len(mine)} {kind} {len(small)} have "
                    f"fewer: '{small[0]}' has only {sizes[small[0]]}. {remedy}"
                )
