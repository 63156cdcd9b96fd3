"""A run that diverges ends there, as what it is, and what it had saved is kept."""

import pytest
import pytorch_lightning as pl
import torch

from metaloop.errors import Diverged, UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.read import load_config
from metaloop.run.train import train
from metaloop.run.worker import DIVERGED, work
from tests.run.stopped_runs import saved_step, start, weights, write


class Poisons(pl.Callback):
    """Makes one weight infinite, in the process of one rank, once some meta-steps are done."""

    def __init__(self, after: int, rank: int = 0):
        self.after, self.rank = after, rank

    def on_train_batch_end(self, trainer, pl_module, *args):
        if trainer.global_step == self.after and trainer.global_rank == self.rank:
            with torch.no_grad():
                next(iter(pl_module.meta.values())).view(-1)[0] = torch.inf


def poisoned(root, *overrides: str, after: int, rank: int = 0) -> RunFolder:
    """A run whose weights become infinite after a meta-step; it saves after every fourth."""
    arguments = ("training.save_every=4", "training.max_steps=60", *overrides)
    config = load_config(write(root, *arguments))
    node = {"_target_": f"{__name__}.Poisons", "after": after, "rank": rank}
    return write(root / "poisoned", *arguments, callbacks={**config["callbacks"], "fault": node})


@pytest.mark.parametrize(
    ("after", "says"),
    [
        (6, "the meta-gradient of meta-step 7 is not finite"),
        (8, "is not finite after meta-step 8"),  # found in what was to be saved
    ],
)
def test_a_diverged_run_stops_at_once_and_keeps_the_last_good_checkpoint(after, says, tmp_path):
    folder = poisoned(tmp_path, after=after)
    with pytest.raises(Diverged, match=says):
        train(folder)
    assert saved_step(folder) == 4
    assert all(w.isfinite().all() for w in weights(folder.last_checkpoint).values())
    assert not folder.evaluations.exists()


def test_a_machine_error_is_a_separate_state_with_reason_and_remedy(tmp_path, capsys):
    folder = poisoned(tmp_path, after=6)
    assert work([str(folder.path)]) == DIVERGED == 3
    assert folder.state() == "diverged"
    assert folder.why_ended().startswith("The run diverged: the meta-gradient of meta-step 7")
    said = capsys.readouterr().err
    for part in ("inner_lr", "clip_norm", f"The checkpoint {folder.last_checkpoint} is kept"):
        assert part in said
    assert f"metaloop-resume {folder.path} optimizer.lr=LOWER --accept-changes" in said


def test_a_far_too_large_step_size_stops_even_a_short_run(make_run):
    folder = make_run("algorithm.inner_lr=1e20")
    with pytest.raises(Diverged, match="Lower the inner step size"):
        train(folder)


def test_a_run_continues_if_asked_and_early_stopping_says_why_it_stops(tmp_path, capsys):
    arguments = (
        "callbacks=early_stopping",
        "training.stop_when_diverged=false",
        "evaluation.checkpoint=last",
    )
    folder = poisoned(tmp_path, *arguments, after=6)
    with pytest.raises(UserError, match=r"last.ckpt contains weights that are not finite \(model"):
        train(folder)  # trained to its end, it cannot be judged
    assert saved_step(folder) == 40  # the first validation
    said = capsys.readouterr().out
    assert "Early stopping ends the run at meta-step 40: Monitored metric val/query_loss" in said
    assert "is not finite" in said
    assert "Signaling" not in said


@pytest.mark.slow
def test_all_processes_stop_if_one_has_diverged(tmp_path):
    two = ("device=ddp", "device.accelerator=cpu", "data.meta_batch_size=4")
    # 4 and 8 are saved; rank 1 alone is poisoned, and spoils the gradient that both share
    folder = poisoned(tmp_path, *two, after=9, rank=1)
    agent = start(folder, 2)
    said = agent.communicate(timeout=300)[0]
    assert agent.returncode != 0
    assert folder.read_status()["state"] == "diverged", said
    assert "the meta-gradient of meta-step 10 is not finite" in folder.why_ended()
    assert said.count("Error: The run diverged") == 1
    assert saved_step(folder) == 8
