"""Split classes into train, validation and test, with no class in two of them."""

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Annotated

import torch
from pydantic import Field

from metaloop.errors import UserError
from metaloop.tasks.random_streams import SPLITS, RandomStreams, Split

FOLDERS: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}
SPLIT_WORDS: Mapping[str, Split] = {  # their names in tables
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
Classes = dict[Split, list[str]]
Fractions = Annotated[list[float], Field(min_length=3, max_length=3)]


def published(name: str) -> str:
    """Read a published list in `splits/`."""
    return (resources.files("metaloop.tasks.sources") / "splits" / name).read_text()


def published_split(name: str) -> Classes:
    """Read a published class split, {"train": [class, ..], "validation": .., "test": ..}."""
    content: Classes = json.loads(published(f"{name}.json"))
    return content


def split_by_prefix(names: Sequence[str]) -> Classes:
    """Split names by their prefix, the split's folder: train/, val/ or test/.

    Raises:
        UserError: if a class is in two splits.

    """
    split: Classes = {
        part: [name for name in names if name.startswith(f"{folder}/")]
        for part, folder in FOLDERS.items()
    }
    seen: dict[str, str] = {}
    for name in names:
        folder, _, label = name.partition("/")
        if (other := seen.setdefault(label, folder)) != folder:
            raise UserError(
                f"The class '{label}' is in {other} and in {folder}. Few-shot learning tests on "
                "classes that training has not seen, so a class must be in one split. Move all "
                "its images into one, or put the classes into one folder with task.split=seeded."
            )
    return split


def require_shares(fractions: Sequence[float], key: str = "task.fractions") -> list[float]:
    """Return fractions, or refuse those that are not shares of a whole.

    Raises:
        UserError: if there are not three, one is below 0, or the sum is not 1.

    """
    if len(fractions) != 3 or abs(sum(fractions) - 1) > 1e-6 or min(fractions) < 0:
        raise UserError(
            f"{key}={fractions} must be the shares of the classes for train, validation and test: "
            "three numbers of at least 0 with sum 1, such as [0.6,0.2,0.2]."
        )
    return list(fractions)


def seeded_split(names: Sequence[str], fractions: Sequence[float], seed: int) -> Classes:
    """Shuffle the names by the seed and split them by the fractions: train, validation, test.

    Validation and test get their fraction of the classes, rounded; training gets the rest. The
    order of the names does not matter.
    """
    ordered = sorted(names)
    keys = RandomStreams(seed, "train", torch.tensor([0])).uniform(len(ordered))[0]
    shuffled = [ordered[i] for i in keys.argsort(stable=True).tolist()]
    validation, test = (round(share * len(ordered)) for share in fractions[1:])
    ends = (len(ordered) - validation - test, len(ordered) - test, len(ordered))
    starts = (0, *ends[:2])
    return {s: shuffled[a:b] for s, a, b in zip(SPLITS, starts, ends, strict=True)}
