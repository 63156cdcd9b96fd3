"""metaloop-train as a user types it, what it leaves, and what other commands make of that."""

import json
import os
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import yaml

from tests.conftest import ROOT, run_command

TINY = ("experiment=smoke", "logger=csv", "device=cpu")


def folders(root: Path) -> list[Path]:
    return sorted((root / "outputs").glob("*")) if (root / "outputs").exists() else []


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run that metaloop-train made, in its working directory's outputs/."""
    root = tmp_path_factory.mktemp("trained")
    done = run_command("metaloop-train", *TINY, "algorithm.eval_inner_steps=5", cwd=root)
    assert done.returncode == 0, done.stderr
    (root / "said").write_text(done.stdout)
    return folders(root)[0]


def test_training_ends_with_a_table_the_gain_a_picture_and_what_to_do_next(trained):
    said = (trained.parents[1] / "said").read_text()
    for step in ("0", "1 (as trained)", "5"):
        assert re.search(rf"│ {re.escape(step)} +│ +[\d.]+ \+/- [\d.]+ +│", said)
    assert re.search(r"Adaptation gain .*: -?[\d.]+ \+/- [\d.]+", said)
    (picture,) = re.findall(r"Plot: (.*one_task\.png)", said)
    assert (trained.parents[1] / picture).stat().st_size > 5000
    for command in ("evaluate", "adapt", "resume"):
        assert f"metaloop-{command} outputs/{trained.name} " in said
    assert f"metaloop-report outputs/{trained.name}\n" in said


def test_a_run_folder_holds_all_there_is_to_know(trained):
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_sinusoid_maml", trained.name)
    found = {str(p.relative_to(trained)) for p in trained.rglob("*") if p.is_file()}
    assert {
        "config.yaml",
        "overrides.yaml",
        "environment.json",
        "status.json",
        "metrics.csv",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
        "plots/learning_curve.png",
        "evaluations/test/results.json",
        "evaluations/test/episodes.csv",
    } <= found
    assert "algorithm.eval_inner_steps=5" in (trained / "overrides.yaml").read_text()
    results = json.loads((trained / "evaluations/test/results.json").read_text())
    assert results["inner_steps"] == [0, 1, 2, 3, 4, 5]
    protocol = results["protocol"]
    assert protocol["split"] == "test"
    assert (protocol["shots"], protocol["queries"], protocol["seed"]) == (10, 10, 0)
    assert (protocol["inner_lr"], protocol["inner_steps"], protocol["eval_inner_steps"]) == (
        0.01,
        1,
        5,
    )
    assert protocol["norm_mode"] == "transductive"
    best = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)
    assert protocol["meta_step"] == best["global_step"]
    assert results["versions"]["torch"] == version("torch")


def test_fewer_than_600_episodes_draw_a_warning(trained):
    done = run_command("metaloop-evaluate", f"run={trained}", "evaluation.episodes=30")
    assert done.returncode == 0, done.stderr
    assert "below 600" in " ".join(done.stderr.split())


def test_an_evaluation_repeats_to_the_digit_and_changes_have_folders_of_their_own(trained):
    before = (trained / "evaluations/test/episodes.csv").read_text()
    for arguments in ((), ("task.shots=5",), ("name=short", "evaluation.split=validation")):
        done = run_command("metaloop-evaluate", f"run={trained}", *arguments, cwd=trained.parent)
        assert done.returncode == 0, done.stderr
    evaluations = trained / "evaluations"
    assert (evaluations / "test/episodes.csv").read_text() == before
    five = json.loads((evaluations / "test_task.shots=5/results.json").read_text())
    assert five["protocol"]["shots"] == 5
    assert five["overrides"] == ["task.shots=5"]
    short = json.loads((evaluations / "short/results.json").read_text())
    assert short["protocol"]["split"] == "validation"
    assert (trained / "config.yaml").read_text().count("shots: 10") == 1  # the run is as it was


def test_the_number_of_tasks_at_once_and_evaluated_together_change_no_value(trained):
    done = run_command(
        "metaloop-evaluate",
        f"run={trained}",
        "name=apart",
        "device.tasks_at_once=3",
        "device.chunks_at_once=2",
        "data.eval_meta_batch_size=7",
    )
    assert done.returncode == 0, done.stderr
    one, other = (
        [list(map(float, row.split(","))) for row in text.splitlines()[1:]]
        for text in (
            (trained / f"evaluations/{name}/episodes.csv").read_text() for name in ("test", "apart")
        )
    )
    torch.testing.assert_close(torch.tensor(one), torch.tensor(other), rtol=1e-5, atol=1e-6)


def test_init_from_starts_with_a_runs_weights(trained, tmp_path):
    done = run_command(
        "metaloop-train",
        *TINY,
        f"init_from={trained}",
        "optimizer=sgd",
        "optimizer.lr=1e-30",
        "callbacks=minimal",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    new = torch.load(folders(tmp_path)[0] / "checkpoints/last.ckpt", weights_only=True)[
        "state_dict"
    ]
    old = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(new[name], old[name]) for name in old)


@pytest.mark.parametrize("command", ["metaloop-train", "metaloop-evaluate", "metaloop-resume"])
def test_help_names_what_a_user_chooses_from(command, tmp_path):
    done = run_command(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "FOLDER" in done.stdout
    if command == "metaloop-train":
        assert "algorithm: anil, boil, cavia, fomaml, imaml, maml" in done.stdout
        assert "algorithm.inner_lr" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("algorithm.inner_rate=1", "Did you mean inner_lr"),
        ("algorithm=mmal", "algorithm=mmal is unknown. Did you mean maml"),
        ("experiment=finn/omniglot", "finn2017/omniglot_5way_1shot, finn2017"),
        ("max_steps=3", "Did you mean training.max_steps"),
        ("init_from=nowhere", "neither a run folder nor a file"),
        ("task=omniglot task.shots=20", r"shots=20 \+ queries=5.* 1100 classes with 20 each"),
        ("device=ddp device.accelerator=cpu", "multiple of 2"),
        ("-m hydra/launcher=slurmy", "launcher=slurmy is not installed.*metaloop.sweep."),
        ("device.nodes=2 data.meta_batch_size=24", "several machines are started by their"),
        ("output_dir=/dev/null/x", "No run folder can be made in"),
        ("optimizer._target_=torch.optim.LBFGS", "LBFGS: a meta-step calls step.. with no"),
        ("algorithm.inner_lr=-1", "algorithm.inner_lr=-1 .* greater than 0"),
        ("+algorithm.momentum=1", "algorithm.momentum is unknown"),
        ("model._target_=mine.Net", "model._target_=mine.Net names no class"),
        ("device=gpu", "torch finds 0 here. Set device.accelerator=cpu"),
    ],
)
def test_mistakes_are_answered_before_there_is_a_folder(
    argument, says, tmp_path, monkeypatch, said
):
    if argument == "device=gpu" and torch.cuda.is_available():
        pytest.skip("this machine has the GPU that the test asks for in vain")
    monkeypatch.chdir(tmp_path)
    assert re.search(says, said("train", *argument.split(), status=1).err)
    assert not list(tmp_path.iterdir())


def test_two_runs_of_one_second_get_two_folders(tmp_path):
    from metaloop.folders.run_folder import RunFolder

    made = {RunFolder.create(tmp_path, "same").path.name for _ in range(3)}
    assert made == {"same", "same-2", "same-3"}


def test_compose_only_writes_a_folder_that_python_executes(tmp_path):
    done = run_command("metaloop-train", *TINY, "compose_only=true", cwd=tmp_path)
    (folder,) = folders(tmp_path)
    assert f"python -m metaloop.run outputs/{folder.name}" in done.stdout
    assert json.loads((folder / "status.json").read_text())["state"] == "composed"
    moved = folder.rename(tmp_path / "moved")
    done = run_command("python", "-m", "metaloop.run", str(moved))
    assert done.returncode == 0, done.stderr
    assert json.loads((moved / "status.json").read_text())["state"] == "completed"


def test_a_failure_is_kept_in_the_status_and_shown_with_its_traceback(tmp_path):
    done = run_command(
        "metaloop-train",
        *TINY,
        "+callbacks.bad._target_=tests.cli.test_train.Failing",
        f"output_dir={tmp_path}/outputs",
        cwd=ROOT,
    )
    assert done.returncode == 1
    assert "RuntimeError: no luck" in done.stderr
    status = json.loads((folders(tmp_path)[0] / "status.json").read_text())
    assert (status["state"], status["error"]) == ("failed", "RuntimeError: no luck")


def test_a_users_config_directory_and_classes_work(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from metaloop.tasks import Sinusoid\n"
        "class Steep(Sinusoid):\n"
        "    def __init__(self, shots: int, slope: float):\n"
        "        super().__init__(shots=shots, queries=5)\n"
        "        self.slope = slope\n"
    )
    (tmp_path / "confs" / "task").mkdir(parents=True)
    (tmp_path / "confs" / "task" / "steep.yaml").write_text(
        "_target_: mine.Steep\nshots: 4\nslope: 2.0\n"
    )
    done = run_command(
        "metaloop-train", *TINY, "--config-dir", "confs", "task=steep", "task.slope=3", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    (folder,) = folders(tmp_path)
    assert folder.name.endswith("_steep_maml")
    assert "slope: 3" in (folder / "config.yaml").read_text()


@pytest.mark.slow
def test_a_multirun_makes_a_run_of_each_job_and_evaluates_one_in_several_ways(tmp_path):
    done = run_command("metaloop-train", "-m", *TINY, "algorithm=maml,fomaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = sorted(p.parent for p in tmp_path.glob("outputs/multirun/*/*/status.json"))
    assert {"maml", "fomaml"} == {p.name.split("_")[1] for p in runs}
    assert all(json.loads((p / "status.json").read_text())["state"] == "completed" for p in runs)
    shots = (f"run={runs[0]}", "task.shots=2,5")
    done = run_command("metaloop-evaluate", "-m", *shots, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 jobs: 2 completed, 0 not." in done.stdout
    for name in ("test_task.shots=2", "test_task.shots=5"):
        assert (runs[0] / "evaluations" / name / "results.json").is_file()
    refused = run_command("metaloop-evaluate", "-m", *shots, "name=x", cwd=tmp_path)
    assert refused.returncode == 1
    assert "name=x names one evaluation" in refused.stderr


def test_wandb_is_told_which_sweep_a_job_is_of_and_what_varied(tmp_path):
    done = run_command(
        "metaloop-train",
        "-m",
        "experiment=smoke",
        "algorithm=maml,fomaml",
        "task.shots=5",
        "compose_only=true",
        cwd=tmp_path,
        env={**os.environ, "WANDB_RUN_ID": "notforall"},
    )
    assert done.returncode == 0, done.stderr
    assert "2 jobs: 2 composed, 0 not." in done.stdout
    (sweep,) = (tmp_path / "outputs/multirun").iterdir()
    configs = [yaml.safe_load(p.read_text()) for p in sweep.glob("*/config.yaml")]
    assert len({config["run_id"] for config in configs} - {"notforall"}) == 2
    nodes = [config["logger"]["wandb"] for config in configs]
    assert {node["name"] for node in nodes} == {"algorithm=maml", "algorithm=fomaml"}
    assert {node["group"] for node in nodes} == {sweep.name}
    assert sorted(node["tags"] for node in nodes) == [["sinusoid", "fomaml"], ["sinusoid", "maml"]]


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one(tmp_path):
    arguments = [*TINY, "callbacks=minimal", "optimizer=sgd", "device.precision=64-true"]
    for name, device in (("one", "device=cpu"), ("two", "device=ddp")):
        done = run_command(
            "metaloop-train",
            *arguments,
            device,
            "device.accelerator=cpu",
            f"output_dir={name}/outputs",
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
    one, two = (folders(tmp_path / name)[0] for name in ("one", "two"))
    weights = [
        torch.load(f / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for f in (one, two)
    ]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-10, atol=1e-12)
    values = [
        [
            list(map(float, row.split(",")))
            for row in (f / "evaluations/test/episodes.csv").read_text().splitlines()[1:]
        ]
        for f in (one, two)
    ]
    assert len(values[1]) == 20
    torch.testing.assert_close(
        torch.tensor(values[0]), torch.tensor(values[1]), rtol=1e-6, atol=1e-8
    )


class Failing(__import__("pytorch_lightning").Callback):
    def on_train_batch_end(self, *args):
        raise RuntimeError("no luck")
