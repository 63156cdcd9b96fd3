"""Keys that change nothing about a trained run are refused, not written into its protocol."""

import re

import pytest

from metaloop.errors import UserError
from metaloop.run.config.build import build
from metaloop.run.config.effect import require_effect
from metaloop.run.config.run_config import RunConfig
from tests.conftest import composed

RUN = ("logger=csv", "device=cpu", "callbacks=minimal", "model.hidden=[4]")


def asked(command, *changes, run=()):
    """Check these changes of a run with the command."""
    trained = RunConfig.of(composed(*RUN, *run))
    config = RunConfig.of({**composed(*RUN, *run, *changes), "command": command})
    require_effect(config, trained, build(config).algorithm)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("algorithm.inner_steps=3", r"=3 .*\(with 1\): .*K here is algorithm.eval_inner_steps"),
        ("algorithm.adjoint=first_order", r"=first_order has no effect .*\(with unrolled\)"),
        ("optimizer.lr=1", r"optimizer.lr=1 has no effect"),
        ("scheduler.factor=0.5", "scheduler.factor=0.5 has no effect"),
        ("training.max_steps=9", "training.max_steps=9 has no effect"),
        ("data.meta_batch_size=2", "data.eval_meta_batch_size=N"),
        ("data.validation_episodes=2", "evaluation.episodes=N"),
        ("+callbacks.more=null", "callbacks.more=None has no effect"),
        ("init_from=there", "init_from=there has no effect"),
    ],
)
def test_what_only_training_reads_is_refused_by_key(change, says):
    for command in ("evaluate", "adapt"):
        with pytest.raises(UserError, match=says) as refused:
            asked(command, change)
        assert f"metaloop-{command} takes it as it was" in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        "algorithm.eval_inner_steps=3",
        "algorithm.inner_lr=0.5",
        "task.shots=3",
        "seed=4",
        "norm_mode=inductive",
        "norm_adapts=none",
        "evaluation.split=validation",
        "data.eval_meta_batch_size=3",
        "device.tasks_at_once=3",
        "training.max_steps=5000",  # as it was
    ],
)
def test_what_an_evaluation_depends_on_may_change(change):
    asked("evaluate", change)


def test_an_adaptation_draws_no_episodes():
    with pytest.raises(UserError, match="evaluation.checkpoint=last .*checkpoint=last"):
        asked("adapt", "evaluation.checkpoint=last")


@pytest.mark.parametrize(
    ("algorithm", "idle", "other"),
    [
        # learned from where they start, which the weights have left behind
        ("meta_sgd", "algorithm.inner_lr", "algorithm.eval_inner_steps"),
        ("maml_plus_plus", "algorithm.multi_step_epochs", "algorithm.part"),
        ("imaml", "algorithm.cg_steps", "algorithm.strength"),
        ("reptile", "algorithm.inner_steps", "algorithm.batch_size"),
        ("pretrain", "algorithm.inner_steps", "algorithm.inner_lr"),
        ("pretrain", "algorithm.inner_steps", "algorithm.start"),
    ],
)
def test_an_algorithm_says_itself_what_its_inner_loop_reads(algorithm, idle, other):
    value = {"algorithm.part": "head", "algorithm.start": "prototypes"}.get(other, 2)
    asked("evaluate", f"{other}={value}", run=[f"algorithm={algorithm}"])
    with pytest.raises(UserError, match=re.escape(f"{idle}=3 has no effect")):
        asked("evaluate", f"{other}={value}", f"{idle}=3", run=[f"algorithm={algorithm}"])


def test_what_a_fitted_head_starts_from_has_been_learned():
    with pytest.raises(UserError, match=r"algorithm\.strength=3 has no effect"):
        asked("evaluate", "algorithm.strength=3", run=["algorithm=r2d2"])


def test_the_command_refuses_before_a_folder_is_made(untrained, said):
    run = untrained()
    heard = said("evaluate", str(run.path), "algorithm.inner_steps=3", status=1)
    assert "algorithm.inner_steps=3 has no effect" in heard.err
    assert not run.evaluations.exists()
