"""Meta-gradients equal an independent implementation's, however tasks are chunked."""

import pytest
import torch
from torch.nn import functional as F

from metaloop.episode import Episode, Examples
from metaloop.meta_gradient import adaptation_path, meta_gradient
from metaloop.meta_gradient.chunks import over_tasks
from metaloop.models import Conv4
from tests.episodes import random_case, reference_case
from tests.peak import Peak

EXACT = ("maml", "anil", "boil", "meta_sgd", "lslr", "multi_step_loss")
CASES = [
    *((case, adjoint) for case in EXACT for adjoint in ("unrolled", "recomputed")),
    ("fomaml", "first_order"),
    ("reptile", "first_order"),
]


@pytest.mark.parametrize("tasks_at_once", [1, 2, "all"])
@pytest.mark.parametrize(("case", "adjoint"), CASES)
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_meta_gradients_equal_the_reference(network, case, adjoint, tasks_at_once, reference):
    algorithm, meta, episodes, expected = reference_case(reference, network, case, adjoint)
    gradient, report = meta_gradient(algorithm, meta, episodes, tasks_at_once=tasks_at_once)
    assert set(gradient) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(gradient[name], value, rtol=1e-9, atol=1e-12)
    if case not in ("reptile", "multi_step_loss"):  # whose meta-loss is no query loss at phi_K
        loss = float(reference[f"{network}/{case}/loss"])
        assert float(report["query_loss"].mean()) == pytest.approx(loss, rel=1e-9)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_losses_along_the_path_equal_the_reference(network, reference):
    algorithm, theta, episodes, _ = reference_case(reference, network, "maml")
    report = adaptation_path(algorithm, theta, episodes, steps=algorithm.inner_steps)
    for name in ("support_loss", "query_loss"):
        expected = torch.from_numpy(reference[f"{network}/path/{name}"])
        torch.testing.assert_close(report[name][0], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_the_gradient_is_the_finite_difference_of_the_mean_meta_loss(network):
    algorithm, theta, episodes = random_case(network)
    gradient, _ = meta_gradient(algorithm, theta, episodes)
    generator = torch.Generator().manual_seed(1)
    direction = {
        n: torch.randn(p.shape, generator=generator, dtype=p.dtype) for n, p in theta.items()
    }
    step = 1e-7  # small: ReLU and max-pooling have kinks

    def loss(sign):
        moved = {n: p + sign * step * direction[n] for n, p in theta.items()}
        return meta_gradient(algorithm, moved, episodes)[1]["query_loss"].mean()

    slope = (loss(1) - loss(-1)) / (2 * step)
    expected = sum((gradient[n] * direction[n]).sum() for n in theta)
    torch.testing.assert_close(slope, expected, rtol=1e-5, atol=1e-7)


def test_tasks_do_not_influence_each_other():
    algorithm, theta, episodes = random_case("conv")
    _, together = meta_gradient(algorithm, theta, episodes)
    other = torch.utils._pytree.tree_map(lambda x: torch.cat([x[:2], x[2:].flip(0)]), episodes)
    _, changed = meta_gradient(algorithm, theta, other)
    torch.testing.assert_close(
        together["query_loss"][:2], changed["query_loss"][:2], rtol=1e-12, atol=0
    )


def test_adaptation_in_evaluation_is_that_of_training():
    algorithm, theta, episodes = random_case("conv")
    _, trained = meta_gradient(algorithm, theta, episodes)
    path = adaptation_path(algorithm, theta, episodes, steps=algorithm.inner_steps)
    torch.testing.assert_close(path["query_loss"][:, -1], trained["query_loss"], rtol=1e-12, atol=0)


def test_phi_0_is_theta():
    algorithm, theta, episodes = random_case("mlp")
    task = torch.utils._pytree.tree_map(lambda x: x[0], episodes)
    phi = next(algorithm.adapt(theta, task.support, 3))
    assert all(torch.equal(phi[n], theta[n]) for n in theta)


def test_float32_is_close_to_float64():
    algorithm, theta, episodes = random_case("mlp")
    exact, _ = meta_gradient(algorithm, theta, episodes)
    down = torch.utils._pytree.tree_map(torch.Tensor.float, (theta, episodes))
    rough, _ = meta_gradient(algorithm, *down)
    for name, value in exact.items():
        torch.testing.assert_close(rough[name].double(), value, rtol=1e-4, atol=1e-5)


def test_one_chunks_graph_at_a_time_bounds_the_memory():
    algorithm, theta, episodes = random_case("conv", tasks=8, steps=3)

    def peak(tasks_at_once):
        with Peak() as mode:
            meta_gradient(algorithm, theta, episodes, tasks_at_once=tasks_at_once)
        return mode.largest

    assert peak(2) < 0.4 * peak("all")


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_one_task_are_channels_last_and_grey_images_are_not_copied(channels):
    """A grey image's memory is the same in both orders: its strides say which it is."""
    images, labels = torch.rand(1, 5, channels, 8, 8), torch.zeros(1, 5, dtype=torch.long)
    episode = Episode(Examples(images, labels), Examples(images, labels), labels)
    inputs: list[torch.Tensor] = []

    def see(task: Episode) -> torch.Tensor:
        inputs.append(task.query.inputs)
        return task.query.inputs

    network = Conv4((channels, 8, 8), 3, filters=4, downsample="stride")
    assert torch.equal(over_tasks(see, episode, network), images)
    convolved = F.conv2d(inputs[0], torch.rand(4, channels, 3, 3))
    assert convolved.stride() == (4 * 6 * 6, 1, 4 * 6, 4)
    assert (inputs[0].data_ptr() == images.data_ptr()) == (channels == 1)


def test_a_network_of_others_gets_contiguous_images():
    """It may view what a convolution puts out, which fails where channels lie last."""
    images, labels = torch.rand(1, 5, 3, 8, 8), torch.zeros(1, 5, dtype=torch.long)
    episode = Episode(Examples(images, labels), Examples(images, labels), labels)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    convolved = over_tasks(lambda task: network(task.query.inputs), episode, network)
    assert convolved[0].is_contiguous()
