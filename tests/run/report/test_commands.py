"""A page ends with the command that made it, and with what can be done next."""

import pytest

from metaloop.folders.run_folder import RunFolder
from metaloop.folders.sweep_folder import SweepFolder
from metaloop.run.config.read import load_config, read_overrides
from metaloop.run.config.write import write_adaptation, write_evaluation
from metaloop.run.report.commands import (
    after_adaptation,
    after_evaluation,
    after_run,
    after_sweep,
    after_training,
    command_of,
    command_of_sweep,
    run_of,
)
from metaloop.tasks import Sinusoid


def test_a_run_an_evaluation_and_an_adaptation_are_made_by_their_commands(make_run):
    run = make_run("seed=3")
    config = load_config(run)
    assert command_of(run, config).startswith("metaloop-train experiment=smoke ")
    judged = write_evaluation(run, "mine", config, ["evaluation.split=validation"])
    assert command_of(judged, load_config(judged)) == (
        f"metaloop-evaluate {run.path} evaluation.split=validation name=mine"
    )
    adapted = write_adaptation(run, "new", config, ["support=a.csv"], replaces=False)
    assert command_of(adapted, load_config(adapted)) == (
        f"metaloop-adapt {run.path} support=a.csv name=new"
    )
    assert run_of(judged, load_config(judged)).path == run.path


def test_an_evaluation_that_ended_the_training_is_made_by_the_training(make_run):
    run = make_run()
    config = load_config(run)
    judged = write_evaluation(run, "test", config, read_overrides(run))
    assert command_of(judged, load_config(judged)) == command_of(run, config)


@pytest.mark.parametrize(
    ("state", "first"),
    [
        ("completed", "metaloop-evaluate {run} evaluation.checkpoint=last"),
        ("composed", "python -m metaloop.run {run}"),
        ("interrupted", "metaloop-resume {run}"),
        ("diverged", "metaloop-resume {run} optimizer.lr=LOWER --accept-changes"),
    ],
)
def test_what_is_next_depends_on_how_a_run_ended(state, first, make_run):
    run = make_run()
    run.write_status(state)
    assert after_run(run)[0].line == first.format(run=run.path)


def test_names_that_a_shell_would_split_are_quoted(make_run):
    run = make_run()
    run = RunFolder(run.path.rename(run.path.with_name("my run")))
    run.write_status("interrupted")
    assert after_run(run)[0].line == f"metaloop-resume '{run.path}'"


def test_after_an_evaluation_or_an_adaptation_there_is_more_to_learn(make_run):
    run = make_run()
    lines = [command.line for command in after_evaluation(RunFolder(run.path / "e"), run)]
    assert lines[1] == f"metaloop-compare {run.path / 'e'} OTHER"
    adapted = {"adapt": {"support": "my points.csv"}}
    assert after_adaptation(run, adapted)[0].line == (
        f"metaloop-adapt {run.path} 'support=\"my points.csv\"' query=LABELLED.csv export=onnx"
    )


def test_the_files_to_adapt_to_are_those_that_the_task_reads(make_run):
    run = make_run().path
    curves = Sinusoid(shots=1, queries=1).suggest_files()
    (command,) = (c for c in after_training(run, files=curves) if "metaloop-adapt" in c.line)
    assert command.line == f"metaloop-adapt {run} support=LABELLED.csv query=REST.csv"
    assert command.purpose.endswith("LABELLED.csv has the columns x and y, REST.csv has x")
    assert not any("metaloop-adapt" in c.line for c in after_training(run, files=None))


def test_a_sweep_goes_on_by_its_own_command_if_that_is_known(tmp_path):
    unknown = SweepFolder(tmp_path)
    assert command_of_sweep(unknown) == []
    job = RunFolder(tmp_path / "best job")
    assert [command.line for command in after_sweep(unknown, job)] == [
        f"metaloop-compare {tmp_path}",
        f"metaloop-report '{job.path}'",
    ]
    sweep = SweepFolder.create(tmp_path / "sweep")
    sweep.begin(["seed=1,2"])
    (line,) = command_of_sweep(sweep, "task.shots=3")
    assert line == "metaloop-train -m seed=1,2 task.shots=3"
    assert after_sweep(sweep, job)[0].line.startswith("metaloop-train -m seed=1,2 hydra.sweep.dir=")
