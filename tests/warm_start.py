"""Commands that begin with their imports done, which cost each of them five seconds.

A process imports what a worker does and then, for every command asked for, forks one that is the
command: its arguments, environment, directory and output are its own, its code is the installed
entry point's. tests/cli/test_start_up.py starts commands cold.
"""

import atexit
import importlib.metadata
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from metaloop.process.fast_import import fast_imports

FAILED = 255  # what a fork that could not begin ends with


class WarmStart:
    """The process that the commands are forked from; one command at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None

    def run(
        self,
        *arguments: str,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 240,
    ) -> subprocess.CompletedProcess:
        """Run a command, or python with a script or -m and a module, as subprocess.run would."""
        server = self._started()
        with tempfile.TemporaryDirectory() as place:
            outputs = [str(Path(place) / name) for name in ("stdout", "stderr")]
            request = [arguments, str(cwd or Path.cwd()), dict(env or os.environ), outputs]
            print(json.dumps(request), file=server.stdin, flush=True)
            child = int(server.stdout.readline())
            if not select.select([server.stdout], [], [], timeout)[0]:
                os.kill(child, signal.SIGKILL)
                server.stdout.readline()
                raise subprocess.TimeoutExpired(arguments, timeout)
            status = int(server.stdout.readline())
            said = [Path(output).read_text() for output in outputs]
        return subprocess.CompletedProcess(arguments, status, *said)

    def _started(self) -> subprocess.Popen:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            atexit.register(self._end)
        return self._process

    def _end(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def serve() -> None:
    """Read commands, a line each; answer the number of each one's process, and its status."""
    with fast_imports():  # a fork that looked for garbage here would copy every page
        import metaloop.callbacks
        import metaloop.cli.sweeps.job
        import metaloop.run.worker  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                command = _become(*json.loads(line))
            except BaseException:
                traceback.print_exc()
                os._exit(FAILED)
            command()  # and to the interpreter's own end, as a process of its own has it
            return
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _become(
    arguments: list[str], cwd: str, environment: dict[str, str], outputs: list[str]
) -> Callable[[], object]:
    """Make this process the command's, and return what it does."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, output in enumerate(outputs, start=1):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    program, *rest = arguments
    if program == "python" and rest[0] == "-m":
        sys.argv = rest[1:]
        sys.path.insert(0, cwd)
        return lambda: runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
    if program == "python":
        sys.argv = rest
        sys.path.insert(0, str(Path(rest[0]).parent.resolve()))
        return lambda: runpy.run_path(rest[0], run_name="__main__")
    sys.argv = [str(Path(sys.executable).parent / program), *rest]
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name=program)
    main = entry.load()
    return lambda: sys.exit(main())


if __name__ == "__main__":
    serve()
