"""Runs with adapters: what checkpoints hold, and that every command gives the same numbers."""

import json

import numpy as np
import pytest
import torch

from metaloop import MLP, Learner
from metaloop.callbacks.checkpoint_io import ORIGIN
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.checkpoints.initial_weights import find_initial_weights, load_initial_weights
from metaloop.run.checkpoints.origin import TO_RESUME, describe_origin, require_same_kind
from metaloop.run.checkpoints.weights import load_learner
from metaloop.run.config.build import build
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.write import rewrite_run, write_evaluation, write_run
from metaloop.run.evaluation.evaluate import evaluate
from metaloop.run.train import train
from tests.conftest import SMALL, composed

TINY = (*SMALL, "model.hidden=[8,8]", "algorithm.eval_inner_steps=2", "evaluation.episodes=2")
LORA = ("part=lora", "part.rank=2", "algorithm.inner_lr=0.1")
X = np.linspace(-3, 3, 5, dtype=np.float32)[:, None]


@pytest.fixture
def base(tmp_path):
    """A file with the weights of a network like the runs'."""
    torch.manual_seed(5)
    torch.save(MLP(1, 1, hidden=[8, 8]).state_dict(), tmp_path / "base.pt")
    return tmp_path / "base.pt"


def run_of(place, *overrides) -> RunFolder:
    arguments = [*TINY, *overrides]
    return write_run(composed(*arguments), arguments, place, "run")


def learner_of(folder):
    return build(RunConfig.read(folder)).meta_learner


def with_checkpoint(folder, learner):
    """Put a checkpoint of a learner, its adapters moved, into its run's folder."""
    torch.manual_seed(3)
    with torch.no_grad():
        for p in learner.meta.values():
            p.add_(0.1 * torch.randn_like(p))
    config = {"config": dict(RunConfig.read(folder).content)}
    folder.checkpoints.mkdir()
    content = {"state_dict": learner.state_dict(), "global_step": 7, ORIGIN: config}
    torch.save(content, folder.last_checkpoint)
    return folder


def saved(folder):
    return torch.load(folder.last_checkpoint, weights_only=True)["state_dict"]


def test_a_checkpoint_holds_the_base_only_where_nobody_else_has_it(base, tmp_path):
    alone, named = (
        learner_of(run_of(tmp_path, *LORA, *more)).state_dict().keys()
        for more in ([], [f"init_from={base}"])
    )
    layers = ("body.1", "body.3")
    of_adapters = {f"model.{layer}.lora_{m}" for layer in layers for m in "AB"}
    of_base = {f"model.{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    head = {"model.head.weight", "model.head.bias"}
    assert alone == of_adapters | head | of_base
    assert named == of_adapters | head | {"model.base_sha256"}


def test_the_base_and_the_head_are_those_of_init_from(base, tmp_path):
    network = learner_of(run_of(tmp_path, *LORA, f"init_from={base}")).model
    for name, p in torch.load(base, weights_only=True).items():
        assert torch.equal(network.get_parameter(name), p)


@pytest.mark.parametrize("is_named", [False, True])
def test_a_trained_learner_is_loaded_and_saved_merged(is_named, base, tmp_path):
    folder = run_of(tmp_path, *LORA, *[f"init_from={base}"] * is_named)
    trained = learner_of(folder)
    learner = Learner.load(with_checkpoint(folder, trained).path)
    with torch.no_grad():
        expected = trained.model(torch.from_numpy(X))
    fitted = learner.adapt(X, np.sin(X), steps=0)
    np.testing.assert_allclose(fitted.predict(X), expected, rtol=1e-6)
    fitted = learner.adapt(X, np.sin(X), steps=2)
    fitted.save(tmp_path / "adapted.pt")
    plain = MLP(1, 1, hidden=[8, 8])
    plain.load_state_dict(torch.load(tmp_path / "adapted.pt", weights_only=True)["state_dict"])
    with torch.no_grad():
        found = plain(torch.from_numpy(X))
    np.testing.assert_allclose(found, fitted.predict(X), rtol=1e-5, atol=1e-6)


def test_a_base_that_changed_is_refused_by_name(base, tmp_path):
    folder = run_of(tmp_path, *LORA, f"init_from={base}")
    with_checkpoint(folder, learner_of(folder))
    weights = torch.load(base, weights_only=True)
    weights["body.1.weight"][0, 0] += 1.0
    torch.save(weights, base)
    with pytest.raises(UserError, match=rf"init_from={base} now has .* it has changed since"):
        load_learner(learner_of(folder), folder.last_checkpoint)


def test_other_adapters_are_another_model(tmp_path):
    config = RunConfig.read(run_of(tmp_path, *LORA))
    checkpoint = {key: kind() for key, kind in TO_RESUME.items()} | {
        ORIGIN: describe_origin(config)
    }
    other = config.changed(part={"rank": 3})
    with pytest.raises(UserError, match=r"has another model .*\n  part\.rank: 2 -> 3"):
        require_same_kind(checkpoint, tmp_path / "last.ckpt", other.content)


@pytest.mark.parametrize("is_named", [False, True])
def test_a_run_starts_from_anothers_adapters_on_the_same_base(is_named, base, tmp_path):
    folder = run_of(tmp_path / "one", *LORA, *[f"init_from={base}"] * is_named)
    with_checkpoint(folder, learner_of(folder))
    next_ = learner_of(run_of(tmp_path / "next", *LORA, f"init_from={folder.path}"))
    load_initial_weights(next_, find_initial_weights(str(folder.path)))
    before, after = saved(folder), next_.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
@pytest.mark.parametrize("is_named", [False, True])
def test_evaluating_resuming_and_exporting_give_the_same_numbers(is_named, base, tmp_path):
    schedule = ("training.max_steps=4", "training.save_every=2", "training.validate_every=2")
    overrides = [*LORA, *schedule, *[f"init_from={base}"] * is_named]
    folder = run_of(tmp_path, *overrides)
    train(folder)
    first = json.loads((folder.evaluations / "test" / "results.json").read_text())

    config = {**RunConfig.read(folder).content, "command": "evaluate"}
    place = write_evaluation(folder, "again", config, [])
    again = evaluate(build(RunConfig.of(config)), folder, place.path, [])
    place.let_go()
    assert {k: v for k, v in again.items() if k not in ("protocol", "overrides")} == {
        k: v for k, v in first.items() if k not in ("protocol", "overrides")
    }
    assert again["protocol"]["lora_rank"] == 2

    resumed = run_of(tmp_path / "resumed", *overrides, "training.max_steps=2")
    train(resumed)
    longer = RunConfig.read(resumed).changed(training={"max_steps": 4})
    rewrite_run(resumed, longer.content, ["training.max_steps=4"], [])
    train(resumed)
    one, other = saved(folder), saved(resumed)
    assert all(torch.equal(one[name], other[name]) for name in one)

    fitted = Learner.load(folder.path).adapt(X, np.sin(X), steps=2)
    fitted.export(tmp_path / "adapted.onnx")
    session = pytest.importorskip("onnxruntime").InferenceSession(tmp_path / "adapted.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: X})
    np.testing.assert_allclose(found, fitted.predict(X), rtol=1e-5, atol=1e-6)
