"""The check may run under a user's profiler."""

import cProfile
import sys
import types
from pathlib import Path

import pytest

from metaloop.meta_gradient.preflight.python_calls import watch_calls


def called():
    return None


def as_a_program():
    """cProfile as `python -m cProfile` runs it: its classes are not those of an import."""
    module = types.ModuleType("profiler")
    exec(Path(cProfile.__file__).read_text(), vars(module))
    return module.Profile()


def function(*_):
    return None


@pytest.mark.parametrize("make", [cProfile.Profile, as_a_program, lambda: None])
def test_calls_are_seen_and_a_profiler_goes_on_afterwards(make):
    profiler, seen = make(), []
    if profiler is not None:
        profiler.enable()
    try:
        before = sys.getprofile()
        with watch_calls(lambda frame: seen.append(frame.f_code)):
            called()
        assert called.__code__ in seen
        assert sys.getprofile() is before
        unseen = len(seen)
        called()
        assert len(seen) == unseen
    finally:
        if profiler is not None:
            profiler.disable()
    if profiler is not None:
        profiler.create_stats()
        counted = {name for _, _, name in profiler.stats}
        assert "called" in counted


def test_a_function_that_profiles_goes_on_afterwards():
    sys.setprofile(function)
    try:
        with watch_calls(lambda _: None):
            called()
        assert sys.getprofile() is function
    finally:
        sys.setprofile(None)
