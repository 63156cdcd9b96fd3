"""Decode images once, in parallel, into one memory-mapped file that is never torn.

A cache is a folder with `images.npy` (uint8 [R, channels, height, width]) and `index.json`. It is
built under a temporary name and renamed when it is complete.
"""

import json
import os
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypedDict, TypeVar

import filelock
import numpy as np
import torch
from tqdm import tqdm

from metaloop.errors import UserError
from metaloop.process.memory import memory_limit
from metaloop.tasks.images.image_store import ImageStore, Storage
from metaloop.tasks.readers.image_files import OddImageError, Pixels
from metaloop.tasks.readers.visible_files import explain_unusable

CHUNK = 256  # images that a thread decodes at a time, and that share a checksum
MEMORY_SHARE = 8  # storage=auto keeps images in memory up to one part in this many of it
REMEDY = "Repair or remove these files, or leave them out with task.skip_unusable=true."
Item = TypeVar("Item")


@dataclass(frozen=True)
class ImageSource(Generic[Item]):
    """The images to decode.

    Args:
        classes: the images of every class, by class name.
        read: decodes one image to `shape`, uint8; called from several threads.
        shape: channels, height and width.
        close: called after the last image.

    """

    classes: Mapping[str, Sequence[Item]]
    read: Callable[[Item], Pixels]
    shape: tuple[int, ...]
    close: Callable[[], None] = lambda: None


class Index(TypedDict):
    """Content of index.json; `odd` gives the reason for each unusable row."""

    names: list[str]
    counts: list[int]
    crc32: list[int]
    odd: dict[str, str]


def load_or_build(
    path: Path,
    find: Callable[[], ImageSource[Item]],
    *,
    storage: Storage = "auto",
    skip_unusable: bool = False,
) -> ImageStore:
    """Open the cache of images at path; build it if there is none.

    If two processes need the same cache, one builds it and the other waits.

    Raises:
        UserError: if images are unusable (all are listed) and `skip_unusable` is false, or the
            folder cannot be written.

    """
    if not (path / "index.json").is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(path.with_name(f"{path.name}.lock")):
                if not (path / "index.json").is_file():
                    _build(path, _find(find), skip_unusable)
        except OSError as error:
            raise UserError(
                f"The cache folder {path.parent} cannot be written ({error}). "
                "Set task.cache_dir to a writable folder."
            ) from error
    return _open(path, storage, skip_unusable)


def _find(find: Callable[[], ImageSource[Item]]) -> ImageSource[Item]:
    try:
        return find()
    except OSError as error:
        raise UserError(
            f"The data cannot be read ({error}). Make it readable, or set task.data_dir "
            "to another copy."
        ) from error


def _build(path: Path, source: ImageSource[Item], skip_unusable: bool) -> None:
    building = path.with_name(f"{path.name}.building")
    shutil.rmtree(building, ignore_errors=True)  # left by a killed process
    building.mkdir()
    items = [item for images in source.classes.values() for item in images]
    try:
        images = _create(building / "images.npy", (len(items), *source.shape))
        odd = _decode(images, items, source.read)
    finally:
        source.close()
    if odd and not skip_unusable:
        shutil.rmtree(building)
        raise UserError(explain_unusable(list(odd.values()), REMEDY))
    index: Index = {
        "names": list(source.classes),
        "counts": [len(images) for images in source.classes.values()],
        "crc32": _checksums(images),
        "odd": {str(row): why for row, why in odd.items()},
    }
    with (building / "images.npy").open("rb") as file:
        os.fsync(file.fileno())
    (building / "index.json").write_text(json.dumps(index))
    building.rename(path)


def _create(path: Path, shape: tuple[int, ...]) -> Pixels:
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with path.open("r+b") as file:  # writing to a mapping on a full disk would kill the process
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    images: Pixels = np.load(path, mmap_mode="r+")
    return images


def _decode(
    images: Pixels, items: Sequence[Item], read: Callable[[Item], Pixels]
) -> dict[int, str]:
    """Decode all images, with one thread per core; return the reason for each unusable row."""
    odd: dict[int, str] = {}

    def decode(rows: range) -> int:
        for row in rows:
            try:
                images[row] = read(items[row])
            except OddImageError as error:
                odd[row] = str(error)
        return len(rows)

    with (
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
        # disable=None: no bar if the output is not a terminal
        tqdm(total=len(items), desc="Decoding", unit="image", disable=None) as bar,
    ):
        try:
            for future in as_completed([pool.submit(decode, rows) for rows in _chunks(images)]):
                bar.update(future.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return dict(sorted(odd.items()))


def _chunks(images: Pixels) -> list[range]:
    starts = range(0, len(images), CHUNK)
    return [range(start, min(start + CHUNK, len(images))) for start in starts]


def _checksums(images: Pixels) -> list[int]:
    return [zlib.crc32(images[rows.start : rows.stop].data) for rows in _chunks(images)]


def _open(path: Path, storage: Storage, skip_unusable: bool) -> ImageStore:
    try:
        index: Index = json.loads((path / "index.json").read_text())
        # copy on write: torch requires a writable array, though nothing is written
        images: Pixels = np.load(path / "images.npy", mmap_mode="c")
        rows = np.arange(len(images))
        if _in_memory(images, storage):
            images = np.array(images)
            if _checksums(images) != index["crc32"]:
                raise ValueError("its checksum has changed")
        if len(images) != sum(index["counts"]):
            raise ValueError("its index has another number of images")
    except (ValueError, OSError, KeyError, EOFError) as error:
        raise UserError(
            f"The image cache {path} is damaged ({error}). Delete it; the next run rebuilds it."
        ) from error
    counts = np.array(index["counts"], dtype=np.int64)
    if odd := {int(row): why for row, why in index["odd"].items()}:
        if not skip_unusable:
            raise UserError(explain_unusable(list(odd.values()), REMEDY))
        classes = np.repeat(np.arange(len(counts)), counts)
        usable = ~np.isin(rows, list(odd))
        counts = np.bincount(classes[usable], minlength=len(counts))
        rows = rows[usable]
    return ImageStore(
        torch.from_numpy(images),
        torch.from_numpy(counts),
        index["names"],
        rows=torch.from_numpy(rows) if odd else None,
        storage=storage,
        odd=list(odd.values()),
    )


def _in_memory(images: Pixels, storage: Storage) -> bool:
    if storage != "auto":
        return storage != "mapped"
    return images.nbytes * MEMORY_SHARE <= memory_limit()
