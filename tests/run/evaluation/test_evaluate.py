"""What an evaluation can be asked for: an ensemble, several norm modes, a learner as it began."""

import csv
import json

import pytest
import torch

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.meta_gradient import adaptation_path
from metaloop.run.checkpoints.weights import find_judged, load_weights
from metaloop.run.config.build import build
from metaloop.run.config.read import load_config
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.write import rewrite_run
from metaloop.run.evaluation.evaluate import evaluate
from metaloop.run.train import train
from metaloop.training.datamodule import EvaluationEpisodes
from tests.conftest import composed
from tests.episodes import initial_meta, random_case

ENSEMBLE = ("evaluation.checkpoint=ensemble", "evaluation.ensemble_size=2")
OFTEN = ("training.max_steps=12", "training.validate_every=3", "training.save_every=3")


def results(folder: RunFolder) -> dict:
    return json.loads((folder.evaluations / "test" / "results.json").read_text())


def test_an_ensemble_is_kept_where_it_is_named_and_averages_its_members(make_run):
    folder = make_run(*ENSEMBLE, *OFTEN)
    train(folder)
    members = find_judged(folder, "ensemble", 2)
    assert len(members) == 2
    assert results(folder)["protocol"]["checkpoint"] == ", ".join(p.name for p in members)

    # by hand: the mean of the members' predictions, judged once
    pieces = build(RunConfig.read(folder))
    (batch,) = EvaluationEpisodes(pieces.task, 0, "test", 20, 20)
    episodes = pieces.task.gather(batch.episodes, torch.float32)
    losses = []
    for index in range(20):
        task = torch.utils._pytree.tree_map(lambda x, i=index: x[i], episodes)
        predictions = []
        for path in members:
            load_weights(pieces.meta_learner, path)
            meta = {n: p.detach() for n, p in pieces.meta_learner.meta.items()}
            *_, phi = pieces.algorithm.adapt(meta, task.support, 2)
            predictions.append(pieces.algorithm.objective.predict(phi, task.query.inputs))
        mean = torch.stack(predictions).mean(0)
        losses.append(pieces.task.loss(mean, task.query.targets))
    found = results(folder)["metrics"]["query_loss"]["mean"][2]
    assert found == pytest.approx(float(torch.stack(losses).mean().detach()), rel=1e-5)


def test_an_ensemble_of_classifiers_averages_probabilities():
    torch.manual_seed(0)
    algorithm, _, episodes = random_case("conv")
    members = [initial_meta(algorithm)]
    members.append({n: p + 0.3 * torch.randn_like(p) for n, p in members[0].items()})
    found = adaptation_path(algorithm, members, episodes, steps=1)
    for t in range(4):
        task = torch.utils._pytree.tree_map(lambda x, t=t: x[t], episodes)
        phis = [list(algorithm.adapt(m, task.support, 1))[1] for m in members]
        predictions = [algorithm.objective.predict_query(phi, task) for phi in phis]
        mean = torch.stack([p.softmax(1) for p in predictions]).mean(0)
        by_hand = -mean[range(9), task.query.targets].log().mean()
        torch.testing.assert_close(found["query_loss"][t, 1], by_hand)


def test_a_resumed_run_ends_with_the_same_ensemble(make_run):
    straight, stopped = make_run(*ENSEMBLE, *OFTEN), make_run(*ENSEMBLE, *OFTEN)
    train(straight)
    config = load_config(stopped)
    rewrite_run(stopped, {**config, "training": {**config["training"], "max_steps": 6}}, [], [])
    train(stopped)
    rewrite_run(stopped, config, [], [])
    train(stopped)
    one, other = (find_judged(folder, "ensemble", 2) for folder in (straight, stopped))
    assert [p.name for p in one] == [p.name for p in other]
    for a, b in zip(one, other, strict=True):
        weights = [torch.load(p, weights_only=True)["state_dict"] for p in (a, b)]
        assert all(torch.equal(weights[0][n], weights[1][n]) for n in weights[0])


def test_a_run_that_kept_no_ensemble_says_how_to_keep_one(make_run):
    folder = make_run()
    train(folder)
    with pytest.raises(UserError, match=r"Train with evaluation\.checkpoint=ensemble"):
        find_judged(folder, "ensemble", 2)


def test_several_norm_modes_stand_side_by_side_in_the_results(make_run, omniglot, cache):
    data = (f"task.data_dir={omniglot}", f"task.cache_dir={cache}", "task.queries=1")
    modes = "evaluation.norm_modes=[transductive,inductive,support_plus_one]"
    folder = make_run("task=omniglot", *data, "model.filters=4", modes, "training.max_steps=1")
    train(folder)
    metrics = results(folder)["metrics"]
    assert {"accuracy", "accuracy@inductive", "accuracy@support_plus_one"} <= set(metrics)
    assert "accuracy@transductive" not in metrics  # it is the run's own
    with (folder.evaluations / "test" / "episodes.csv").open() as file:
        assert "accuracy@inductive_step_1" in next(csv.reader(file))


@pytest.mark.slow
def test_a_run_that_stored_statistics_can_be_judged_by_a_mode_that_reads_none(
    make_run, omniglot, cache
):
    data = (f"task.data_dir={omniglot}", f"task.cache_dir={cache}", "task.queries=1")
    mode, modes = "norm_mode=per_step", "evaluation.norm_modes=[transductive]"
    folder = make_run(
        "task=omniglot", *data, "model.filters=4", mode, modes, "training.max_steps=1"
    )
    train(folder)
    beside = results(folder)["metrics"]["accuracy@transductive"]["mean"]
    pieces = build(RunConfig.read(folder).changed(norm_mode="transductive"))
    (folder.evaluations / "other").mkdir()
    alone = evaluate(pieces, folder, folder.evaluations / "other", [])
    assert alone["metrics"]["accuracy"]["mean"] == beside


def test_a_norm_mode_that_the_run_has_not_learned_is_refused_by_name(make_run, omniglot, cache):
    data = (f"task.data_dir={omniglot}", f"task.cache_dir={cache}", "task.queries=1")
    folder = make_run("task=omniglot", *data, "model.filters=4", "training.max_steps=1")
    train(folder)
    config = RunConfig.read(folder).changed(evaluation={"norm_modes": ["per_step"]})
    with pytest.raises(UserError, match=r"names per_step, but this run has no statistics\.body"):
        evaluate(build(config), folder, folder.evaluations / "other", [])


def test_statistics_that_pretraining_stored_are_what_frozen_norms_read(make_run, omniglot, cache):
    small = (f"task.data_dir={omniglot}", f"task.cache_dir={cache}", "model.filters=4")
    first = make_run("task=omniglot", "algorithm=pretrain", *small, "training.max_steps=3")
    train(first)
    stored = torch.load(first.last_checkpoint, weights_only=True)["state_dict"]
    name = "own.statistics:body:0:1:mean"
    assert stored[name].any()
    second = make_run(
        "task=omniglot",
        *small,
        "norm_mode=frozen",
        f"init_from={first.path}",
        "training.max_steps=2",
    )
    train(second)
    after = torch.load(second.last_checkpoint, weights_only=True)["state_dict"]
    assert torch.equal(after[name], stored[name])  # frozen
    assert not torch.equal(after["model.head.weight"], stored["model.head.weight"])


def test_frozen_norms_of_a_new_learner_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"a new learner has none.*algorithm=pretrain"):
        build(RunConfig.of(composed("task=omniglot", "norm_mode=frozen")))


def test_statistics_missing_where_a_frozen_run_starts_are_named(make_run, omniglot, cache):
    small = (f"task.data_dir={omniglot}", f"task.cache_dir={cache}", "model.filters=4")
    first = make_run("task=omniglot", *small, "training.max_steps=1")
    train(first)
    second = make_run("task=omniglot", *small, "norm_mode=frozen", f"init_from={first.path}")
    with pytest.raises(UserError, match=r"has none for body\.0\.1\. Start from a run of"):
        train(second)


def test_a_run_of_no_meta_steps_evaluates_the_learner_as_initialised(make_run):
    folder = make_run("algorithm=pretrain", "training.max_steps=0")
    pieces = build(RunConfig.read(folder))
    initial = {n: p.detach().clone() for n, p in pieces.meta_learner.state_dict().items()}
    train(folder)
    saved = torch.load(folder.last_checkpoint, weights_only=True)
    assert saved["global_step"] == 0
    assert all(torch.equal(saved["state_dict"][n], p) for n, p in initial.items())
    assert results(folder)["protocol"]["meta_step"] == 0


def test_a_report_logs_every_inner_step_and_what_was_learned_of_the_step_sizes(make_run):
    folder = make_run("algorithm=maml_plus_plus", "algorithm.inner_steps=2", "training.report=true")
    train(folder)
    with folder.metrics.open() as file:
        rows = list(csv.DictReader(file))
    for stage in ("train_path", "val_path"):
        for name in ("query_loss", "support_gradient_norm", "gradient_cosine"):
            seen = [row for row in rows if row[f"{stage}/{name}/1"]]
            assert seen
            assert all(-1 <= float(row[f"{stage}/gradient_cosine/1"]) <= 1 for row in seen)
    assert {f"step_size/head.weight/{step}" for step in (0, 1)} <= set(rows[-1])


def test_without_a_report_nothing_of_it_is_logged(make_run):
    folder = make_run("algorithm=meta_sgd")
    train(folder)
    columns = folder.metrics.read_text().splitlines()[0].split(",")
    assert not any("path/" in c or c.startswith("step_size") for c in columns)


def test_the_reports_gradients_are_those_of_the_losses():
    algorithm, theta, episodes = random_case("mlp", tasks=2)
    report = adaptation_path(algorithm, theta, episodes, steps=1, is_detailed=True)
    task = torch.utils._pytree.tree_map(lambda x: x[1], episodes)
    _, phi = algorithm.adapt(theta, task.support, 1)
    leaves = {n: p.detach().requires_grad_() for n, p in phi.items()}
    flat = []
    for part in (task.support, task.query):
        loss = algorithm.objective.support_loss(leaves, part)
        flat.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, leaves.values())]))
    cosine = torch.cosine_similarity(*flat, dim=0)
    torch.testing.assert_close(report["gradient_cosine"][1, 1], cosine)
    torch.testing.assert_close(report["support_gradient_norm"][1, 1], flat[0].norm())
    torch.testing.assert_close(report["query_gradient_norm"][1, 1], flat[1].norm())


def test_an_ensemble_is_judged_in_float64_too(make_run):
    folder = make_run(*ENSEMBLE, *OFTEN, "device.precision=64-true")
    train(folder)
    assert results(folder)["episodes"] == 20


def test_an_ensemble_that_no_validation_would_make_is_refused_before_training():
    with pytest.raises(UserError, match="a run of 3 meta-steps is never validated"):
        build(RunConfig.of(composed("evaluation.checkpoint=ensemble", "training.max_steps=3")))


def test_an_ensembles_size_cannot_change_afterwards(make_run):
    folder = make_run(*ENSEMBLE, *OFTEN)
    train(folder)
    with pytest.raises(UserError, match=r"kept an ensemble of 2; evaluation\.ensemble_size=1"):
        find_judged(folder, "ensemble", 1)


def test_an_algorithm_that_stores_no_statistics_is_refused_modes_that_read_them():
    stored = RunConfig.of(composed("task=omniglot", "algorithm=prototypical"))
    for mode in ("frozen", "per_step"):
        with pytest.raises(UserError, match="Prototypical stores none"):
            build(stored.changed(norm_mode=mode))
