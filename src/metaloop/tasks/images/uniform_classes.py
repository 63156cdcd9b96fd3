"""Warn of classes from which nothing can be learned: all images the same, or of a single colour."""

import warnings

import torch
from torch import Tensor

from metaloop.tasks.images.image_store import ImageStore
from metaloop.tasks.readers.visible_files import list_some
from metaloop.user_text import readable

ADVICE = (
    "Check how they are decoded: drawings on a transparent ground may need another "
    "task.background, and scans that use only part of their 16 bits need their maximum as "
    "task.white_level."
)


def warn_of_uniform(store: ImageStore) -> None:
    """List the classes whose images are all the same, or each of a single colour.

    Other classes are recognised after two images, so this is cheap.
    """
    uniform = [name for c, name in enumerate(store.names) if _is_uniform(store, c)]
    if uniform:
        listed = readable(list_some(uniform))
        warnings.warn(
            f"Nothing can be learned from {len(uniform)} of {len(store.names)} classes: their "
            f"images are all the same, or each of a single colour:{listed}\n{ADVICE}",
            stacklevel=2,
        )


def _is_uniform(store: ImageStore, number: int) -> bool:
    count = int(store.counts[number])
    if count < 2:
        return False

    def image(member: int) -> Tensor:
        row = store.find(torch.tensor(number), torch.tensor([member]))
        return store.gather(row)[0].flatten(1)

    first = image(0)
    is_same = all(torch.equal(image(i), first) for i in range(1, count))
    return is_same or all(_is_flat(image(i)) for i in range(count))


def _is_flat(image: Tensor) -> bool:
    return bool((image == image[:, :1]).all())
