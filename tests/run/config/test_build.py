"""Configs are checked against signatures, before anything is touched."""

import functools

import pytest
import torch
from torch import nn

from metaloop.errors import UserError
from metaloop.run.config.build import build
from metaloop.run.config.misfits import build_and_try
from metaloop.run.config.run_config import RunConfig
from metaloop.tasks import Sinusoid
from tests.conftest import composed


class OwnModel(nn.Module):
    """A user's model, told nothing of the task but what its signature asks for."""

    def __init__(self, output_size: int, width: int = 3):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.LazyLinear(width), nn.Linear(width, output_size)
        )
        self.layers(torch.zeros(1, 1))

    def forward(self, x):
        return self.layers(x)


class OwnTask(Sinusoid):
    """A user's task."""

    def __init__(self, shots: int):
        super().__init__(shots=shots, queries=4)


def test_the_default_config_builds_what_it_says():
    pieces = build(RunConfig.of(composed()))
    assert pieces.algorithm.describe()["inner_lr"] == 0.01
    assert [tuple(p.shape) for p in pieces.meta_learner.meta.values()][:2] == [(40, 1), (40,)]
    optimizer = pieces.meta_learner.make_optimizer([{"params": [nn.Parameter(torch.zeros(1))]}])
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.param_groups[0]["lr"] == 1e-3
    assert optimizer.param_groups[0]["fused"]  # which not every optimizer can be


def test_own_classes_are_built_from_their_targets():
    config = composed()
    config["model"] = {"_target_": f"{__name__}.OwnModel", "width": 5}
    config["task"] = {"_target_": f"{__name__}.OwnTask", "shots": 2}
    pieces = build(RunConfig.of(config))
    assert pieces.task.describe()["shots"] == 2
    assert pieces.algorithm.objective.model.layers[1].out_features == 5


def test_any_torch_optimizer_and_scheduler_builds():
    config = composed("scheduler=cosine")
    config["optimizer"] = {"_target_": "torch.optim.RMSprop", "lr": 0.01, "alpha": 0.9}
    learner = build(RunConfig.of(config)).meta_learner
    optimizer = learner.make_optimizer([{"params": list(learner.meta.values())}])
    assert optimizer.param_groups[0]["alpha"] == 0.9
    scheduler = learner.make_scheduler(optimizer)
    assert scheduler.T_max == 5000


def test_the_seed_makes_the_weights():
    first, again, other = (
        build(RunConfig.of(composed(f"seed={s}"))).meta_learner.state_dict() for s in (1, 1, 2)
    )
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert not all(torch.equal(first[n], other[n]) for n in first)


def changed(path: str, value) -> dict:
    config = composed("task=omniglot")
    *parents, last = path.split(".")
    functools.reduce(dict.__getitem__, parents, config)[last] = value
    return config


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("training.max_steps", "many", "training.max_steps='many' .* a whole number"),
        ("training.max_steps", -1, "training.max_steps=-1 .* greater than or equal to 0"),
        ("training.max_steps", True, "training.max_steps=true .* a whole number"),
        ("task.ways", -5, "task.ways=-5 .* greater than or equal to 1"),
        ("task.ways", 1, "task: task.ways=1: with a single class every prediction is correct"),
        ("algorithm.eval_inner_steps", 0, "eval_inner_steps=0 .* greater than or equal to 1"),
        ("task.rotations", "yes", "task.rotations='yes' .* true or false"),
        ("task.way", 5, "task.way is unknown. Did you mean ways"),
        ("model.downsample", "pool", "model.downsample='pool' .* 'stride' or 'max_pool'"),
        ("algorithm.inner_lr", 0, "algorithm.inner_lr=0 .* greater than 0"),
        ("algorithm.inner_lr", float("inf"), "algorithm.inner_lr=inf .* finite"),
        (
            "algorithm.adjoint",
            "exact",
            "algorithm.adjoint='exact' .* 'unrolled', 'recomputed', 'first_order' or 'implicit'",
        ),
        (
            "algorithm._target_",
            "metaloop.mamll",
            "algorithm._target_=.*no public name mamll. Did you mean maml",
        ),
        ("algorithm._target_", "metaloop.Conv4", "algorithm.*unknown"),
        ("model._target_", "collections.OrderedDict", "does not say what arguments it takes"),
        (
            "model._target_",
            "fractions.Fraction",
            "makes a Fraction, but a torch.nn.modules.module.Module belongs there",
        ),
        (
            "norm_mode",
            "batch",
            "norm_mode='batch' .* 'transductive', 'inductive', .* or 'per_step'",
        ),
        ("seed", -1, "seed=-1 .* greater than or equal to 0"),
        ("optimizer.lr", -0.1, "optimizer.lr=-0.1: Invalid learning rate: -0.1"),
        ("optimizer.momentun", 0.9, "optimizer.momentun is unknown"),
        ("scheduler.total_iters", "x", "scheduler.total_iters='x' .* a whole number"),
        ("device.tasks_at_once", 0, "device.tasks_at_once=0 .* or input should be 'all'"),
        ("device.chunks_at_once", "all", "device.chunks_at_once='all' .* a whole number"),
        ("device.precision", "16-mixed", "float16 underflows in the inner loop.*bf16-mixed"),
        (
            "callbacks.progress.refresh_rat",
            1,
            "callbacks.progress.refresh_rat is unknown. Did you mean refresh_rate",
        ),
        ("logger.csv", {"path": "x"}, "logger.csv needs a _target_"),
        ("data.workers", -1, "data.workers=-1 .* greater than or equal to 0"),
        ("evaluation.split", "dev", "evaluation.split='dev' .* 'validation' or 'test'"),
        ("extra", 1, "extra is unknown"),
    ],
)
def test_what_does_not_fit_is_refused_by_key_rule_and_remedy(key, value, says):
    config = changed(key, value)
    if key == "model._target_":
        config["model"] = {"_target_": value}
    with pytest.raises(UserError, match=says):
        build(RunConfig.of(config))


TORCHS = "torch.optim.lr_scheduler"


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["scheduler=cosine", "scheduler.T_max=0"], "scheduler.T_max=0: .*must not be 0"),
        (["scheduler=linear", "scheduler.start_factor=3"], "scheduler.start_factor=3: Starting"),
        (["+optimizer.betas=[0.9,1.5]"], r"optimizer.betas=\[0.9, 1.5\]: Invalid beta"),
        (
            ["optimizer=sgd", "optimizer.momentum=0", "+optimizer.nesterov=true"],
            "optimizer.momentum=0, optimizer.nesterov=True: Nesterov",
        ),
        (["optimizer._target_=torch.optim.SparseAdam"], "SparseAdam: .*dense gradients"),
        (["optimizer._target_=torch.optim.LBFGS"], "optimizer._target_=.*LBFGS: .*no argument"),
        (
            [
                f"scheduler._target_={TORCHS}.ReduceLROnPlateau",
                "~scheduler.total_iters",
                "scheduler.factor=0.5",
            ],
            "scheduler._target_=.*Plateau: .*no argument",
        ),
        (
            ["callbacks=early_stopping", "+callbacks.early_stopping.mode=up"],
            "callbacks.early_stopping.mode=up: .*min, max",
        ),
        (["logger=wandb", "logger.wandb.settings.quiet=3"], "logger.wandb.settings.quiet=3: "),
    ],
)
def test_what_somebodys_constructor_or_step_refuses_is_named_by_its_key(overrides, says):
    with pytest.raises(UserError, match=says):
        build_and_try(RunConfig.of(composed(*overrides)))


def test_a_schedule_shorter_than_the_run_is_refused_and_one_as_long_is_not():
    for steps in (99, 100):
        config = composed("training.max_steps=100", "training.validate_every=50")
        config["scheduler"] = {
            "_target_": f"{TORCHS}.OneCycleLR",
            "max_lr": 0.1,
            "total_steps": steps,
        }
        if steps == 100:
            build(RunConfig.of(config))
            continue
        with pytest.raises(UserError, match="scheduler.total_steps=99: Tried to step 100 times"):
            build(RunConfig.of(config))


def test_a_missing_argument_is_named():
    config = composed()
    del config["algorithm"]["inner_lr"]
    with pytest.raises(UserError, match="algorithm.inner_lr is missing: maml needs it"):
        build(RunConfig.of(config))
