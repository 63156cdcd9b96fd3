"""Keep a run alive whatever happens to its terminal: output that nobody can read is dropped.

Imports no torch: it must be set up before any output.
"""

import io
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STANDARD = (0, 1, 2)  # file descriptors of standard input, output and error


class _Forgiving(io.FileIO):
    """A file that drops what cannot be written: closed pipe or terminal, full disk."""

    def write(self, data: "ReadableBuffer") -> int:
        try:
            while (written := super().write(data)) is None:
                select.select([], [self], [])  # another process made it non-blocking
        except OSError:
            return len(memoryview(data))
        return written


def survive_lost_output() -> None:
    """Make sure that output never ends this process or changes its exit status.

    A pipe without a reader (`| head -1`), a closed terminal, a full disk under a log and characters
    that the encoding lacks are not errors. Streams that were closed from the start (`>&-`) are
    opened on /dev/null; otherwise the run's first file would get their descriptor, and all output.

    The streams of a notebook or a test are not changed.
    """
    for descriptor in STANDARD:
        _open_if_closed(descriptor)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _make_forgiving(sys.stdout, STANDARD[1])
    if sys.stderr is sys.__stderr__:
        sys.stderr = _make_forgiving(sys.stderr, STANDARD[2])


def is_interactive() -> bool:
    """Check whether standard output is a terminal's or a notebook's, where a progress bar moves."""
    is_notebook = type(sys.stdout).__module__.partition(".")[0] == "ipykernel"
    return is_notebook or sys.stdout.isatty()


def say_in_handler(message: str) -> None:
    """Print in a signal handler, where `print` might collide with an interrupted one."""
    with suppress(OSError):
        os.write(STANDARD[2], f"{message}\n".encode())


def _open_if_closed(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor: this one
        os.set_inheritable(opened, True)


def _make_forgiving(stream: TextIO | None, descriptor: int) -> TextIO:
    if stream is None:  # closed from the start: another file may have its descriptor
        descriptor = os.open(os.devnull, os.O_WRONLY)
    raw = _Forgiving(descriptor, "w", closefd=False)
    if not isinstance(stream, io.TextIOWrapper):
        return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "backslashreplace")
    with suppress(OSError):
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        stream.encoding,
        "backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
