"""Find Omniglot's 1,623 x 20 drawings, zipped or unpacked, and its class splits."""

import json
import random
import re
from collections.abc import Mapping
from pathlib import Path

from metaloop.errors import UserError
from metaloop.tasks.images.image_sources import zipped_files
from metaloop.tasks.random_streams import Split
from metaloop.tasks.readers.image_files import ImageFile
from metaloop.tasks.readers.visible_files import files_below
from metaloop.tasks.sources.class_splits import published

DRAWINGS = 20
WHAT_TO_PUT = (
    "Put images_background.zip and images_evaluation.zip from github.com/brendenlake/omniglot "
    "(folder python/), packed or unpacked, into one folder, and set task.data_dir to it."
)
_ENTRY = re.compile(r"(?:^|/)([^/]+)/(character\d\d)/(\d{4}_\d\d)\.png$")


def alphabets() -> dict[str, int]:
    """Load the fifty alphabets, each with its number of characters."""
    content: dict[str, int] = json.loads(published("omniglot_alphabets.json"))
    return content


def class_names() -> list[str]:
    """List the 1,623 classes "Alphabet/characterNN" in alphabetical order: class c is the c-th."""
    return sorted(f"{a}/character{c:02d}" for a, n in alphabets().items() for c in range(1, n + 1))


def shuffled_split(sizes: Mapping[Split, int], split_seed: int) -> dict[Split, list[str]]:
    """Split the 1,623 characters as Finn does (maml/data_generator.py).

    All classes "Alphabet/characterNN" are sorted, then shuffled by
    `random.Random(split_seed).shuffle`; the first 1,100 are for training, the next 100 for
    validation, the remaining 423 for test. (Finn shuffles an unsorted directory listing.)
    """
    names = class_names()
    random.Random(split_seed).shuffle(names)
    ends = [sum(list(sizes.values())[: i + 1]) for i in range(len(sizes))]
    return {s: names[e - sizes[s] : e] for s, e in zip(sizes, ends, strict=True)}


def vinyals_split() -> dict[Split, list[str]]:
    """Split the characters as Vinyals et al. (2016), by Snell's published lists: 1028/172/423.

    Five alphabets are for validation. Twelve of Lake's evaluation alphabets and four characters of
    Gurmukhi are for test, all others for training (github.com/jakesnell/prototypical-networks).
    """
    lists: dict[Split, dict[str, list[int]]] = json.loads(published("omniglot_vinyals.json"))
    split: dict[Split, list[str]] = {
        part: [
            f"{a}/character{c:02d}"
            for a, (first, last) in of.items()
            for c in range(first, last + 1)
        ]
        for part, of in lists.items()
    }
    held_out = {name for names in split.values() for name in names}
    return {"train": [name for name in class_names() if name not in held_out], **split}


def find_drawings(folder: Path) -> dict[str, list[ImageFile]]:
    """Find every class's 20 drawings in a folder's zip archives or subfolders.

    Raises:
        UserError: if an archive is broken, or an alphabet, character or drawing is missing.

    """
    found: dict[str, dict[str, ImageFile]] = {}
    unpacked = (ImageFile(None, str(path)) for path in files_below(folder))
    for drawing in (*zipped_files(folder, WHAT_TO_PUT), *unpacked):
        if match := _ENTRY.search(drawing.name):
            alphabet, character, file = match.groups()
            found.setdefault(f"{alphabet}/{character}", {})[file] = drawing
    _check_complete(folder, found)
    return {name: [files[f] for f in sorted(files)] for name, files in sorted(found.items())}


def _check_complete(folder: Path, found: Mapping[str, Mapping[str, ImageFile]]) -> None:
    if not found:
        raise UserError(
            f"{folder} is not Omniglot: it has no drawing <alphabet>/characterNN/NNNN_NN.png, "
            f"zipped or unpacked. {WHAT_TO_PUT}"
        )
    expected = class_names()
    missing = [name for name in expected if name not in found]
    whole_alphabets = [
        a
        for a in alphabets()
        if all(f"{a}/character{c + 1:02d}" in missing for c in range(alphabets()[a]))
    ]
    if whole_alphabets:
        raise UserError(
            f"{folder} lacks {len(whole_alphabets)} of Omniglot's 50 alphabets: "
            f"{_some(whole_alphabets)}. {WHAT_TO_PUT}"
        )
    if missing:
        raise UserError(
            f"{folder} lacks {len(missing)} of Omniglot's 1,623 characters: {_some(missing)}. "
            f"{WHAT_TO_PUT}"
        )
    if foreign := sorted(set(found) - set(expected)):
        raise UserError(
            f"{folder} has characters that Omniglot does not have: {_some(foreign)}. Remove them."
        )
    for name, files in found.items():
        if len(files) != DRAWINGS:
            raise UserError(
                f"{folder}: {name} has {len(files)} drawings, but each character of Omniglot has "
                f"{DRAWINGS}. {WHAT_TO_PUT}"
            )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" .." if len(names) > 3 else "")
