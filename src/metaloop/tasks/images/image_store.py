"""Decoded images of many classes as uint8: in memory, memory-mapped, or on the accelerator."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from metaloop.tasks.readers.image_files import Pixels

Storage = Literal["auto", "memory", "mapped", "device"]
TURNS_BYTES = 2**29  # images that fit into this in all four quarter turns are stored in all four
DEVICE_SHARE = 4  # storage=auto moves images to a device with this many times their size free


class ImageStore:
    """The images of C classes, of which any can be gathered at once.

    `storage` does not change the pixels. It is one of
        memory: in the process's memory;
        mapped: in the cache's file, paged in as needed;
        device: on the training device, moved there once;
        auto: on the device if they take at most a quarter of its free memory, else where they were
            opened.

    Args:
        images: all images, class after class.
        counts: number of images per class.
        names: names of the classes.
        rows: rows of the usable images, class after class; None if all are usable.
        storage: where the images are kept.
        odd: the reason for each unusable image.

    Shapes:
        images [R, channels, height, width] uint8   counts [C]   rows [sum of counts]

    Examples:
        >>> import torch
        >>> from metaloop import ImageStore
        >>> images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1)
        >>> store = ImageStore(images, counts=torch.tensor([2, 3]), names=["a", "b"])
        >>> rows = store.find(torch.tensor([0, 1]), members=torch.tensor([[0], [2]]))
        >>> store.gather(rows).flatten()  # the first image of a, and the third of b
        tensor([0, 4], dtype=torch.uint8)

    """

    def __init__(
        self,
        images: Tensor,
        counts: Tensor,
        names: Sequence[str],
        *,
        rows: Tensor | None = None,
        storage: Storage = "auto",
        odd: Sequence[str] = (),
    ) -> None:
        self.odd = list(odd)
        self.names, self.counts, self.storage = list(names), counts, storage
        self.first = counts.cumsum(0) - counts
        self._images, self._rows = images, rows
        self._copies = 1  # of every image, one per quarter turn

    def regrouped(self, order: Tensor, counts: Tensor, names: Sequence[str]) -> "ImageStore":
        """Regroup the images into other classes; `order` lists the usable images."""
        rows = order if self._rows is None else self._rows[order]
        return ImageStore(
            self._images, counts, names, rows=rows, storage=self.storage, odd=self.odd
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width of every image, or the shape of other stored inputs."""
        return tuple(self._images.shape[1:])

    @property
    def device(self) -> torch.device:
        """Device that currently holds the images."""
        return self._images.device

    def __getstate__(self) -> dict[str, object]:
        """Drop the images, which a loader's workers do not need."""
        return {**self.__dict__, "_images": self._images[:0].clone()}

    def find(self, classes: Tensor, members: Tensor) -> Tensor:
        """Find the rows of images of each class, for `gather`.

        Shapes:
            classes [..]   members [.., M] indices within the class; the result has members' shape
        """
        positions = self.first[classes][..., None] + members
        return positions if self._rows is None else self._rows[positions]

    def gather(self, rows: Tensor, turns: Tensor | None = None) -> Tensor:
        """Gather images by row, optionally turned by quarter turns, anticlockwise.

        Shapes:
            rows, turns [..]; the result [.., channels, height, width] uint8
        """
        self._settle(rows.device)
        if turns is not None and self._copies == 1 and self._fits_turned():
            every = [torch.rot90(self._images, quarter, (-2, -1)) for quarter in range(4)]
            self._images, self._copies = torch.stack(every, 1).flatten(0, 1), 4
        wanted = self._copies * rows.flatten()
        if turns is not None and self._copies == 4:
            wanted = wanted + turns.flatten()
        # index_select copies whole rows fast
        found = torch.index_select(self._images.flatten(1), 0, wanted.to(self.device))
        images = found.view(-1, *self.shape).to(rows.device)
        if turns is not None and self._copies == 1:
            images = _turn(images, turns.flatten())
        return images.view(*rows.shape, *self.shape)

    def _fits_turned(self) -> bool:
        return self.storage != "mapped" and 4 * self._images.numel() <= TURNS_BYTES

    def _settle(self, device: torch.device) -> None:
        """Move the images to the device once, if they belong and fit there."""
        if self.device == device or self.storage in ("memory", "mapped"):
            return
        if self.storage == "auto" and device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if free < DEVICE_SHARE * self._images.numel():
                self.storage = "memory"  # they stay where they are
                return
        self._images = self._images.to(device)


def _turn(images: Tensor, turns: Tensor) -> Tensor:
    """Turn each image; images [B, channels, height, width], turns [B]."""
    # sorted by turn, each turn is one block, and index_select copies whole rows fast
    order = turns.argsort()
    blocks = torch.index_select(images.flatten(1), 0, order).view_as(images)
    parts = torch.split(blocks, turns.bincount().tolist())
    turned = torch.cat([torch.rot90(part, k, (-2, -1)) for k, part in enumerate(parts)])
    return torch.index_select(turned.flatten(1), 0, order.argsort()).view_as(images)


def store_arrays(images: Sequence[Pixels], names: Sequence[str] | None = None) -> ImageStore:
    """Make a store from arrays in memory, one [n, channels, height, width] per class.

    Examples:
        >>> import numpy as np
        >>> from metaloop import store_arrays
        >>> black, white = np.zeros((2, 1, 8, 8), np.uint8), np.full((3, 1, 8, 8), 255, np.uint8)
        >>> store = store_arrays([black, white], names=["black", "white"])
        >>> store.counts, store.shape
        (tensor([2, 3]), (1, 8, 8))

    """
    counts = torch.tensor([len(part) for part in images])
    names = [str(i) for i in range(len(images))] if names is None else names
    return ImageStore(torch.from_numpy(np.concatenate(images)), counts, names)
