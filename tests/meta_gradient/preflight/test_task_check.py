"""An episode is what the legend says, and a pure function of its seed, split and index."""

import pytest
import torch

import metaloop
from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.meta_gradient import check_draw
from metaloop.meta_gradient.preflight.task_check import check_episodes, draw_episodes
from metaloop.tasks import PointNavigation, RegressionTask, Sinusoid
from tests.episodes import random_episodes
from tests.meta_gradient.preflight.networks import algorithm_of, plain


class Lines(RegressionTask):
    input_shape, output_size = (1,), 1

    def inputs(self, streams):
        return streams.normal(5, 1)

    def draw(self, split, streams):
        x = self.inputs(streams)
        examples = Examples(x, 2 * x)
        return Episode(examples, examples, torch.zeros(len(x), 0))


class FromTorch(Lines):
    def inputs(self, streams):
        return torch.rand(len(super().inputs(streams)), 5, 1)


class Counting(Lines):
    drawn = 0

    def inputs(self, streams):
        self.drawn += 1
        return super().inputs(streams) + self.drawn


class OfTheBlock(Lines):
    def inputs(self, streams):
        x = super().inputs(streams)
        return x - x.mean(0)  # an episode depends on those that are drawn with it


def test_a_task_that_draws_from_its_streams_alone_passes():
    state = torch.get_rng_state()
    check_draw(Lines(), 0, "train")
    check_draw(Sinusoid(shots=5, queries=5), 0, "train")
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (FromTorch, "FromTorch uses torch's global generator.*Draw from `streams`"),
        (Counting, "Counting draws a different episode for the same seed, split and index"),
        (OfTheBlock, "OfTheBlock draws a different episode for the same seed"),
    ],
)
def test_other_sources_of_randomness_and_state_are_refused(task, says):
    with pytest.raises(UserError, match=says):
        check_draw(task(), 0, "train")
    with pytest.raises(UserError, match=says):
        metaloop.check(algorithm_of(plain()), task())


def changed(**parts):
    episodes = random_episodes("conv")
    return episodes._replace(support=episodes.support._replace(**parts))


@pytest.mark.parametrize(
    ("episodes", "says"),
    [
        (
            changed(targets=random_episodes("conv").support.targets + 1),
            "labels from 1 to 3 in episodes of 3 classes. Labels count from 0 to 2: subtract 1",
        ),
        (changed(targets=torch.zeros(4, 5, dtype=torch.long)), "6 inputs and 5 targets per task"),
        (
            changed(inputs=torch.zeros(4, 6, 1, 9, 9)),
            r"\[1, 9, 9\], but one query input \[1, 12, 12\]",
        ),
        (changed(inputs=torch.full((4, 6, 1, 12, 12), float("nan"))), "support.inputs holds nan"),
        (changed(inputs=torch.zeros(3, 6, 1, 12, 12)), "for 4 tasks. Its first dimensions must be"),
        (changed(targets=[0, 1]), "support.targets is a list"),
    ],
)
def test_episodes_that_do_not_fit_the_description_are_refused(episodes, says):
    with pytest.raises(UserError, match=says):
        check_episodes(episodes)


def test_an_input_has_the_shape_that_the_task_says():
    task = Lines()
    task.input_shape = (2,)
    with pytest.raises(UserError, match=r"\[1\], but the task's input_shape is \[2\]"):
        check_episodes(random_episodes("mlp"), task)


def test_a_task_that_fails_to_draw_is_named_with_its_error():
    class Broken(Lines):
        def inputs(self, streams):
            raise IndexError("row 7")

    with pytest.raises(UserError, match="Broken fails to draw an episode: IndexError: row 7"):
        metaloop.check(algorithm_of(plain()), Broken())


def test_a_task_with_its_own_forward_may_have_other_inputs_than_its_network():
    task = PointNavigation(shots=2, queries=2, horizon=5, action_std=0.5)
    check_episodes(draw_episodes(task, 0, 2, torch.device("cpu"), torch.float32), task)
