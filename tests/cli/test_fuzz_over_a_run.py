"""Command lines over a run that nobody thought of: work to do, or a few lines that name it.

Long: run it by pytest -m slow tests/cli/test_fuzz_over_a_run.py.
"""

import random
import shutil
import sys
from importlib import import_module

import pytest
from hydra.core.global_hydra import GlobalHydra

from metaloop.folders.run_folder import RunFolder
from tests.cli.test_fuzz import VALUES, mutated, names

CASES = 150
GOOD = {
    "evaluate": (
        "evaluation.episodes=4",
        "evaluation.split=validation",
        "evaluation.checkpoint=last",
        "evaluation.norm_modes=[inductive]",
        "task.shots=5",
        "task=harmonic",
        "norm_mode=inductive",
        "algorithm.eval_inner_steps=2",
        "device.threads=1",
        "name=mine",
        "seed=3",
        "compose_only=true",
    ),
    "adapt": (
        "support=points.csv",
        "query=points.csv",
        "steps=3",
        "head=null",
        "checkpoint=last",
        "export=[pt2]",
        "export=onnx",
        "name=mine",
        "norm_mode=inductive",
        "compose_only=true",
    ),
    "resume": (
        "training.max_steps=30",
        "optimizer.lr=0.01",
        "logger.csv=null",
        "task.data_dir=x",
        "device.threads=1",
        "scheduler.total_iters=3",
        "--accept-changes",
    ),
    "sweep": ("--metric=query_loss", "--split=validation", "--metric", "--split", "x"),
}


def command_line(command: str, place: str, dice: random.Random) -> list[str]:
    """A run's folder, or now and then another word for it, and arguments that are mutated."""
    given = [mutated(dice.choice(GOOD[command]), dice) for _ in range(dice.randint(1, 3))]
    named = dice.choice([place, f"run={place}"])
    if dice.random() < 0.1:
        named = dice.choice([v for v in VALUES if v.isprintable() and v.strip("'")])
    if command == "adapt":
        given.append("support=points.csv")
    # resume's folder stands first, where it is not named run=
    arguments = [named, *given] if command == "resume" else [*given, named]
    return [a for a in arguments if "\x00" not in a]  # which no command line can hold


def is_answer(said: str, arguments: list[str]) -> bool:
    """Whether at most five lines name an argument, or say that there is no run."""
    named = names(said, [a.lstrip("-") for a in arguments], {}) or "run folder" in said
    named = named or "needs the run" in said
    if "usage:" in said:  # argparse says how the command is called first
        return said.count("\n") <= 6
    return named and said.count("\n") <= 5 and "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("command", GOOD)
def test_a_command_over_a_run_is_answered_in_a_few_lines(
    command, seed, make_run, untrained, tmp_path, monkeypatch, capsys
):
    # a checkpoint of none of our trainings is refused, whatever the arguments
    run = make_run() if command == "resume" else untrained()
    (tmp_path / "points.csv").write_text("x,y\n1,2\n2,3\n")
    monkeypatch.chdir(tmp_path)
    main = import_module(f"metaloop.cli.{command}")
    # the work itself is other tests'
    monkeypatch.setattr("metaloop.cli.hydra_app.become_worker", lambda work: work.folder.let_go())
    monkeypatch.setattr("metaloop.cli.resume.become_worker", lambda _: None)
    dice, worked, wrong = random.Random(seed), 0, []
    for number in range(CASES):
        folder = RunFolder(shutil.copytree(run.path, tmp_path / "runs" / str(number)))
        place = folder.path.parent if command == "sweep" else folder.path
        arguments = command_line(command, str(place), dice)
        monkeypatch.setattr(sys, "argv", [f"metaloop-{command}", *arguments])
        monkeypatch.setattr(sys, "path", [*sys.path])
        status = 0
        try:
            main.main()
        except SystemExit as stop:
            status = stop.code
        except BaseException as error:
            wrong.append(f"{arguments}: {error!r}")
        GlobalHydra.instance().clear()
        heard = capsys.readouterr()
        worked += status in (0, None)
        if status and not is_answer(heard.err, arguments):
            wrong.append(f"{arguments}: {heard.err[-1500:]}")
        shutil.rmtree(folder.path)
    assert not wrong, "\n\n".join(wrong)
    assert CASES / 50 < worked < CASES
