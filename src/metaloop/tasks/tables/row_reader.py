"""How rows of a user's tables become inputs of a run: written into its config at training."""

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

BYTES = 255.0  # white, in the bytes of an image file


@dataclass(frozen=True, kw_only=True)
class RowReader:
    """Reads new examples as the run's own were.

    Attributes:
        columns: what the run calls its columns.
        input_shape: X.
        is_regression: whether targets are numbers.
        scales: what standardises inputs; None leaves them as they are.
        white: where rows are images, the value of white in them, 1 or 255; 0 where values below
            0 or above 255 say that they are no plain images.

    """

    columns: Columns
    input_shape: tuple[int, ...]
    is_regression: bool
    scales: Scales | None
    white: float | None

    def read(self, place: Path, like: Given | None = None) -> Given:
        """Read a table by the run's names, those of `like` where the run's have none."""
        columns = self.columns
        if like is not None:
            columns = columns._replace(features=like.features)
        return read_rows(place, self.input_shape, is_regression=self.is_regression, columns=columns)

    def scale(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """Rows as a user holds them, in the scale that the network is trained on."""
        if inputs.dtype == torch.uint8 and self.white is not None:
            inputs = self._from_bytes(inputs)
        return (inputs if self.scales is None else self.scales.apply(inputs)).to(dtype)

    def describe(self) -> dict[str, object]:
        """What a program without metaloop has to know of a row's numbers."""
        features = self.columns.features
        named = [features] if isinstance(features, str) else features
        which = f": {', '.join(named)}" if named else ""
        if self.scales is None:
            as_are = f"Take its features as they are, in the order of training{which}."
            return {"kind": "numbers", "features": named, "steps": [as_are]}
        scales = {name: numbers.tolist() for name, numbers in self.scales._asdict().items()}
        steps = [
            f"Take its features in the order of training{which}.",
            f"Subtract from each its mean: {scales['means']}.",
            f"Divide each by its spread: {scales['spreads']}.",
        ]
        return {"kind": "numbers", "features": named, "steps": steps, **scales}

    def _from_bytes(self, images: Tensor) -> Tensor:
        if not self.white:
            raise UserError(
                "The run was trained on arrays of values that are no bytes of images: some are "
                "below 0 or above 255. Give arrays that were made as those were, as floats."
            )
        # bits, 0 and 1, stay what they are
        return images if images.max() <= self.white else images * (self.white / BYTES)


def find_white(inputs: Tensor) -> float:
    """The value of white in images [R, C, H, W] by their largest; 0 where they are no images."""
    low, high = float(inputs.min()), float(inputs.max())
    if low < 0 or high > BYTES:
        return 0.0
    return 1.0 if high <= 1 else BYTES


def names_of_numbers(features: str | Sequence[str], shape: tuple[int, ...]) -> list[str]:
    """A name for each number of a row; columns of several numbers count them."""
    names = [features] if isinstance(features, str) else list(features)
    size = prod(shape)
    return names if len(names) == size else [f"{'+'.join(names)}[{i}]" for i in range(size)]
