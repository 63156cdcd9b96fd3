"""Decode images once, in parallel, into one memory-mapped file: resumable, never torn.

A cache is a folder, `images.npy` (uint8 [R, channels, height, width]) and `index.json`. It is
built under another name beside its final place and renamed when it is whole.
"""

import json
import os
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypedDict, TypeVar

import filelock
import numpy as np
import torch
from tqdm import tqdm

from metaloop.errors import UserError
from metaloop.process.memory import memory_limit
from metaloop.tasks.images.image_store import ImageStore, Storage
from metaloop.tasks.readers.image_files import OddImageError, Pixels
from metaloop.tasks.readers.visible_files import explain_unusable

CHUNK = 256  # images decoded between two lines of the journal
MEMORY_SHARE = 8  # storage=auto reads images into memory up to this part of the machine's
REMEDY = "Mend or remove what is named, or leave such files out with task.skip_unusable=true."
Item = TypeVar("Item")


@dataclass(frozen=True)
class ImageSource(Generic[Item]):
    """What is to be decoded.

    Args:
        classes: the images of every class, by its name.
        read: decodes one image to `shape`, uint8; called from several threads.
        shape: channels, height and width.
        close: called when all is read.

    """

    classes: Mapping[str, Sequence[Item]]
    read: Callable[[Item], Pixels]
    shape: tuple[int, ...]
    close: Callable[[], None] = lambda: None


class Chunk(NamedTuple):
    """A line of the journal: which chunk is decoded, its checksum, its unusable images."""

    number: int
    crc32: int
    odd: dict[int, str]


class Index(TypedDict):
    """What index.json says; `odd` gives the reason by the row."""

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
    """Open the cache of images at path; build it where there is none.

    Of two processes that need the same cache one builds and the other waits. A build that was
    killed goes on where it was.

    Raises:
        UserError: images are unusable, all of which are named, and `skip_unusable` is false; the
            folder cannot be written.

    """
    if not (path / "index.json").is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(path.with_name(f"{path.name}.lock")):
                if not (path / "index.json").is_file():
                    _build(path, _found(find), skip_unusable)
        except OSError as error:
            raise UserError(
                f"The cache folder {path.parent} cannot be written ({error}). "
                "Set task.cache_dir to a folder that can."
            ) from error
    return _open(path, storage, skip_unusable)


def _found(find: Callable[[], ImageSource[Item]]) -> ImageSource[Item]:
    try:
        return find()
    except OSError as error:
        raise UserError(
            f"The data cannot be read ({error}). Make it readable, or name another copy with "
            "task.data_dir."
        ) from error


def _build(path: Path, source: ImageSource[Item], skip_unusable: bool) -> None:
    building = path.with_name(f"{path.name}.building")
    items = [item for images in source.classes.values() for item in images]
    try:
        journal = _begin(building, (len(items), *source.shape))
        _decode(building, items, source, journal)
    finally:
        source.close()
    with (building / "images.npy").open("rb") as file:
        os.fsync(file.fileno())
    chunks = [journal[number] for number in sorted(journal)]
    odd = {row: why for chunk in chunks for row, why in chunk.odd.items()}
    if odd and not skip_unusable:
        shutil.rmtree(building)  # mended images are other images: nothing here would serve
        raise UserError(explain_unusable(list(odd.values()), REMEDY))
    index: Index = {
        "names": list(source.classes),
        "counts": [len(images) for images in source.classes.values()],
        "crc32": [chunk.crc32 for chunk in chunks],
        "odd": {str(row): why for row, why in odd.items()},
    }
    (building / "index.json").write_text(json.dumps(index))
    (building / "journal.jsonl").unlink()
    building.rename(path)


def _begin(building: Path, shape: tuple[int, ...]) -> dict[int, Chunk]:
    """Make the file of this shape, or take up the one that a killed build left."""
    images = building / "images.npy"
    if (building / "journal.jsonl").is_file():
        left = np.load(images, mmap_mode="r")
        if left.shape == shape:
            return {c.number: c for c in _read_journal(building) if _checksum(left, c) == c.crc32}
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    np.lib.format.open_memmap(images, mode="w+", dtype=np.uint8, shape=shape)
    with images.open("r+b") as file:  # writing to a mapping of a full disk would kill the process
        os.posix_fallocate(file.fileno(), 0, images.stat().st_size)
    (building / "journal.jsonl").touch()
    return {}


def _read_journal(building: Path) -> list[Chunk]:
    chunks = []
    for line in (building / "journal.jsonl").read_text().splitlines():
        try:
            number, crc32, odd = json.loads(line)
        except ValueError:
            continue  # the line that was being written
        chunks.append(Chunk(number, crc32, {int(row): why for row, why in odd.items()}))
    return chunks


def _checksum(images: Pixels, chunk: Chunk) -> int:
    return zlib.crc32(images[chunk.number * CHUNK : (chunk.number + 1) * CHUNK].data)


def _decode(
    building: Path,
    items: Sequence[Item],
    source: ImageSource[Item],
    journal: dict[int, Chunk],
) -> None:
    """Decode the chunks that the journal lacks, by as many threads as there are cores."""
    images: Pixels = np.load(building / "images.npy", mmap_mode="r+")

    def decode(number: int) -> Chunk:
        odd = {}
        for row in range(number * CHUNK, min((number + 1) * CHUNK, len(items))):
            try:
                images[row] = source.read(items[row])
            except OddImageError as error:
                odd[row] = str(error)
        return Chunk(number, _checksum(images, Chunk(number, 0, odd)), odd)

    left = [n for n in range(-(-len(items) // CHUNK)) if n not in journal]
    done = len(items) - sum(min(CHUNK, len(items) - n * CHUNK) for n in left)
    with (
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
        (building / "journal.jsonl").open("a") as file,
        # disable=None: no bar where the output is no terminal
        tqdm(total=len(items), initial=done, desc="Decoding", unit="image", disable=None) as bar,
    ):
        try:
            for future in as_completed([pool.submit(decode, number) for number in left]):
                chunk = future.result()
                journal[chunk.number] = chunk
                file.write(json.dumps(chunk) + "\n")
                file.flush()
                bar.update(min(CHUNK, len(items) - chunk.number * CHUNK))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _open(path: Path, storage: Storage, skip_unusable: bool) -> ImageStore:
    try:
        index: Index = json.loads((path / "index.json").read_text())
        # copy on write: torch wants an array that could be written, and nothing is
        images: Pixels = np.load(path / "images.npy", mmap_mode="c")
        rows = np.arange(len(images))
        if _in_memory(images, storage):
            images = np.array(images)
            found = [_checksum(images, Chunk(n, 0, {})) for n in range(-(-len(images) // CHUNK))]
            if found != index["crc32"]:
                raise ValueError("its checksum has changed")
        if len(images) != sum(index["counts"]):
            raise ValueError("it has another number of images than its index")
    except (ValueError, OSError, KeyError, EOFError) as error:
        raise UserError(
            f"The image cache {path} is damaged ({error}). Delete it; the next start rebuilds it."
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
