"""A record keeps what the board shows of a run: small, and without a path of its machine."""

import torch

from metaloop.folders.atomic_write import write_json
from metaloop.folders.run_folder import RunFolder
from metaloop.run.board.record import ROWS, read_record, write_record
from metaloop.run.config.read import load_config
from metaloop.run.config.write import write_config


def run_with_results(make_run) -> RunFolder:
    run = make_run("task=omniglot", "task.data_dir=/home/me/omniglot", "training.max_steps=500")
    run.write_status("completed")
    steps = "\n".join(f"{step},0.5" for step in range(1, 251))
    run.metrics.write_text(f"step,val/query_loss\n{steps}\n")
    write_json(run.environment, {"cpu": "a cpu", "gpus": [], "user": "me"})
    judged = RunFolder(run.evaluations / "test")
    judged.path.mkdir(parents=True)
    write_config(judged, {**load_config(run), "command": "evaluate", "run": "../.."})
    overrides = ["task.data_dir=/home/me/omniglot", "seed=1"]
    protocol = {"split": "test", "data_dir": "/home/me/omniglot"}
    write_json(judged.path / "results.json", {"protocol": protocol, "overrides": overrides})
    (run.evaluations / "other").mkdir()
    torch.save({}, run.path / "weights.ckpt")
    return run


def test_what_was_recorded_is_read_back(make_run, tmp_path):
    run = run_with_results(make_run)
    write_record(run, tmp_path / "record", ["test", "other"])
    record = read_record(tmp_path / "record")
    assert (record.state, record.steps, record.steps_asked) == ("completed", 250, 500)
    assert (record.environment.cpu, record.environment.gpus) == ("a cpu", [])
    (evaluation,) = record.evaluations  # the other has no results
    assert evaluation.results == {"protocol": {"split": "test"}, "overrides": ["seed=1"]}


def test_a_record_is_small_and_names_no_folder_of_its_machine(make_run, tmp_path):
    write_record(run_with_results(make_run), tmp_path / "record", ["test"])
    files = [path for path in (tmp_path / "record").rglob("*") if path.is_file()]
    assert not [path for path in files if "/home/me" in path.read_text()]
    assert not [path for path in files if path.suffix == ".ckpt"]
    lines = (tmp_path / "record/metrics.csv").read_text().splitlines()
    assert len(lines) <= ROWS + 1
    assert lines[-1].startswith("250,")  # evenly spaced up to the last


def test_a_record_replaces_the_one_before(make_run, tmp_path):
    (tmp_path / "record").mkdir()
    (tmp_path / "record/old.txt").touch()
    write_record(make_run(), tmp_path / "record", [])
    assert not (tmp_path / "record/old.txt").exists()
    assert read_record(tmp_path / "record").state == "interrupted"
