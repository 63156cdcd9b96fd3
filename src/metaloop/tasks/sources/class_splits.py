"""How classes are divided into train, validation and test: no class is in two of them."""

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Annotated

import torch
from pydantic import Field

from metaloop.errors import UserError
from metaloop.tasks.random_streams import SPLITS, RandomStreams, Split

FOLDERS: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}
SPLIT_WORDS: Mapping[str, Split] = {  # what a table may call them
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
Classes = dict[Split, list[str]]
Fractions = Annotated[list[float], Field(min_length=3, max_length=3)]


def published(name: str) -> str:
    """The text of a published list in `splits/`."""
    return (resources.files("metaloop.tasks.sources") / "splits" / name).read_text()


def published_split(name: str) -> Classes:
    """A published class split, {"train": [class, ..], "validation": .., "test": ..}."""
    content: Classes = json.loads(published(f"{name}.json"))
    return content


def split_by_prefix(names: Sequence[str]) -> Classes:
    """Divide names that begin with their split's folder: train/, val/ or test/.

    Raises:
        UserError: a class is in two splits.

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
                "classes that training has not seen: every class belongs to one split. Move all "
                "its images into one, or put the classes into one folder with task.split=seeded."
            )
    return split


def require_shares(fractions: list[float]) -> list[float]:
    """Return fractions, or refuse what are no shares of a whole.

    Raises:
        UserError: one is below 0, or together they are not 1.

    """
    if abs(sum(fractions) - 1) > 1e-6 or min(fractions) < 0:
        raise UserError(
            f"task.fractions={fractions} are the shares of the classes for train, validation and "
            "test: none below 0, together 1."
        )
    return fractions


def seeded_split(names: Sequence[str], fractions: Sequence[float], seed: int) -> Classes:
    """Shuffle the names by the seed and cut them by the fractions: train, validation, test.

    Validation and test get their fraction of the classes, rounded; training gets the rest. The
    order that the names come in does not matter.
    """
    ordered = sorted(names)
    keys = RandomStreams(seed, "train", torch.tensor([0])).uniform(len(ordered))[0]
    shuffled = [ordered[i] for i in keys.argsort(stable=True).tolist()]
    validation, test = (round(share * len(ordered)) for share in fractions[1:])
    ends = (len(ordered) - validation - test, len(ordered) - test, len(ordered))
    starts = (0, *ends[:2])
    return {s: shuffled[a:b] for s, a, b in zip(SPLITS, starts, ends, strict=True)}
