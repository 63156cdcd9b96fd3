"""A run is the same wherever it computes, logs and reads from; any number makes it another."""

import pytest

from metaloop.cli.resume import _resume
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.identity import differences, identity, is_elsewhere
from metaloop.run.config.read import load_config
from metaloop.run.config.write import rewrite_job
from metaloop.run.train import train
from tests.conftest import SMALL, composed


@pytest.mark.parametrize(
    "change",
    [
        "device=ddp",
        "device.tasks_at_once=2",
        "device.chunks_at_once=1",
        "logger=csv",
        "+task.cache_dir=elsewhere",
        "data.workers=2",
    ],
)
def test_where_a_run_computes_logs_and_reads_from_is_not_its_identity(change):
    assert identity(composed(change)) == identity(composed())
    assert differences(composed(), composed(change)) == {}


@pytest.mark.parametrize(
    ("change", "key", "values"),
    [
        ("seed=1", "seed", (0, 1)),
        ("algorithm.inner_lr=0.02", "algorithm.inner_lr", (0.01, 0.02)),
        ("model.hidden=[8]", "model.hidden", ([40, 40], [8])),
        ("optimizer=sgd", "optimizer._target_", ("torch.optim.Adam", "torch.optim.SGD")),
        (
            "callbacks=minimal",
            "callbacks.best._target_",
            ("metaloop.BestCheckpoint", None),
        ),
    ],
)
def test_every_other_key_is_and_its_difference_is_told(change, key, values):
    assert identity(composed(change)) != identity(composed())
    assert differences(composed(), composed(change))[key] == values


def test_what_the_config_does_not_tell_apart_can_be_named_beside_it():
    config = composed()
    assert identity(config, "device.tasks_at_once=1") != identity(config, "device.tasks_at_once=2")


def test_a_sweep_can_tell_which_keys_an_identity_leaves_out():
    left_out = ("device", "device.threads", "logger.wandb.project", "task.data_dir", "data.workers")
    assert all(is_elsewhere(key) for key in left_out)
    assert not any(is_elsewhere(key) for key in ("seed", "algorithm", "data.meta_batch_size"))


def test_a_job_is_the_same_after_its_run_has_read_what_its_config_leaves_open(tmp_path):
    data = tmp_path / "own.csv"
    rows = [f"{c + i / 9},{c}" for c in range(10) for i in range(2)]
    data.write_text("\n".join(["a,label", *rows]))
    own = ("task=arrays", f"task.data_dir={tmp_path}", "task.file=own.csv", "task.ways=2")
    content = composed(*SMALL, *own, "task.queries=1", "training.max_steps=0")
    key = identity(content)
    job = RunFolder(tmp_path / key)
    rewrite_job(job, content, [])
    train(job)
    assert load_config(job)["task"]["input_shape"] == [1]
    assert identity(content) == key
    rewrite_job(job, content, [])  # the same command again
    work = _resume(job, [], accepted=False)
    assert work is not None  # there is no change to accept
