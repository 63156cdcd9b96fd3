"""The cache of decoded images is whole or absent, and built once."""

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from metaloop.errors import UserError
from metaloop.tasks.image_cache import load_or_build

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 1, 2, 2)


def build_and_count(path: Path, log: Path) -> None:
    def build():
        with log.open("a") as file:
            file.write("built\n")
        return IMAGES

    assert np.array_equal(load_or_build(path, build), IMAGES)


def die_while_writing(path: Path) -> None:
    class Dying:
        dtype, shape = np.dtype(np.uint8), (1,)

        def __array__(self, *args, **kwargs):
            os._exit(9)

    load_or_build(path, Dying)


def test_two_processes_build_one_cache_once(tmp_path):
    path, log = tmp_path / "cache" / "x.npz", tmp_path / "log"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=build_and_count, args=(path, log)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert log.read_text() == "built\n"


def test_a_crash_while_building_leaves_no_cache_and_the_next_start_builds(tmp_path):
    path = tmp_path / "x.npz"
    worker = multiprocessing.get_context("fork").Process(target=die_while_writing, args=(path,))
    worker.start()
    worker.join()
    assert worker.exitcode == 9
    assert not path.exists()
    build_and_count(path, tmp_path / "log")


def test_an_error_while_building_leaves_nothing(tmp_path):
    def fail():
        raise UserError("no data")

    with pytest.raises(UserError, match="no data"):
        load_or_build(tmp_path / "x.npz", fail)
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".lock"] == []


def test_a_damaged_cache_is_named_with_the_remedy(tmp_path):
    path = tmp_path / "x.npz"
    build_and_count(path, tmp_path / "log")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"x\.npz is damaged.*Delete it"):
        build_and_count(path, tmp_path / "log")
