"""metaloop-evaluate: what it names and refuses, and task=OTHER, which no learner was trained on."""

import json
import re

import pytest

from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.build import build
from metaloop.run.config.read import load_config
from metaloop.run.config.run_config import RunConfig
from metaloop.run.evaluation.evaluate import evaluate
from metaloop.run.worker import work
from metaloop.training.datamodule import EvaluationEpisodes

OWN = """
from metaloop.tasks import ImageClasses, Sinusoid

class Steep(Sinusoid):
    \"\"\"Sines ten times as steep.\"\"\"

    def __init__(self, *, shots: int, queries: int, factor: float):
        super().__init__(shots=shots, queries=queries)
        self.factor = factor

    def draw(self, split, streams):
        episode = super().draw(split, streams)
        return episode._replace(
            support=episode.support._replace(targets=self.factor * episode.support.targets),
            query=episode.query._replace(targets=self.factor * episode.query.targets),
        )

class Wide(Sinusoid):
    input_shape = (2,)
    def __init__(self, *, shots: int = 1, queries: int = 1):
        super().__init__(shots=shots, queries=queries)

class Noise(ImageClasses):
    input_shape = (1, 28, 28)
    classes = 40
    def __init__(self, *, ways: int, shots: int, queries: int):
        super().__init__(ways=ways, shots=shots, queries=queries, rotations=False)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A user's own tasks, where the commands are started."""
    (tmp_path / "other_tasks.py").write_text(OWN)
    choices = {
        "steep": "_target_: other_tasks.Steep\nshots: 3\nqueries: 4\nfactor: 10.0\n",
        "wide": "_target_: other_tasks.Wide\n",
        "noise": "_target_: other_tasks.Noise\nways: 3\nshots: 2\nqueries: 2\n",
    }
    for name, text in choices.items():
        path = tmp_path / "mine" / "task" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return "--config-dir", "mine"


def composed_folder(said, run: RunFolder, *arguments: str) -> RunFolder:
    out = said("evaluate", f"run={run.path}", "compose_only=true", *arguments).out
    return RunFolder(re.search(r"Composed (.*)\. To execute", out).group(1))


def test_the_other_task_is_judged_with_the_runs_size_of_an_episode(untrained, said, mine):
    run = untrained("task.shots=7", "task.queries=6")
    folder = composed_folder(said, run, *mine, "task=steep", "task.factor=20")
    assert folder.path.name == "test_task=steep_task.factor=20"
    assert load_config(folder)["task"] == {
        "_target_": "other_tasks.Steep",
        "shots": 7,
        "queries": 6,
        "factor": 20,
    }
    judged = build(RunConfig.read(folder))
    results = evaluate(judged, run, folder.path, ["task=steep"])
    protocol = results["protocol"]
    assert (protocol["task"], protocol["trained_on"]) == ("Steep", "Sinusoid")

    # by hand: the same sines, twenty times as steep
    pieces = build(RunConfig.read(run))
    (batch,) = EvaluationEpisodes(pieces.task, 0, "test", 20, 20)
    plain = batch.episodes.query.targets
    (batch,) = EvaluationEpisodes(judged.task, 0, "test", 20, 20)
    assert (batch.episodes.query.targets == 20 * plain).all()
    stored = json.loads((folder.path / "results.json").read_text())
    assert stored["overrides"] == ["task=steep"]


def test_a_size_that_is_asked_for_counts(untrained, said, mine):
    run = untrained("task.shots=7")
    folder = composed_folder(said, run, *mine, "task=steep", "task.shots=2", "name=two")
    assert folder.path.name == "two"
    assert load_config(folder)["task"]["shots"] == 2


def test_published_values_are_of_the_runs_own_task(untrained, said, mine):
    run = untrained("+published=[{metric: query_loss, mean: 1.0, inner_step: 1, source: A}]"[1:])
    assert load_config(run)["published"]
    folder = composed_folder(said, run, *mine, "task=steep")
    assert load_config(folder)["published"] == []


def test_a_head_over_the_runs_classes_keeps_its_size(untrained, said, mine):
    run = untrained("task=omniglot", "algorithm=pretrain", "model.filters=2")
    folder = composed_folder(said, run, *mine, "task=noise")
    config = load_config(folder)
    assert config["task"]["ways"] == 5
    assert config["algorithm"]["classes"] == 4 * 1623
    assert config["model"]["_target_"] == "metaloop.Conv4"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["task=wide"],
            r"with inputs of shape \(1,\); those of Wide have \(2,\)",
        ),
        (["task=stepe"], "task=stepe is unknown"),
        (["task=omniglot"], r"those of Omniglot have \(1, 28, 28\)"),
        (["algorithm=fomaml"], "choices are fixed by the run here"),
    ],
)
def test_what_does_not_fit_the_run_is_refused(arguments, says, untrained, said, mine):
    run = untrained()
    heard = said("evaluate", f"run={run.path}", *mine, *arguments, status=1)
    assert re.search(says, heard.err)
    assert not run.evaluations.exists()


def test_another_number_of_ways_is_refused_with_the_way_out(untrained, said):
    run = untrained("task=omniglot", "model.filters=2")
    heard = said("evaluate", f"run={run.path}", "task.ways=3", status=1)
    assert re.search(r"with 5 ways .* with 3. Evaluate with task.ways=5; metaloop-adapt", heard.err)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "metaloop-evaluate needs the run: metaloop-evaluate outputs/FOLDER"),
        (["run=nowhere"], "There is no folder nowhere"),
        (["{run}", "task.shotz=5"], "task.shotz is unknown. Did you mean shots"),
        (["{run}", "task.shots=0"], "task.shots=0 .* greater than or equal to 1"),
        (["{run}", "evaluation.episodes=-1"], "evaluation.episodes=-1"),
        (["{run}", "name=../x"], "name=../x names a folder"),
    ],
)
def test_an_impossible_evaluation_is_refused(arguments, says, untrained, said):
    run = untrained()
    heard = said("evaluate", *(a.format(run=run.path) for a in arguments), status=1)
    assert re.search(says, heard.err)
    assert not run.evaluations.exists()


def test_another_model_than_the_checkpoints_is_refused_when_it_is_loaded(untrained, said, capsys):
    run = untrained()
    folder = composed_folder(said, run, "model.hidden=[8]")
    assert work([str(folder.path)]) == 1
    assert re.search("belongs to another model or algorithm.*shape", capsys.readouterr().err)


def test_an_evaluation_is_named_by_what_its_numbers_depend_on(untrained, said):
    run = untrained()
    for change, name in (
        ("device.precision=bf16-mixed", "test_device.precision=bf16-mixed"),
        ("device.tasks_at_once=2", "test"),  # changes no number
        ("evaluation.split=validation", "validation"),
    ):
        assert composed_folder(said, run, change).path.name == name
