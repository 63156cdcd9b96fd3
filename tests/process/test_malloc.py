"""What a run frees it keeps: the system is not asked for the same memory again and again."""

import os
import re

import pytest

from tests.conftest import run_command

PAGES = 2**26 // os.sysconf("SC_PAGE_SIZE")  # of a tensor of 64 MiB
SCRIPT = """
import resource, sys, threading
import torch
from metaloop.run.worker import work

status = work([sys.argv[1]])

def ten_tensors():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**24)
    print("Asked for", resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

def ten_again():  # after a first time, in which its arena finds room for them
    ten_tensors()
    ten_tensors()

ten_tensors()
thread = threading.Thread(target=ten_again)  # as chunks are computed in others than the main one
thread.start()
thread.join()
sys.exit(status)
"""


def pages_asked_for_after_a_run(run, tmp_path, **environment: str) -> tuple[int, int]:
    """How many pages ten tensors, one after the other, take from the system after a run's work.

    In the main thread, and in another.
    """
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    settings = {**os.environ, **environment}
    done = run_command("python", str(script), str(run.path), env=settings, cold=True)
    assert done.returncode == 0, done.stderr
    main, _, other = map(int, re.findall(r"Asked for (\d+)", done.stdout))
    return main, other


@pytest.fixture
def run(make_run):
    return make_run("evaluation.episodes=2")


@pytest.fixture
def glibc():
    if "CS_GNU_LIBC_VERSION" not in os.confstr_names or not os.confstr("CS_GNU_LIBC_VERSION"):
        pytest.skip("another C library than glibc")


def test_freed_memory_is_taken_again(run, tmp_path, glibc):
    # the first ones: an aligned block does not always fit where one of its size has been
    assert max(pages_asked_for_after_a_run(run, tmp_path)) < 4 * PAGES


@pytest.mark.slow
def test_malloc_as_the_user_has_set_it_up_stays(run, tmp_path):
    pages = pages_asked_for_after_a_run(run, tmp_path, MALLOC_TRIM_THRESHOLD_="131072")
    assert pages[0] > 9 * PAGES
