"""Output that nobody takes is lost, and nothing else is."""

import io
import os
import signal
import subprocess
import sys

import pytest
import pytorch_lightning as pl

from metaloop.folders.run_folder import RunFolder
from metaloop.process.signals import Interrupted, stop_on_signals, stop_signals
from metaloop.process.terminal import is_interactive
from metaloop.run.train import train
from tests.run.stopped_runs import saved_step, start, wait_for_step, write

# says more than a pipe holds, and what no encoding has, by itself and by a child
TALKATIVE = """
import subprocess
import sys
from pathlib import Path
from metaloop.process.terminal import survive_lost_output
survive_lost_output()
file = Path(sys.argv[1]).open("w")
for number in range(2000):
    print("said, in letters \\u00e9 and bytes \\udcff", flush=True)
subprocess.run(["echo", "said by a child"])
assert not sys.stdout.isatty()
print("an error", file=sys.stderr, flush=True)
print("whole", file=file, end="")
file.close()
sys.exit(7)
"""


@pytest.mark.parametrize("output", ["| head -1", ">&-", ">&- 2>&- <&-", "> /dev/full 2>&1"])
def test_redirected_output_changes_neither_status_nor_files(output, tmp_path):
    file = tmp_path / "file"
    python = f"{sys.executable} -c '{TALKATIVE}' {file}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {python} {output}"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert file.read_text() == "whole"


class HangsUp(pl.Callback):
    """A terminal that is closed at meta-step 3: its kernel says so, and then its shell."""

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == 3:
            for _ in range(2):
                signal.raise_signal(signal.SIGHUP)


@pytest.fixture
def handled():
    """The handlers of a worker, and afterwards those that were there."""
    before = {number: signal.getsignal(number) for number in stop_signals()}
    stop_on_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_terminal_that_is_closed_saves_and_stops_a_run(tmp_path, handled):
    folder = write(tmp_path, f"+callbacks.hangs_up._target_={__name__}.HangsUp")
    with pytest.raises(Interrupted, match="SIGHUP at meta-step 3, which was saved"):
        train(folder)
    assert saved_step(folder) == 3


def test_under_nohup_a_terminal_that_is_closed_stops_nothing(handled):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert signal.SIGHUP not in stop_signals()
    stop_on_signals()
    signal.raise_signal(signal.SIGHUP)
    assert {signal.SIGINT, signal.SIGTERM} < set(stop_signals())


def test_ctrl_c_that_takes_the_reader_away_too_saves_and_stops(tmp_path):
    folder: RunFolder = write(tmp_path, "training.max_steps=100000")
    worker = start(folder)  # its pipe is all that it says anything to
    wait_for_step(folder, 7, worker)
    worker.stdout.close()
    worker.send_signal(signal.SIGINT)
    assert worker.wait(timeout=60) == 128 + signal.SIGINT
    status = folder.read_status()
    assert status["state"] == "interrupted"
    assert status["reason"] == f"SIGINT at meta-step {saved_step(folder)}, which was saved"


def test_a_notebook_is_interactive_and_a_file_is_not(monkeypatch):
    notebooks = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})
    for stream, expected in ((notebooks(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stdout", stream)
        assert is_interactive() is expected
