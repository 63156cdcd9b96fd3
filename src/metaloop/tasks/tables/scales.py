"""Mean and spread of features and targets, and warnings where a learner would have trouble."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from metaloop.errors import UserError
from metaloop.tasks.readers.table import list_names

WILD = 100.0  # a ratio of scales, or a scale, that rarely suits a learner


class Scales(NamedTuple):
    """Mean and standard deviation of each element of a row, flat; 1 where an element is constant.

    Shapes:
        means, spreads [N]
    """

    means: Tensor
    spreads: Tensor

    def apply(self, inputs: Tensor) -> Tensor:
        """Standardise rows like those measured to mean 0 and spread 1, in float64."""
        means, spreads = (t.to(inputs.device).view(inputs.shape[1:]) for t in self)
        return (inputs.double() - means) / spreads


def measure(rows: Tensor) -> Scales:
    """Measure the rows [R, *X] of the training split.

    Raises:
        UserError: if there are none.

    """
    if not len(rows):
        raise UserError(
            "task.standardise=train measures the training split, but that has no rows. Add some, "
            "or set task.standardise=null."
        )
    flat = rows.double().flatten(1)
    means, spreads = flat.mean(0), flat.std(0, correction=0)
    is_constant = spreads <= 1e-9 * flat.abs().amax(0)
    return Scales(means, spreads.where(~is_constant, 1.0))


def warn_of_features(rows: Tensor, names: Sequence[str]) -> list[str]:
    """Warn of features that vary too much, or too little, for a learner without standardisation.

    In images, rows [R, C, H, W], all pixels together are one feature.
    """
    flat = rows.double().view(len(rows), -1) if rows.ndim == 2 else rows.double().view(-1, 1)
    varying = {n: s for n, s in zip(names, flat.std(0, correction=0).tolist(), strict=False) if s}
    found = []
    if constant := [n for n in names[: flat.shape[1]] if n not in varying]:
        found.append(f"constant in all training rows, so useless: {list_names(constant)}")
    largest = float(flat.abs().max())
    if varying:
        low, high = min(varying, key=varying.__getitem__), max(varying, key=varying.__getitem__)
        if varying[high] > WILD * varying[low] or largest > WILD or largest < 1 / WILD:
            found.append(
                f"the features' spreads range from {varying[low]:.2g} ({low}) to "
                f"{varying[high]:.2g} ({high}), their values up to {largest:.2g}, and they are not "
                "standardised: a learner may diverge, or only see the largest. Set "
                "task.standardise=train"
            )
    return found


def warn_of_targets(rows: Tensor, names: Sequence[str]) -> list[str]:
    """Warn of targets that make losses and gradients too large or too small."""
    sizes = rows.double().square().mean(0).sqrt().tolist()
    wild = [
        f"{name} ({size:.2g})"
        for name, size in zip(names, sizes, strict=True)
        if size > WILD or 0 < size < 1 / WILD
    ]
    if not wild:
        return []
    return [
        f"targets far from 1 make losses and gradients equally large or small: {list_names(wild)}. "
        "Use a larger or smaller unit"
    ]


def warn_of_numbering(rows: Tensor, names: Sequence[str]) -> list[str]:
    """Warn of features, [R, N], that only number the rows of the file: a saved index."""
    if rows.ndim != 2 or len(rows) < 3:
        return []
    counts = torch.arange(len(rows), dtype=torch.float64)[:, None]
    numbering = ((rows - rows[0] == counts) & (rows[0] <= 1)).all(0).tolist()
    return [
        f"'{name}' only numbers the rows of the file. If it means nothing, leave it out: list "
        "the others in task.features"
        for name, is_numbering in zip(names, numbering, strict=True)
        if is_numbering
    ]
