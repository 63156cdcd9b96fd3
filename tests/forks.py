"""Commands in processes forked from the test's: quick, and as easily killed as any."""

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path


def in_child(work: Callable[[], object], log: Path | None = None) -> int:
    """Run work in a process forked from this one, its output in a file; how it ended."""
    child = os.fork()
    if child == 0:
        status = 0
        try:
            if log is not None:
                output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(output, 1)
                os.dup2(output, 2)
                sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            work()
        except SystemExit as ended:
            status = ended.code or 0
        except BaseException:
            traceback.print_exc()
            status = 255
        finally:
            if log is not None:
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def command(name: str, *arguments: str) -> Callable[[], object]:
    """One of the commands, for `in_child`."""

    def work() -> None:
        sys.argv = [f"metaloop-{name}", *arguments]
        importlib.import_module(f"metaloop.cli.{name}").main()

    return work


def die_before(number: int) -> None:
    """Have this process killed before it renames or removes a file for the number-th time."""
    left = [number]

    def counting(does: Callable) -> Callable:
        def counted(*arguments, **named):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return does(*arguments, **named)

        return counted

    Path.replace, Path.unlink = counting(Path.replace), counting(Path.unlink)
