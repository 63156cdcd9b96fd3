"""The terminal, which never ends a run: what nobody can read is lost, and nothing else.

Imports no torch: it must be there before anything is said.
"""

import io
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STANDARD = (0, 1, 2)  # the descriptors of a process: input, output, errors


class _Forgiving(io.FileIO):
    """Drops what cannot be written: its reader has gone, its terminal is closed, its disk full."""

    def write(self, data: "ReadableBuffer") -> int:
        try:
            while (written := super().write(data)) is None:
                select.select([], [self], [])  # somebody else has made it non-blocking
        except OSError:
            return len(memoryview(data))
        return written


def survive_lost_output() -> None:
    """From now on nothing that is said ends this process or changes its exit status.

    A pipe whose reader has gone (`| head -1`), a terminal that was closed, a full disk under a log
    and letters that the encoding lacks are no errors. What was closed from the start (`>&-`) is
    open on nothing, or the first file of the run would take its place and all that is said.

    A notebook's or a test's streams stay as they are.
    """
    for descriptor in STANDARD:
        _open_on_nothing_if_closed(descriptor)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _forgiving(sys.stdout, STANDARD[1])
    if sys.stderr is sys.__stderr__:
        sys.stderr = _forgiving(sys.stderr, STANDARD[2])


def say_in_handler(message: str) -> None:
    """Say something in a signal handler: a print might meet the one that the signal interrupted."""
    with suppress(OSError):
        os.write(STANDARD[2], f"{message}\n".encode())


def _open_on_nothing_if_closed(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one
        os.set_inheritable(opened, True)


def _forgiving(stream: TextIO | None, descriptor: int) -> TextIO:
    if stream is None:  # closed from the start; by now its descriptor may be another file's
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
