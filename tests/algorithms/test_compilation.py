"""The compiled meta-gradient is the eager one, or is not used."""

import shutil

import pytest
import torch

from metaloop.algorithms import CompiledChunkGradient, compilation, meta_gradient
from tests.algorithms.episodes import random_case

needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler to compile with"
)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@needs_compiler
def test_compiled_equals_eager_for_every_chunk_size():
    algorithm, theta, episodes = random_case("mlp", tasks=3)
    eager, report = meta_gradient(algorithm, theta, episodes)
    of_chunk = CompiledChunkGradient()
    for _ in range(2):  # compiling, then reusing what was compiled
        found, found_report = meta_gradient(
            algorithm, theta, episodes, tasks_at_once=2, of_chunk=of_chunk
        )
        for name, value in eager.items():
            torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(found_report["query_loss"], report["query_loss"])
    assert len(of_chunk._graphs) == 2  # one for the chunk of two, one for that of one


def test_what_cannot_be_compiled_runs_eagerly_and_says_so(monkeypatch):
    def no_compiler(*args, **kwargs):
        raise RuntimeError("InvalidCxxCompiler: no working C++ compiler")

    monkeypatch.setattr(torch, "compile", no_compiler)
    algorithm, theta, episodes = random_case("mlp")
    with pytest.warns(UserWarning, match="running eagerly: InvalidCxxCompiler"):
        found, _ = meta_gradient(algorithm, theta, episodes, of_chunk=CompiledChunkGradient())
    eager, _ = meta_gradient(algorithm, theta, episodes)
    assert all(torch.equal(found[n], eager[n]) for n in eager)


def test_a_graph_that_differs_from_eager_is_not_used(monkeypatch):
    def wrong(graph, **kwargs):
        def run(meta, chunk):
            gradient, report = graph(meta, chunk)
            return {n: 1.1 * g for n, g in gradient.items()}, report

        return run

    monkeypatch.setattr(compilation.torch, "compile", wrong)
    algorithm, theta, episodes = random_case("mlp")
    with pytest.warns(UserWarning, match="differs from the eager one"):
        found, _ = meta_gradient(algorithm, theta, episodes, of_chunk=CompiledChunkGradient())
    eager, _ = meta_gradient(algorithm, theta, episodes)
    assert all(torch.equal(found[n], eager[n]) for n in eager)
