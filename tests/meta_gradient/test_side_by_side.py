"""Chunks at the same time compute what chunks one after another do, bit for bit."""

import os
import threading
import time
import weakref
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from metaloop.algorithms import maml
from metaloop.episode import Episode, Examples
from metaloop.inner_loop import Newton, Objective, StepSize, Update
from metaloop.meta_gradient import (
    AtOnce,
    CompiledChunkGradient,
    adaptation_path,
    meta_gradient,
    preflight_check,
    warn_of_slower,
)
from metaloop.meta_gradient.chunks import chunks
from metaloop.meta_gradient.side_by_side import FEWEST_ELEMENTS, side_by_side
from metaloop.models import MLP
from tests.episodes import RECIPES, initial_meta, objective, random_case, random_episodes, recipe

IN_TIME = 60  # seconds
BY_DEFAULT = AtOnce(tasks_at_once="by_size", chunks_at_once="by_size")


@pytest.fixture(autouse=True)
def _two_threads():
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2  # as it was, whatever has happened
    torch.set_num_threads(1)


def parts(episodes: Episode) -> list[Episode]:
    """Task by task."""
    return list(chunks(episodes, 1))


def one_after_another(function, *arguments, **keywords):
    """With one thread: what each of two chunks at the same time has."""
    torch.set_num_threads(1)
    found = function(*arguments, **keywords)
    torch.set_num_threads(2)
    return found


@contextmanager
def computing(algorithm):
    """The threads in which the model is called inside."""
    seen = set()
    hook = algorithm.objective.model.register_forward_hook(
        lambda *_: seen.add(threading.get_ident())
    )
    yield seen
    hook.remove()


def assert_identical(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize(
    ("name", "norm_mode"),
    [
        *((name, "transductive") for name in RECIPES if name != "imaml"),
        ("maml", "inductive"),
        ("maml", "support_plus_one"),
        ("maml", "frozen"),
        ("maml_plus_plus", "per_step"),
    ],
)
def test_the_meta_gradient_is_the_same(name, norm_mode):
    algorithm = recipe(name, objective("conv", name, norm_mode=norm_mode))
    meta, episodes = initial_meta(algorithm), random_episodes("conv", tasks=5)
    expected = one_after_another(meta_gradient, algorithm, meta, episodes, tasks_at_once=2)
    with computing(algorithm) as threads:
        found = meta_gradient(algorithm, meta, episodes, tasks_at_once=2, chunks_at_once=2)
    assert threads
    assert threading.get_ident() not in threads
    for one, other in zip(found, expected, strict=True):
        assert_identical(one, other)


def test_evaluation_takes_the_same_path_and_does_not_change_the_model():
    algorithm = recipe("maml", objective("conv", norm_mode="inductive"))
    model, before = algorithm.objective.model, dict(algorithm.objective.model.named_parameters())
    meta, episodes = initial_meta(algorithm), random_episodes("conv", tasks=5)
    how = {"steps": 2, "tasks_at_once": 2, "is_detailed": True}
    how |= {"norm_modes_beside": ["transductive"], "with_answers": True}
    expected = one_after_another(adaptation_path, algorithm, meta, episodes, **how)
    with computing(algorithm) as threads:
        found = adaptation_path(algorithm, meta, episodes, **how, chunks_at_once=2)
    assert_identical(found, expected)
    assert threads
    assert threading.get_ident() not in threads
    assert all(p is before[name] for name, p in model.named_parameters())


def test_half_precision_reaches_every_chunk():
    algorithm, theta, episodes = random_case("conv", tasks=4)
    theta = {name: p.float() for name, p in theta.items()}
    episodes = torch.utils._pytree.tree_map(
        lambda t: t.float() if t.is_floating_point() else t, episodes
    )
    algorithm.objective.model.float()
    with torch.autocast("cpu", torch.bfloat16):
        expected, _ = one_after_another(meta_gradient, algorithm, theta, episodes, tasks_at_once=2)
        found, _ = meta_gradient(algorithm, theta, episodes, tasks_at_once=2, chunks_at_once=2)
    assert_identical(found, expected)
    exact, _ = meta_gradient(algorithm, theta, episodes)
    assert not torch.equal(found["0.weight"], exact["0.weight"])


def test_results_come_in_the_order_of_the_chunks():
    algorithm, _, episodes = random_case("mlp", tasks=2)
    first, second = parts(episodes)
    is_done = threading.Event()

    def function(own, chunk):
        if chunk is first:
            assert is_done.wait(IN_TIME), "the second chunk waits for the first"
        else:
            is_done.set()
        return chunk, own, torch.get_num_threads()

    one, other = side_by_side(function, algorithm, [first, second], 2)
    assert (one[0], other[0]) == (first, second)
    assert one[1].objective.model is not other[1].objective.model
    assert (one[2], other[2]) == (1, 1)  # each its share of two


def test_an_error_in_a_chunk_is_raised_and_the_others_are_cancelled():
    algorithm, _, episodes = random_case("mlp", tasks=6)
    computed = []

    def function(own, chunk):
        computed.append(chunk)
        raise ValueError("no such task")

    with pytest.raises(ValueError, match="no such task"):
        list(side_by_side(function, algorithm, parts(episodes), 2))
    after = len(computed)
    assert after <= 6
    list(side_by_side(lambda own, chunk: chunk, algorithm, parts(episodes), 2))
    assert len(computed) == after  # nothing goes on behind one's back


def test_a_result_is_freed_once_it_is_taken():
    algorithm, _, episodes = random_case("mlp", tasks=6)
    held = weakref.WeakSet()

    def function(own, chunk):
        result = Held()
        held.add(result)
        return result

    results, left = side_by_side(function, algorithm, parts(episodes), 2), 6
    for result in results:
        assert result in held
        del result
        left -= 1
        end = time.monotonic() + 5
        while len(held) > left:  # the thread that has made it may be about to let go
            assert time.monotonic() < end
            time.sleep(0.001)
    assert left == 0


class Held:
    """A result that can be watched."""


def most_at_once(episodes, chunks_at_once, algorithm=None, **how):
    """How many tasks were being computed at the same time, of two that wait for one another."""
    algorithm = algorithm or random_case("mlp")[0]
    met = threading.Barrier(2)

    def function(own, chunk):
        try:
            met.wait(1)
        except threading.BrokenBarrierError:
            return 1
        return 2

    return max(side_by_side(function, algorithm, parts(episodes), chunks_at_once, **how))


def empty(rows: int) -> Episode:
    """Two tasks of rows x 1 numbers in either set."""
    inputs, targets = torch.empty(2, rows, 1), torch.empty(2, rows, 1)
    examples = Examples(inputs, targets)
    return Episode(examples, examples, torch.zeros(2, 1, dtype=torch.long))


@pytest.mark.parametrize(
    ("rows", "chunks_at_once", "expected"),
    [
        (FEWEST_ELEMENTS // 2, "by_size", 2),
        (FEWEST_ELEMENTS // 2 - 1, "by_size", 1),
        (1, 2, 2),
        (1, 8, 2),
        (FEWEST_ELEMENTS, 1, 1),
    ],
)
def test_large_chunks_are_computed_two_at_a_time_or_as_many_as_asked(
    rows, chunks_at_once, expected
):
    assert most_at_once(empty(rows), chunks_at_once) == expected


def test_one_thread_computes_one_chunk_at_a_time():
    assert one_after_another(most_at_once, empty(1), 2) == 1


def test_by_size_uses_every_core():
    torch.set_num_threads(3)
    assert most_at_once(empty(FEWEST_ELEMENTS), "by_size") == 1
    torch.set_num_threads(2)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("imaml", {}),
        ("maml", {"adjoint": "recomputed"}),
        ("maml", {"update": Update([Newton(0.7, 5), StepSize(1.0)])}),
    ],
)
def test_uncompiled_forward_mode_runs_in_one_thread_at_a_time(name, change):
    # torch keeps one stack of forward-mode levels for all threads, and crashes where two use it
    algorithm = replace(recipe(name, objective("conv", name)), **change)
    assert most_at_once(empty(1), 2, algorithm) == 1
    assert most_at_once(empty(1), 2, algorithm, is_threadsafe=True) == 2


def checked(algorithm, meta, episodes, at_once):
    verdict = preflight_check(algorithm, meta, episodes, at_once)
    warn_of_slower(verdict)
    return verdict.at_once


def drawing(p: float, *, training: bool = True, of_others: bool = False):
    model = MLP(1, 1, hidden=[8]).double().train(training)
    model.body.append(nn.Dropout(p))
    if of_others:
        model = nn.Sequential(model)
    steps = {"inner_steps": 1, "eval_inner_steps": 1}
    return maml(Objective(model=model, loss=F.mse_loss), inner_lr=0.1, adjoint="unrolled", **steps)


@pytest.mark.parametrize("training", [True, False])  # validation may come first
def test_random_models_are_computed_chunk_by_chunk(training, recwarn):
    algorithm, episodes = drawing(0.5, training=training), random_episodes("mlp")
    place, chance = (algorithm, initial_meta(algorithm), episodes), torch.get_rng_state()
    assert checked(*place, BY_DEFAULT)["chunks_at_once"] == 1
    assert not recwarn
    with pytest.warns(UserWarning, match="draws random numbers.*device.chunks_at_once=2 becomes 1"):
        found = checked(*place, AtOnce(tasks_at_once=1, chunks_at_once=2))
    assert found["chunks_at_once"] == 1
    assert torch.equal(torch.get_rng_state(), chance)


@pytest.mark.parametrize(
    ("of_others", "asked", "expected"),
    [(False, "by_size", "by_size"), (False, 2, 2), (True, "by_size", 1), (True, 2, 2)],
)
def test_foreign_layers_use_several_threads_only_if_asked(of_others, asked, expected):
    algorithm = drawing(0.0, of_others=of_others)
    place = algorithm, initial_meta(algorithm), random_episodes("mlp")
    at_once = checked(*place, AtOnce(tasks_at_once=2, chunks_at_once=asked))
    assert at_once == {"tasks_at_once": 2, "chunks_at_once": expected}


def test_what_cannot_be_compiled_is_right_too(monkeypatch):
    monkeypatch.setattr("metaloop.meta_gradient.compiled.make_fx", None)
    algorithm, theta, episodes = random_case("conv", tasks=4)
    how = {"tasks_at_once": 1, "chunks_at_once": 2}
    expected, _ = meta_gradient(algorithm, theta, episodes, **how)
    with pytest.warns(UserWarning, match="Not compiled"):
        found, _ = meta_gradient(
            algorithm, theta, episodes, **how, of_chunk=CompiledChunkGradient()
        )
    assert_identical(found, expected)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # what is tested
def test_a_forked_process_starts_threads_of_its_own():
    algorithm, theta, episodes = random_case("mlp", tasks=4)
    how = {"tasks_at_once": 1, "chunks_at_once": 2}
    expected, _ = meta_gradient(algorithm, theta, episodes, **how)
    child = os.fork()
    if child == 0:
        found, _ = meta_gradient(algorithm, theta, episodes, **how)
        os._exit(0 if all(torch.equal(found[n], g) for n, g in expected.items()) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
