"""Mean and spread of features and targets, and words where a learner would stumble over them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from metaloop.errors import UserError
from metaloop.tasks.readers.table import listed

WILD = 100.0  # a ratio of scales, or a scale, that a learner rarely stands


class Scales(NamedTuple):
    """Of each number of a row, flat: mean, and standard deviation, 1 where nothing varies.

    Shapes:
        means, spreads [N]
    """

    means: Tensor
    spreads: Tensor

    def apply(self, inputs: Tensor) -> Tensor:
        """Rows of mean 0 and spread 1 where they are like those measured, float64."""
        means, spreads = (t.to(inputs.device).view(inputs.shape[1:]) for t in self)
        return (inputs.double() - means) / spreads


def measure(rows: Tensor) -> Scales:
    """Measure the rows [R, *X] of the training split.

    Raises:
        UserError: there are none.

    """
    if not len(rows):
        raise UserError(
            "task.standardise=train measures the training split, and no row belongs to it. Give "
            "it some, or set task.standardise=null."
        )
    flat = rows.double().flatten(1)
    means, spreads = flat.mean(0), flat.std(0, correction=0)
    is_constant = spreads <= 1e-9 * flat.abs().amax(0)
    return Scales(means, spreads.where(~is_constant, 1.0))


def warn_of_features(rows: Tensor, names: Sequence[str]) -> list[str]:
    """Say which features vary too much, or too little, for a learner that takes them as they are.

    Of images, rows [R, C, H, W], all pixels together are one feature.
    """
    flat = rows.double().view(len(rows), -1) if rows.ndim == 2 else rows.double().view(-1, 1)
    varying = {n: s for n, s in zip(names, flat.std(0, correction=0).tolist(), strict=False) if s}
    found = []
    if constant := [n for n in names[: flat.shape[1]] if n not in varying]:
        found.append(f"the same in all training rows, so of no use: {listed(constant)}")
    largest = float(flat.abs().max())
    if varying:
        low, high = min(varying, key=varying.__getitem__), max(varying, key=varying.__getitem__)
        if varying[high] > WILD * varying[low] or largest > WILD or largest < 1 / WILD:
            found.append(
                f"the features' spreads reach from {varying[low]:.2g} ({low}) to "
                f"{varying[high]:.2g} ({high}), their values to {largest:.2g}, and a learner takes "
                "them as they are: it may diverge, or see the largest alone. Set "
                "task.standardise=train"
            )
    return found


def warn_of_targets(rows: Tensor, names: Sequence[str]) -> list[str]:
    """Say which targets make losses and gradients too large or too small."""
    sizes = rows.double().square().mean(0).sqrt().tolist()
    wild = [
        f"{name} ({size:.2g})"
        for name, size in zip(names, sizes, strict=True)
        if size > WILD or 0 < size < 1 / WILD
    ]
    if not wild:
        return []
    return [
        f"targets far from 1 make losses and gradients as large or small: {listed(wild)}. "
        "Write them in a larger or smaller unit"
    ]


def warn_of_numbering(rows: Tensor, names: Sequence[str]) -> list[str]:
    """Say which features only count the rows of the file, [R, N]: an index that was saved."""
    if rows.ndim != 2 or len(rows) < 3:
        return []
    counts = torch.arange(len(rows), dtype=torch.float64)[:, None]
    numbering = ((rows - rows[0] == counts) & (rows[0] <= 1)).all(0).tolist()
    return [
        f"'{name}' counts the rows of the file. If it means nothing, leave it out: name the others "
        "in task.features"
        for name, is_numbering in zip(names, numbering, strict=True)
        if is_numbering
    ]
