"""Imports are not looked at again and again by the garbage collector."""

import gc

from metaloop.process.fast_import import fast_imports
from tests.conftest import run_command

IMPORTING = """
import gc
from metaloop.process.fast_import import fast_imports
with fast_imports():
    assert not gc.isenabled()
    import decimal
assert gc.isenabled()
assert gc.get_freeze_count() > 0
assert not any(found is decimal.Decimal for found in gc.get_objects())
"""


def test_the_garbage_collector_looks_at_nothing_that_a_program_imported():
    done = run_command("python", "-c", IMPORTING)
    assert done.returncode == 0, done.stderr


def test_in_a_program_of_somebody_elses_it_still_looks_at_everything():
    before = gc.get_freeze_count()
    with fast_imports():
        assert gc.isenabled()
    assert gc.get_freeze_count() == before
