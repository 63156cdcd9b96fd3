"""The compiled meta-gradient is the eager one, or is not used."""

import os
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from metaloop.algorithms import AnnealedMultiStepLoss, maml
from metaloop.inner_loop import Objective
from metaloop.meta_gradient import CompiledChunkGradient, compiled, meta_gradient
from tests.conftest import ROOT, needs_compiler, run_command
from tests.episodes import (
    HEADS,
    NETWORKS,
    RECIPES,
    initial_meta,
    named,
    random_case,
    random_episodes,
    recipe,
    reference_case,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(autouse=True)
def _cache_of_the_session(monkeypatch, cache):
    monkeypatch.setenv("METALOOP_CACHE", str(cache))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)


def small_case(tasks: int = 4, **pieces):
    """MAML of one inner step on a small MLP: what is compiled grows with steps and layers."""
    model = named(nn.Linear(1, 4), nn.Linear(4, 1)).double()
    objective = Objective(model=model, loss=F.mse_loss)
    values = {"inner_lr": 0.05, "inner_steps": 1, "eval_inner_steps": 1}
    algorithm = replace(maml(objective, **values, adjoint="unrolled"), **pieces)
    return algorithm, initial_meta(algorithm), random_episodes("mlp", tasks)


def assert_compiled_is_eager(algorithm, meta, episodes):
    eager, report = meta_gradient(algorithm, meta, episodes)
    of_chunk = CompiledChunkGradient()
    found, found_report = meta_gradient(algorithm, meta, episodes, of_chunk=of_chunk)
    assert of_chunk.is_used
    for name, value in eager.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-11)
    for name, value in report.items():
        torch.testing.assert_close(found_report[name], value, rtol=1e-9, atol=1e-11)
    return of_chunk


@needs_compiler
def test_chunks_of_every_size_are_compiled_once_and_equal_eager_also_side_by_side():
    torch.set_num_threads(2)
    algorithm, theta, episodes = small_case(tasks=3)
    said = []
    of_chunk = CompiledChunkGradient(said.append)
    expected, _ = meta_gradient(algorithm, theta, episodes)
    for _ in range(2):
        found, _ = meta_gradient(
            algorithm, theta, episodes, tasks_at_once=2, chunks_at_once=2, of_chunk=of_chunk
        )
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-11)
    assert of_chunk.is_used
    assert len([line for line in said if line.startswith("Compiled in")]) == 2  # two and one task


def small_case_in_float32():
    algorithm, _, episodes = small_case()
    algorithm.objective.model.float()
    return algorithm, initial_meta(algorithm), tree_map(lambda t: t.float(), episodes)


@needs_compiler
def test_half_precision_compiles_and_rounds_no_more_than_eager():
    algorithm, meta, episodes = small_case_in_float32()
    exact, _ = meta_gradient(algorithm, meta, episodes)
    of_chunk = CompiledChunkGradient()
    with torch.autocast("cpu", torch.bfloat16):
        eager, _ = meta_gradient(algorithm, meta, episodes)
        found, _ = meta_gradient(algorithm, meta, episodes, of_chunk=of_chunk)
    assert of_chunk.is_used
    off = [sum((g[n] - exact[n]).square().sum() for n in exact).sqrt() for g in (eager, found)]
    assert 0 < off[1] < 4 * off[0]


def test_precisions_have_graphs_of_their_own(monkeypatch):
    made = []

    def compiled_alike(eager, *_):
        made.append(torch.is_autocast_enabled("cpu"))
        return eager

    monkeypatch.setattr(compiled, "compile_graph", compiled_alike)
    algorithm, meta, episodes = small_case_in_float32()
    of_chunk = CompiledChunkGradient()
    for is_half in (True, False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
            meta_gradient(algorithm, meta, episodes, of_chunk=of_chunk)
    assert made == [True, False]


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("adjoint", ["recomputed", "implicit"])
def test_every_adjoint_compiles(adjoint):
    algorithm, meta, episodes = small_case()
    if adjoint == "implicit":
        algorithm = replace(recipe("imaml", algorithm.objective), inner_steps=1, cg_steps=2)
    else:
        algorithm = replace(algorithm, adjoint=adjoint)
    assert algorithm.adjoint == adjoint
    assert_compiled_is_eager(algorithm, meta, episodes)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_compiles(network, name):
    build, loss = NETWORKS[network]
    if name in ("prototypical", "proto_maml", "pmf") and network == "mlp":
        pytest.skip("prototypes are of classes")
    layers = list(build().double())
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            # before batch statistics its gradient is rounding, which Reptile's Adam makes a step of
            layer.bias = None
    last = int(HEADS[network])
    model = named(nn.Sequential(*layers[:last]), layers[last])
    if name == "cavia":
        pytest.skip("its models have a context; the contract test has them")
    algorithm = recipe(name, Objective(model=model, loss=loss)).at(0)
    assert_compiled_is_eager(algorithm, initial_meta(algorithm), random_episodes(network))


@needs_compiler
@pytest.mark.slow  # max-pooling's second derivative takes minutes to compile
@pytest.mark.parametrize(("case", "adjoint"), [("maml", "unrolled"), ("fomaml", "first_order")])
def test_compiled_convolutions_equal_the_reference(case, adjoint, reference):
    algorithm, meta, episodes, expected = reference_case(reference, "conv", case, adjoint)
    of_chunk = CompiledChunkGradient()
    gradient, _ = meta_gradient(algorithm, meta, episodes, of_chunk=of_chunk)
    assert of_chunk.is_used
    for name, value in expected.items():
        torch.testing.assert_close(gradient[name], value, rtol=1e-9, atol=1e-12)


def compiled_or_found(network):
    """Of a run whose memory holds no graph: how many it compiled, and how many it found."""
    images = nn.Sequential(nn.Conv2d(1, 4, 3, stride=3), nn.Tanh(), nn.Flatten())
    algorithm, meta, episodes = small_case()
    if network == "conv":
        model = named(images, nn.Linear(64, 3)).double()
        algorithm = replace(algorithm, objective=Objective(model=model, loss=F.cross_entropy))
        meta, episodes = initial_meta(algorithm), random_episodes("conv")
    counters.clear()
    torch._dynamo.reset()
    assert_compiled_is_eager(algorithm, meta, episodes)
    found = counters["inductor"]
    return found["fxgraph_cache_miss"], found["fxgraph_cache_hit"]


@needs_compiler
@pytest.mark.slow
def test_the_next_run_finds_a_graph_of_convolutions_compiled(tmp_path, monkeypatch):
    monkeypatch.setenv("METALOOP_CACHE", str(tmp_path))
    assert [compiled_or_found("conv") for _ in range(2)] == [(1, 0), (0, 1)]


@pytest.mark.slow
@needs_compiler
def test_cached_graphs_are_only_reused_for_the_same_number_of_threads(tmp_path, monkeypatch):
    # a graph has the number in its code: another's would sum in another order
    monkeypatch.setenv("METALOOP_CACHE", str(tmp_path))
    found = []
    for threads in (2, 1, 1, 2):
        torch.set_num_threads(threads)
        found.append(compiled_or_found("mlp"))
    assert found == [(1, 0), (1, 0), (0, 1), (0, 1)]


@needs_compiler
@pytest.mark.slow
def test_an_annealed_loss_compiles_once_and_its_weights_count():
    loss = AnnealedMultiStepLoss(inner_steps=2, epochs=4, epoch_steps=1)
    algorithm, meta, episodes = small_case(inner_steps=2, outer_loss=loss)
    of_chunk = CompiledChunkGradient()
    for step, graphs in enumerate([1, 1, 1, 1, 2, 2]):  # at last the query loss alone
        now = algorithm.at(step)
        eager, _ = meta_gradient(now, meta, episodes)
        found, _ = meta_gradient(now, meta, episodes, of_chunk=of_chunk)
        assert len(of_chunk._graphs) == graphs
        for name, value in eager.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-11)
    assert of_chunk.is_used


@pytest.mark.slow
@needs_compiler
def test_dropout_draws_the_same_masks_compiled():
    model = nn.Sequential(nn.Linear(1, 4), nn.Dropout(0.5), nn.Linear(4, 1)).double()
    algorithm, _, episodes = small_case(objective=Objective(model=model, loss=F.mse_loss))
    meta = initial_meta(algorithm)
    of_chunk = CompiledChunkGradient()
    found = []
    for stand_in in (None, of_chunk, of_chunk):
        torch.manual_seed(0)
        found.append(meta_gradient(algorithm, meta, episodes, of_chunk=stand_in)[0])
    assert of_chunk.is_used
    for gradient in found[1:]:
        for name, value in found[0].items():
            torch.testing.assert_close(gradient[name], value)


def test_without_a_working_compiler_it_runs_eagerly_and_says_so(tmp_path):
    program = (
        f"import sys, torch; sys.path.insert(0, {str(ROOT)!r})\n"
        "from metaloop.meta_gradient import CompiledChunkGradient, meta_gradient\n"
        "from tests.episodes import random_case\n"
        "algorithm, theta, episodes = random_case('mlp', steps=1)\n"
        "found, _ = meta_gradient(algorithm, theta, episodes, of_chunk=CompiledChunkGradient())\n"
        "eager, _ = meta_gradient(algorithm, theta, episodes)\n"
        "assert all(torch.equal(found[n], eager[n]) for n in eager)\n"
    )
    (tmp_path / "eager.py").write_text(program)
    nowhere = {"CXX": "/nowhere/g++", "METALOOP_CACHE": str(tmp_path)}
    script = str(tmp_path / "eager.py")
    done = run_command("python", script, env={**os.environ, **nowhere}, cold=True)
    assert done.returncode == 0, done.stderr
    assert (
        "Not compiled, running eagerly: no working C++ compiler found; install g++" in done.stderr
    )


def test_a_graph_that_differs_from_eager_is_not_used(monkeypatch):
    def wrong(eager, *_):
        def run(*inputs):
            gradient, report = eager(*inputs)
            return {n: 1.1 * g for n, g in gradient.items()}, report

        return run

    monkeypatch.setattr(compiled, "compile_graph", wrong)
    algorithm, theta, episodes = random_case("mlp")
    of_chunk = CompiledChunkGradient()
    with pytest.warns(UserWarning, match="differs from the eager one"):
        found, _ = meta_gradient(algorithm, theta, episodes, of_chunk=of_chunk)
    eager, _ = meta_gradient(algorithm, theta, episodes)
    assert not of_chunk.is_used
    assert all(torch.equal(found[n], eager[n]) for n in eager)


def test_shapes_after_the_first_run_eagerly_and_this_is_printed_once(monkeypatch):
    monkeypatch.setattr(compiled, "MOST_GRAPHS", 0)
    algorithm, theta, episodes = random_case("mlp", tasks=3)
    said = []
    of_chunk = CompiledChunkGradient(said.append)
    eager, _ = meta_gradient(algorithm, theta, episodes, tasks_at_once=2)
    found, _ = meta_gradient(algorithm, theta, episodes, tasks_at_once=2, of_chunk=of_chunk)
    assert all(torch.equal(found[name], value) for name, value in eager.items())
    assert len(said) == 1
    assert "task.shape_block" in said[0]
