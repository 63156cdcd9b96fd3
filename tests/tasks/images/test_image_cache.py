"""The cache of decoded images is complete or absent, and built once, in parallel."""

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from metaloop.errors import UserError
from metaloop.tasks.images.image_cache import CHUNK, ImageSource, load_or_build
from metaloop.tasks.readers.image_files import OddImageError

SHAPE = (1, 2, 2)
COUNTS = {"a": CHUNK + 3, "b": 2 * CHUNK, "c": 5}


def pixels(item: int) -> np.ndarray:
    """An image that says which it is."""
    return np.array([item % 256, item // 256, 7, 9], dtype=np.uint8).reshape(SHAPE)


def source(read=pixels, counts=COUNTS) -> ImageSource:
    start, classes = 0, {}
    for name, count in counts.items():
        classes[name] = range(start, start + count)
        start += count
    return ImageSource(classes, read, SHAPE)


def check_whole(store) -> None:
    assert store.names == list(COUNTS)
    assert store.counts.tolist() == list(COUNTS.values())
    total = sum(COUNTS.values())
    found = store.gather(torch.arange(total))
    assert torch.equal(found, torch.from_numpy(np.stack([pixels(i) for i in range(total)])))


def build_and_count(path: Path, log: Path, delay: float = 0) -> None:
    def find():
        with log.open("a") as file:
            file.write("built\n")
        time.sleep(delay)
        return source()

    check_whole(load_or_build(path, find))


def die_half_way(path: Path) -> None:
    def read(item: int) -> np.ndarray:
        if item >= 3 * CHUNK:
            os._exit(9)
        return pixels(item)

    load_or_build(path, lambda: source(read))


def run_process(target, *arguments) -> int | None:
    worker = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    worker.start()
    worker.join()
    return worker.exitcode


def test_two_processes_build_one_cache_once(tmp_path):
    path, log = tmp_path / "cache" / "x", tmp_path / "log"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=build_and_count, args=(path, log, 0.3)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert log.read_text() == "built\n"


def test_a_killed_build_leaves_no_cache_and_does_not_disturb_the_next(tmp_path):
    path = tmp_path / "x"
    assert run_process(die_half_way, path) == 9
    assert not path.exists()
    check_whole(load_or_build(path, source))
    assert {p.name for p in path.iterdir()} == {"images.npy", "index.json"}


def test_an_error_while_building_leaves_nothing(tmp_path):
    def fail(item):
        raise OddImageError(f"image {item} is odd.")

    with pytest.raises(UserError, match="is odd"):
        load_or_build(tmp_path / "x", lambda: source(fail))
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".lock"] == []


def test_odd_images_are_left_out_on_request_and_refused_again_without(tmp_path):
    odd = {1, CHUNK + 5}  # one of class a, one of class b

    def read(item: int) -> np.ndarray:
        if item in odd:
            raise OddImageError(f"image {item} is odd.")
        return pixels(item)

    store = load_or_build(tmp_path / "x", lambda: source(read), skip_unusable=True)
    assert store.odd == ["image 1 is odd.", f"image {CHUNK + 5} is odd."]
    assert store.counts.tolist() == [CHUNK + 2, 2 * CHUNK - 1, 5]
    some = store.find(torch.tensor([0, 1]), torch.tensor([[0, 1, 2], [0, 2, 3]]))
    seen = store.gather(some.flatten()).flatten(1)
    expected = [0, 2, 3, CHUNK + 3, CHUNK + 6, CHUNK + 7]
    assert (seen[:, 0] + 256 * seen[:, 1].int()).tolist() == expected
    with pytest.raises(
        UserError, match=r"(?s)2 files cannot.*1 is odd.*261 is odd.*task\.skip_unusable=true"
    ):
        load_or_build(tmp_path / "x", source)


@pytest.mark.parametrize(("name", "storage"), [("images.npy", "memory"), ("index.json", "mapped")])
def test_a_damaged_cache_is_named_with_the_remedy(name, storage, tmp_path):
    path = tmp_path / "x"
    load_or_build(path, source)
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=r"x is damaged.*Delete it"):
        load_or_build(path, source, storage=storage)


def test_a_cache_folder_that_cannot_be_written_is_named_with_the_remedy(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=r"cannot be written.*task\.cache_dir"):
        load_or_build(tmp_path / "file" / "x", source)


def test_unreadable_data_is_not_reported_as_a_cache_error(tmp_path):
    def find():
        raise PermissionError(13, "Permission denied", "/photos/cat")

    with pytest.raises(UserError, match=r"The data cannot be read .*/photos/cat.*task\.data_dir"):
        load_or_build(tmp_path / "x", find)


def test_mapped_images_stay_in_their_file_and_are_the_same(tmp_path):
    in_memory = load_or_build(tmp_path / "x", source, storage="memory")
    mapped = load_or_build(tmp_path / "x", source, storage="mapped")
    check_whole(in_memory)
    check_whole(mapped)
    # only a mapping shows what the file says now
    images = np.load(tmp_path / "x" / "images.npy", mmap_mode="r+")
    images[0] = 99
    images.flush()
    assert mapped.gather(torch.tensor([0])).unique().tolist() == [99]
    assert 99 not in in_memory.gather(torch.tensor([0]))
