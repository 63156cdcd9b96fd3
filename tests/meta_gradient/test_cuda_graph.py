"""On a GPU a compiled graph bound by launches is recorded, and replayed with one launch."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from metaloop.inner_loop import Objective
from metaloop.meta_gradient import CompiledChunkGradient, meta_gradient
from metaloop.meta_gradient.cuda_graph import one_launch
from tests.episodes import initial_meta, mlp, named, random_episodes, recipe

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]


def dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.5), nn.Linear(8, 1))


def convolutions() -> nn.Module:
    body = nn.Sequential(nn.Conv2d(1, 4, 3, stride=3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten())
    return named(body, nn.Linear(64, 3))


@pytest.mark.parametrize("network", [mlp, dropout, convolutions])
def test_recorded_equals_eager_at_every_meta_step(network):
    is_image = network is convolutions
    loss = F.cross_entropy if is_image else F.mse_loss
    algorithm = recipe("maml", Objective(model=network().double().cuda(), loss=loss))
    episodes = tree_map(torch.Tensor.cuda, random_episodes("conv" if is_image else "mlp"))
    theta, of_chunk = initial_meta(algorithm), CompiledChunkGradient()
    metas = [{n: (1 + 0.1 * step) * p for n, p in theta.items()} for step in range(3)]
    found = []
    for stand_in in (None, of_chunk):
        torch.manual_seed(0)
        found.append([meta_gradient(algorithm, m, episodes, of_chunk=stand_in)[0] for m in metas])
    assert of_chunk.is_used
    for eager, recorded in zip(*found, strict=True):
        for name, value in eager.items():
            torch.testing.assert_close(recorded[name], value, rtol=1e-9, atol=1e-11)


def test_no_cuda_graph_if_kernels_are_the_bottleneck():
    def product(a: torch.Tensor) -> list[torch.Tensor]:
        return [a @ a]

    assert one_launch(product, [torch.ones(8192, 8192, device="cuda")]) is product


def test_a_cuda_graph_is_used_if_launches_are_the_bottleneck():
    def many(a: torch.Tensor) -> list[torch.Tensor]:
        for _ in range(200):
            a = a + 1
        return [a]

    zero, one = torch.zeros(4, device="cuda"), torch.ones(4, device="cuda")
    replay = one_launch(many, [zero])
    assert replay is not many
    first, second = replay(zero)[0], replay(one)[0]
    assert [int(t[0]) for t in (first, second, zero)] == [200, 201, 0]
