"""The outer loop does what Algorithm 1 says, through Lightning."""

import copy
import functools

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F

from metaloop.algorithms import maml
from metaloop.errors import UserError
from metaloop.inner_loop import Objective
from metaloop.loggers.metrics_csv import MetricsCsv, read_rows
from metaloop.meta_gradient import meta_gradient
from metaloop.models import MLP
from metaloop.run.config.settings import Device, Training
from metaloop.run.config.trainer import make_trainer
from metaloop.tasks import Sinusoid
from metaloop.training.datamodule import EpisodicDataModule, EvaluationEpisodes, MetaTrainingStream
from metaloop.training.meta_learner import MetaLearner
from tests.episodes import recipe

TASK = Sinusoid(shots=5, queries=5)
SGD = functools.partial(torch.optim.SGD, lr=0.1)


def learner(**changes) -> MetaLearner:
    torch.manual_seed(0)
    objective = Objective(model=MLP(1, 1, hidden=[8]), loss=F.mse_loss)
    algorithm = maml(
        objective, inner_lr=0.05, inner_steps=2, eval_inner_steps=3, adjoint="unrolled"
    )
    return MetaLearner(algorithm, **{"optimizer": SGD, "log_every": 1000, **changes})


def fit(module, steps=3, precision="32-true", folder="unused", loggers=(), callbacks=()):
    device = Device(
        accelerator="cpu",
        devices=1,
        nodes=1,
        precision=precision,
        tasks_at_once="all",
        compile=False,
        deterministic=False,
    )
    training = Training(
        max_steps=steps,
        validate_every=1000,
        log_every=1000,
        save_every=1000,
        clip_norm=None,
        own_lr=None,
        clip_value=None,
        stop_when_diverged=True,
        report=False,
    )
    trainer = make_trainer(device, folder, list(callbacks), list(loggers), training)
    trainer.fit(module, datamodule=data())
    return module


def data(**changes):
    values = {
        "seed": 0,
        "meta_batch_size": 4,
        "eval_meta_batch_size": 3,
        "validation_episodes": 5,
        "workers": 0,
    }
    return EpisodicDataModule(TASK, **{**values, **changes})


def by_hand(module: MetaLearner, steps: int, clip=None, lr=lambda step: 0.1) -> dict:
    """theta <- theta - beta * meta-gradient, without Lightning or an optimizer."""
    theta = {n: p.detach().clone() for n, p in module.meta.items()}
    stream = iter(MetaTrainingStream(TASK, 0, 4))
    for step in range(steps):
        gradient, _ = meta_gradient(module.algorithm, theta, next(stream).episodes)
        gradient = clip(gradient) if clip else gradient
        theta = {n: p - lr(step) * gradient[n] for n, p in theta.items()}
    return theta


def assert_same(module, theta, rtol=1e-5):
    for name, value in theta.items():
        torch.testing.assert_close(
            module.meta[name].detach(), value.to(module.meta[name].dtype), rtol=rtol, atol=1e-6
        )


def test_what_is_logged_is_the_mean_over_the_meta_steps_since_the_last(tmp_path):
    module = learner(log_every=2)
    stream, losses = iter(MetaTrainingStream(TASK, 0, 4)), []
    theta = {n: p.detach().clone() for n, p in module.meta.items()}
    for _ in range(4):
        gradient, report = meta_gradient(module.algorithm, theta, next(stream).episodes)
        theta = {n: p - 0.1 * gradient[n] for n, p in theta.items()}
        losses.append(float(report["query_loss"].mean()))
    fit(module, steps=4, loggers=[MetricsCsv(str(tmp_path / "metrics.csv"))])
    rows = [row for row in read_rows(tmp_path / "metrics.csv") if row["train/query_loss"]]
    assert [row["step"] for row in rows] == ["2", "4"]
    logged = [float(row["train/query_loss"]) for row in rows]
    assert logged == pytest.approx([sum(losses[:2]) / 2, sum(losses[2:]) / 2], rel=1e-5)


def test_the_last_step_is_logged_however_few_there_are_and_however_they_end(tmp_path):
    class Ends(pl.Callback):
        def on_train_batch_end(self, trainer, *args):
            trainer.should_stop = trainer.global_step == 3

    for name, steps, callbacks in (("short", 2, []), ("ended", 90, [Ends()])):
        path = tmp_path / f"{name}.csv"
        fit(learner(), steps=steps, loggers=[MetricsCsv(path)], callbacks=callbacks)
        (row,) = (row for row in read_rows(path) if row["train/query_loss"])
        assert row["step"] == ("3" if callbacks else "2")
        assert float(row["train/query_loss"]) > 0
    whole, path = MetricsCsv(tmp_path / "whole.csv"), tmp_path / "whole.csv"
    fit(learner(log_every=1), steps=2, loggers=[whole])
    losses = [float(row["train/query_loss"]) for row in read_rows(path)]
    (row,) = read_rows(tmp_path / "short.csv")
    assert float(row["train/query_loss"]) == pytest.approx(sum(losses) / 2)


def test_before_and_after_are_of_the_same_meta_step(tmp_path):
    module = learner(log_every=3, optimizer=functools.partial(torch.optim.SGD, lr=10.0))
    object.__setattr__(module.algorithm, "inner_steps", 0)  # adapting changes nothing
    fit(module, steps=3, loggers=[MetricsCsv(tmp_path / "metrics.csv")])
    (row,) = read_rows(tmp_path / "metrics.csv")
    before, after, mean = (float(row[f"train/query_loss{n}"]) for n in ("_before", "_after", ""))
    assert before == pytest.approx(after, rel=1e-6)
    assert mean != pytest.approx(after, rel=1e-2)  # of three meta-steps that differ


def test_what_is_logged_changes_no_weight():
    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(1, 8), nn.Linear(8, 1)

        def forward(self, x):
            return self.head(F.dropout(torch.tanh(self.body(x)), 0.5, training=self.training))

    found = []
    for log_every in (1, 1000):
        torch.manual_seed(0)
        objective = Objective(model=Dropping(), loss=F.mse_loss)
        values = {"inner_lr": 0.05, "inner_steps": 1, "eval_inner_steps": 1}
        algorithm = maml(objective, adjoint="unrolled", **values)
        module = MetaLearner(algorithm, optimizer=SGD, log_every=log_every, report=True)
        found.append(fit(module, steps=3).state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_training_is_gradient_descent_on_the_mean_meta_loss():
    module = learner()
    expected = by_hand(copy.deepcopy(module), 3)
    assert_same(fit(module), expected)


@pytest.mark.parametrize(("tasks_at_once", "chunks_at_once"), [(1, 1), (3, 1), (1, 3), (3, 2)])
def test_how_many_tasks_and_chunks_are_computed_at_once_changes_no_number(
    tasks_at_once, chunks_at_once
):
    expected = {n: p.detach() for n, p in fit(learner()).meta.items()}
    torch.set_num_threads(3)
    module = learner(tasks_at_once=tasks_at_once, chunks_at_once=chunks_at_once)
    assert_same(fit(module), expected)
    assert module.at_once == {"tasks_at_once": tasks_at_once, "chunks_at_once": chunks_at_once}


def test_clipping_by_norm_is_of_the_whole_meta_gradient():
    def clip(gradient):
        norm = torch.stack([g.norm() for g in gradient.values()]).norm()
        return {n: g * min(1.0, 0.05 / float(norm)) for n, g in gradient.items()}

    module = learner(clip_norm=0.05)
    expected = by_hand(copy.deepcopy(module), 3, clip)
    assert_same(fit(module), expected, rtol=1e-4)


def test_clipping_by_value_is_of_every_element():
    def clip(gradient):
        return {n: g.clamp(-0.01, 0.01) for n, g in gradient.items()}

    module = learner(clip_value=0.01)
    expected = by_hand(copy.deepcopy(module), 3, clip)
    assert_same(fit(module), expected)


def test_the_schedule_steps_once_a_meta_step():
    halving = functools.partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    module = learner(scheduler=halving)
    expected = by_hand(copy.deepcopy(module), 3, lr=lambda step: 0.1 * 0.5**step)
    assert_same(fit(module), expected)


def test_both_kinds_of_clipping_at_once_are_refused():
    with pytest.raises(UserError, match="by norm or by value"):
        learner(clip_norm=1.0, clip_value=1.0)


def test_float64_and_bfloat16_train():
    expected = {n: p.detach() for n, p in fit(learner()).meta.items()}
    double = fit(learner(), precision="64-true")
    assert {p.dtype for p in double.meta.values()} == {torch.float64}
    assert_same(double, expected, rtol=1e-3)
    rough = fit(learner(), precision="bf16-mixed")
    for name, value in expected.items():
        torch.testing.assert_close(rough.meta[name].detach(), value, rtol=0.1, atol=0.05)


def test_frozen_parameters_and_unreached_ones_stay_as_they_are():
    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.frozen, self.head, self.unused = nn.Linear(1, 8), nn.Linear(8, 1), nn.Linear(2, 2)
            self.frozen.requires_grad_(False)

        def forward(self, x):
            return self.head(torch.tanh(self.frozen(x)))

    torch.manual_seed(0)
    model = Partly()
    before = copy.deepcopy(model.state_dict())
    algorithm = maml(
        Objective(model=model, loss=F.mse_loss),
        inner_lr=0.05,
        inner_steps=1,
        eval_inner_steps=1,
        adjoint="unrolled",
    )
    fit(MetaLearner(algorithm, optimizer=SGD, log_every=1000))
    moved = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert moved == {"head.weight", "head.bias"}


def test_parameters_shared_between_modules_are_one_parameter():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 3)
            self.again = self.inner
            self.out = nn.Linear(3, 1)

        def forward(self, x):
            return self.out(torch.tanh(self.again(torch.tanh(self.inner(x.expand(-1, 3))))))

    class Untied(Tied):
        def __init__(self, tied):
            super().__init__()
            self.again = copy.deepcopy(self.inner)
            self.load_state_dict(tied.state_dict())

    torch.manual_seed(0)
    tied = Tied().double()
    untied = Untied(tied).double()
    (batch,) = EvaluationEpisodes(TASK, 0, "train", 4, 4)
    episodes = TASK.gather(batch.episodes, torch.float64)
    gradients = []
    for model in (tied, untied):
        objective = Objective(model=model, loss=F.mse_loss)
        algorithm = maml(
            objective, inner_lr=1e-9, inner_steps=1, eval_inner_steps=1, adjoint="unrolled"
        )
        gradients.append(meta_gradient(algorithm, objective.meta_parameters(), episodes)[0])
    one, two = gradients
    # with a vanishing inner step the meta-gradient is the query gradient: the sum of both uses
    expected = two["inner.weight"] + two["again.weight"]
    torch.testing.assert_close(one["inner.weight"], expected, rtol=1e-6, atol=1e-9)
    assert "again.weight" not in one


def test_evaluation_reports_every_inner_step_and_leaves_the_weights():
    module = learner()
    before = {n: p.detach().clone() for n, p in module.meta.items()}
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        inference_mode=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.test(module, datamodule=data(test_episodes=5), verbose=False)
    assert module.evaluated["query_loss"].shape == (5, 4)
    # the first episode's first column is the loss of theta itself
    (batch,) = EvaluationEpisodes(TASK, 0, "test", 1, 1)
    query = batch.episodes.query
    loss = F.mse_loss(module.model(query.inputs[0]), query.targets[0])
    assert float(module.evaluated["query_loss"][0, 0]) == pytest.approx(
        float(loss.detach()), rel=1e-5
    )
    assert all(torch.equal(before[n], p) for n, p in module.meta.items())


def test_statistics_of_norms_are_running_averages_that_no_optimizer_touches():
    torch.manual_seed(0)
    model = MLP(1, 1, hidden=[8], batch_norm=True)
    objective = Objective(model=model, loss=F.mse_loss, norm_mode="per_step")
    values = {"inner_lr": 0.05, "inner_steps": 2, "eval_inner_steps": 3, "adjoint": "unrolled"}
    decay = functools.partial(torch.optim.SGD, lr=0.1, weight_decay=0.5)
    module = MetaLearner(maml(objective, **values), optimizer=decay, clip_norm=1e-3)
    theta = {n: p.detach().clone() for n, p in module.meta.items()}
    episodes = next(iter(MetaTrainingStream(TASK, 0, 4))).episodes
    for kind, start in (("mean", 0.0), ("variance", 1.0)):
        name, met = f"statistics.body.2.{kind}", []
        for t in range(4):
            support = torch.utils._pytree.tree_map(lambda x, t=t: x[t], episodes.support)
            path = module.algorithm.adapt(theta, support, 2)
            seen = [objective.measure_statistics(phi, support.inputs)[name] for phi in path]
            met.append(torch.stack(seen))
        expected = 0.9 * start + 0.1 * torch.stack(met).mean(0)
        found = fit(copy.deepcopy(module), steps=1).meta[name].detach()
        torch.testing.assert_close(found, expected)


def test_weight_decay_is_of_trained_weights_alone():
    task_model = MLP(1, 3, hidden=[4], batch_norm=True)
    objective = Objective(model=task_model, loss=F.cross_entropy)
    decayed = {}
    fitted = ("prototypical", "proto_maml", "r2d2")
    for name in ("pretrain", *fitted, "maml_plus_plus", "meta_curvature"):
        module = MetaLearner(
            recipe(name, objective), optimizer=functools.partial(torch.optim.AdamW, lr=0.1)
        )
        named = {p: n for n, p in module.meta.items()}
        groups = module.configure_optimizers().param_groups
        decayed[name] = {named[p] for g in groups if g["weight_decay"] for p in g["params"]}
    theta = {"body.1.weight", "body.2.weight", "body.2.bias", "head.weight", "head.bias"}
    heads, norms = {"head.weight", "head.bias"}, {"body.2.weight", "body.2.bias"}
    assert decayed == {
        "pretrain": theta - heads,  # every test task starts with that head as it was initialised
        **dict.fromkeys(fitted, theta - heads),
        "maml_plus_plus": theta - norms,  # each step has a scale and shift of its own
        "meta_curvature": theta,
    }
