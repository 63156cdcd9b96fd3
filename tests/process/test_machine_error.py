"""What the machine refuses is said in words: what, where, and what to do."""

import errno
from pathlib import Path

import pytest
import torch

from metaloop.errors import UserError
from metaloop.process.machine_error import in_words, machine_error


def raised(work) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever the system raises
        work()
    return caught.value


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_a_full_disk_is_reported_for_any_file(number):
    wrapping = RuntimeError("hides it")
    wrapping.__cause__ = OSError(number, "", "/some/where")
    assert "/some/where" in machine_error(wrapping).what


def test_a_missing_file_or_one_in_the_way_is_explained_only_in_the_run_folder(tmp_path):
    (tmp_path / "file").touch()
    gone = raised(lambda: (tmp_path / "no" / "file").open())
    no_file = raised(lambda: tmp_path.write_text(""))
    no_folder = raised(lambda: (tmp_path / "file" / "x").write_text(""))
    for error, says in (
        (gone, f"the folder is missing ({tmp_path}/no/file)"),
        (no_file, "there is a folder in place of a file"),
        (no_folder, "there is a file in place of a folder"),
        (PermissionError(errno.EACCES, "", str(tmp_path)), "there is no permission to write"),
    ):
        assert machine_error(error, tmp_path).what.startswith(says)
        assert machine_error(error, Path("/elsewhere")) is None
    assert machine_error(ValueError("of another kind"), tmp_path) is None


@pytest.mark.parametrize(
    "work",
    [
        lambda: torch.empty(2**48),
        lambda: bytearray(2**60),
        lambda: _raise(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")),
    ],
)
def test_memory_that_is_used_up_is_told_with_the_keys_that_need_less(work, tmp_path):
    with pytest.raises(UserError, match=r"^The memory is used up.*device\.tasks_at_once=1"):
        said_in_words(tmp_path, work)
    with pytest.raises(UserError, match=r"^The memory is used up"):
        said_in_words(tmp_path, lambda: taken_for_a_fault_of_the_model(work))


def said_in_words(folder, work) -> None:
    with in_words(folder):
        work()


def taken_for_a_fault_of_the_model(work) -> None:
    try:
        work()
    except Exception as error:
        raise UserError("this model does not work") from error


def _raise(error: Exception) -> None:
    raise error
