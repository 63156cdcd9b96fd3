"""Convert rows of a user's tables to inputs; training writes the rules into the run's config."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from metaloop.errors import UserError
from metaloop.tasks.readers.given import Given
from metaloop.tasks.readers.given_rows import Columns, read_rows
from metaloop.tasks.tables.scales import Scales

BYTES = 255.0  # white in the bytes of an image file


@dataclass(frozen=True, kw_only=True)
class RowReader:
    """Reads new examples in the same way as the run's data.

    Attributes:
        columns: the run's names of its columns.
        input_shape: X.
        is_regression: whether targets are real values.
        scales: standardises inputs; None leaves them unchanged.
        white: if rows are images, their value of white, 1 or 255; 0 if values below 0 or above 255
            show that they are not plain images.

    """

    columns: Columns
    input_shape: tuple[int, ...]
    is_regression: bool
    scales: Scales | None
    white: float | None

    def read(self, place: Path, like: Given | None = None) -> Given:
        """Read a table by the run's column names, or those of `like` if the run has none."""
        columns = self.columns
        if like is not None:
            columns = columns._replace(features=like.features)
        return read_rows(place, self.input_shape, is_regression=self.is_regression, columns=columns)

    def scale(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """Convert a user's rows to the scale of the network's training data."""
        if inputs.dtype == torch.uint8 and self.white is not None:
            inputs = self._from_bytes(inputs)
        return (inputs if self.scales is None else self.scales.apply(inputs)).to(dtype)

    def describe(self) -> dict[str, object]:
        """Describe how a row becomes an input, for programs without metaloop."""
        features = self.columns.features
        named = [features] if isinstance(features, str) else features
        which = f": {', '.join(named)}" if named else ""
        if self.scales is None:
            unchanged = f"Take its features unchanged, in the order of training{which}."
            return {"kind": "numbers", "features": named, "steps": [unchanged]}
        scales = {name: values.tolist() for name, values in self.scales._asdict().items()}
        steps = [
            f"Take its features in the order of training{which}.",
            f"Subtract the mean of each: {scales['means']}.",
            f"Divide by the spread of each: {scales['spreads']}.",
        ]
        return {"kind": "numbers", "features": named, "steps": steps, **scales}

    def _from_bytes(self, images: Tensor) -> Tensor:
        if not self.white:
            raise UserError(
                "The run was trained on arrays of values that are not image bytes: some are below "
                "0 or above 255. Pass arrays made in the same way, as floats."
            )
        # bits, 0 and 1, stay unchanged
        return images if images.max() <= self.white else images * (self.white / BYTES)


def find_white(inputs: Tensor) -> float:
    """Guess white in images [R, C, H, W] from their largest value; 0 if they are not images."""
    low, high = float(inputs.min()), float(inputs.max())
    if low < 0 or high > BYTES:
        return 0.0
    return 1.0 if high <= 1 else BYTES


def names_of_numbers(features: str | Sequence[str], shape: tuple[int, ...]) -> list[str]:
    """Name each element of a row; columns with several elements number them."""
    names = [features] if isinstance(features, str) else list(features)
    size = prod(shape)
    return names if len(names) == size else [f"{'+'.join(names)}[{i}]" for i in range(size)]
