"""Meta-training in a line: the same learner as a run's, and the same check before it."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest
import pytorch_lightning as pl
import torch

from metaloop import MLP, Sinusoid, UserError, fit, maml
from metaloop.learner import Learner
from metaloop.run.train import train

ALGORITHM = partial(maml, inner_lr=0.01, inner_steps=1, eval_inner_steps=3, adjoint="unrolled")


def test_it_trains_to_the_weights_of_a_run(make_run):
    folder = make_run("training.max_steps=3", "algorithm.eval_inner_steps=3", "optimizer.lr=0.01")
    train(folder)
    of_run = Learner.load(folder.path, checkpoint="last").meta
    pl.seed_everything(0, verbose=False)
    network = MLP(1, 1, hidden=[40, 40])
    learner = fit(
        Sinusoid(shots=10, queries=10), network, ALGORITHM, max_steps=3, meta_batch_size=4, lr=0.01
    )
    for name, weights in of_run.items():
        torch.testing.assert_close(learner.meta[name], weights)
    x = torch.tensor([-1.0, 0.0, 1.0])
    assert learner.adapt(x, x).steps == 3


def test_it_prints_its_check_and_nothing_of_lightnings(capfd):
    fit(Sinusoid(shots=2, queries=2), torch.nn.Linear(1, 1), ALGORITHM, max_steps=1)
    printed = capfd.readouterr()
    assert printed.out.startswith("Checked: the meta-gradient of Linear equals plain autograd's")
    assert printed.out.count("\n") == 1
    assert printed.err == ""


def read_all(descriptor: int) -> str:
    """Read from a terminal until its other side is closed."""
    parts = []
    with suppress(OSError):
        while part := os.read(descriptor, 4096):
            parts.append(part)
    return b"".join(parts).decode()


@pytest.mark.parametrize(("progress", "is_shown"), [(None, True), (False, False)])
def test_a_terminal_shows_a_progress_bar_unless_told_otherwise(monkeypatch, progress, is_shown):
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(read_all, ours)
        with os.fdopen(its, "w") as terminal, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", terminal)
            task = Sinusoid(shots=2, queries=2)
            fit(task, torch.nn.Linear(1, 1), ALGORITHM, max_steps=4, progress=progress)
        shown = reading.result()
    os.close(ours)
    last = shown.rstrip().rpartition("\r")[2]
    assert ("4/4" in last and re.search(r"loss=[\d.]+ -> [\d.]+", last) is not None) is is_shown
    assert "Checked: the meta-gradient of Linear equals plain autograd's" in shown


def test_a_bar_is_drawn_elsewhere_if_asked_for_and_followed_by_the_last_loss(capsys):
    task = Sinusoid(shots=2, queries=2)
    fit(task, torch.nn.Linear(1, 1), ALGORITHM, max_steps=2, progress=True)
    *_, bar, last = capsys.readouterr().out.splitlines()
    assert "2/2" in bar
    assert re.fullmatch(r"meta-step 2/2  loss [\d.]+ -> [\d.]+", last)


def test_what_does_not_fit_is_refused_before_the_first_step():
    with pytest.raises(UserError, match=r"returns \[3\] for one input"):
        fit(Sinusoid(shots=2, queries=2), torch.nn.Linear(1, 3), ALGORITHM, max_steps=1)
