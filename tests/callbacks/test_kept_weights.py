"""Weights next to a checkpoint belong to the run that resumes from it, and to no other."""

import pytest
import torch

from metaloop.callbacks import DurableCheckpointIO
from metaloop.callbacks.kept_weights import KeptWeights, meta_step_of
from metaloop.run.checkpoints.origin import accepted_at, changes_between
from metaloop.run.config.read import load_config
from metaloop.run.config.write import rewrite_run
from metaloop.run.train import train
from tests.run.stopped_runs import weights
from tests.run.test_faults import Fails, broken


def save(files: DurableCheckpointIO, name: str, step: int) -> None:
    files.save_checkpoint({"global_step": step}, files.kept.folder / name)


def named(kept: KeptWeights) -> dict[str, int]:
    """What a new checkpoint names, which is last.ckpt from now on."""
    listed = kept.list_weights()
    kept.commit(listed)
    return listed


@pytest.fixture
def files(tmp_path) -> DurableCheckpointIO:
    (tmp_path / "checkpoints").mkdir()
    return DurableCheckpointIO(kept=KeptWeights(tmp_path / "checkpoints"))


def test_the_best_checkpoint_is_restored_when_a_run_resumes(files):
    kept = files.kept
    save(files, "best.ckpt", 350)
    listed = named(kept)
    save(files, "best.ckpt", 500)  # after the checkpoint of 400, hence of no use to it
    save(files, "best.ckpt", 750)
    again = KeptWeights(kept.folder)  # another process
    again.restore(listed, 400)
    assert again.list_weights() == listed == {"best.ckpt": 350}
    assert meta_step_of(kept.folder / "abandoned" / "best.ckpt") == 750
    assert not list(kept.folder.glob("superseded/500/*"))


def test_members_of_an_ensemble_are_those_that_the_checkpoint_names(files):
    kept = files.kept
    for step in (100, 200):
        save(files, f"ensemble/step={step}.ckpt", step)
    listed = named(kept)
    files.remove_checkpoint(kept.folder / "ensemble" / "step=100.ckpt")
    save(files, "ensemble/step=450.ckpt", 450)
    kept.restore(listed, 400)
    members = sorted(p.name for p in (kept.folder / "ensemble").iterdir())
    assert members == ["step=100.ckpt", "step=200.ckpt"]


def test_weights_that_no_checkpoint_names_are_removed(files):
    kept = files.kept
    for step in (50, 150, 250):
        save(files, "best.ckpt", step)
        named(kept)
    superseded = sorted(meta_step_of(p) for p in kept.folder.glob("superseded/**/*.ckpt"))
    assert superseded == [150]  # which the checkpoint before the last names; that of 50 is gone


def test_a_run_without_checkpoint_has_no_best_and_foreign_files_stay(files):
    kept = files.kept
    save(files, "best.ckpt", 50)
    torch.save({"weight": torch.zeros(1)}, kept.folder / "mine.ckpt")  # tells no meta-step
    kept.restore({}, 0)
    assert sorted(p.name for p in kept.folder.iterdir()) == ["abandoned", "mine.ckpt"]


def test_a_changed_run_is_evaluated_with_its_own_earlier_weights(tmp_path):
    # it fails at 70, after a checkpoint at 60 and better validations at 64 and 68, and goes on with
    # a learning rate of nothing: all weights from 60 on are those of 60
    folder = broken(
        tmp_path,
        Fails,
        "training.max_steps=80",
        "training.validate_every=4",
        "training.save_every=30",
        "callbacks=minimal",
        "+callbacks.best._target_=metaloop.BestCheckpoint",
        "evaluation.checkpoint=ensemble",
        "evaluation.ensemble_size=3",
        "optimizer.lr=0.002",
        "scheduler.eta_min=0",
    )
    with pytest.raises(RuntimeError, match="no luck"):
        train(folder)
    assert (meta_step_of(folder.last_checkpoint), meta_step_of(folder.best_checkpoint)) == (60, 68)
    before = load_config(folder)
    after = {**before, "optimizer": {**before["optimizer"], "lr": 1e-30}}
    accepted = accepted_at(folder, 60, changes_between(before, after))
    rewrite_run(folder, after, [], accepted)
    of_60 = weights(folder.last_checkpoint)
    train(folder)
    members = sorted(folder.ensemble.iterdir())
    assert [meta_step_of(path) for path in members] == [60, 64, 68]
    for path in (*members, folder.best_checkpoint, folder.last_checkpoint):
        assert all(torch.equal(tensor, of_60[name]) for name, tensor in weights(path).items())
