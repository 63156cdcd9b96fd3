"""Warn of classes that nothing can be learned from: images all the same, or all of one colour."""

import warnings

import torch
from torch import Tensor

from metaloop.tasks.images.image_store import ImageStore
from metaloop.tasks.readers.visible_files import list_some
from metaloop.user_text import readable

ADVICE = (
    "Look at them as they are decoded: what is drawn on a transparent ground needs another "
    "task.background, and scans that use a part of their 16 bits the task.white_level that they "
    "reach."
)


def warn_of_uniform(store: ImageStore) -> None:
    """Name the classes whose images are all the same, or each of a single colour.

    Of a class like others two images are looked at: this costs nothing.
    """
    named = [name for c, name in enumerate(store.names) if _is_uniform(store, c)]
    if named:
        listed = readable(list_some(named))
        warnings.warn(
            f"Nothing can be learned from {len(named)} of {len(store.names)} classes, whose images "
            f"are all the same or of a single colour each:{listed}\n{ADVICE}",
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
