"""Folders are executed by a process of their own, which inherits no rank of another run."""

import os

import pytest

from metaloop.cli.execute import (
    STALE,
    Work,
    be_no_rank,
    execute,
    explain_execution,
    worker_arguments,
)
from metaloop.run.config.run_config import RunConfig


def work_on(folder) -> Work:
    return Work(folder, RunConfig.read(folder).device)


def test_one_process_is_a_module_and_several_are_started_by_torchruns_agent(make_run):
    folder = make_run()
    assert worker_arguments(folder, 1) == ["-m", "metaloop.run", str(folder.path)]
    module, agent, alone, processes, signals, *worker = worker_arguments(folder, 2)
    assert (module, agent, alone) == ("-m", "torch.distributed.run", "--standalone")
    assert processes == "--nproc-per-node=2"
    assert {"SIGINT", "SIGTERM"} <= set(signals.partition("=")[2].split(","))
    assert worker == worker_arguments(folder, 1)


def test_a_rank_of_another_run_is_forgotten(monkeypatch):
    for name in STALE:
        monkeypatch.setenv(name, "1")
    be_no_rank()
    assert not set(STALE) & set(os.environ)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ((), ":\n  python -m metaloop.run {folder}"),
        (("device=ddp", "device.accelerator=cpu"), "python -m torch.distributed.run --standalone"),
        (("device.nodes=2",), "torchrun --nnodes=2 --nproc-per-node=1 --master-addr=FIRST"),
    ],
)
def test_how_a_folder_is_executed_is_explained(overrides, says, make_run):
    folder = make_run(*overrides)
    assert says.format(folder=folder.path) in explain_execution(work_on(folder))


def test_compose_only_explains_and_leaves_nothing_to_do(make_run, capsys):
    folder = make_run()
    work = work_on(folder)
    assert execute(work, compose_only=True) is None
    assert capsys.readouterr().out.startswith(f"Composed {folder.path}. To execute it:")
    assert execute(work, compose_only=False) is work
