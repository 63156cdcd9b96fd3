"""Every shipped network is differentiated exactly under vmapped second order."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from metaloop.cli.hydra_app import CONF
from metaloop.episode import Episode, Examples
from metaloop.inner_loop import Objective
from metaloop.meta_gradient import meta_gradient
from metaloop.models import (
    MLP,
    Conv4,
    FourierFeatures,
    ResNet12,
    Siren,
    WideResNet,
    WordAttention,
)
from metaloop.substitutes import transforms
from tests.episodes import drawer, make

IMAGE = (2, 16, 16)
NETWORKS = {
    "mlp": lambda: MLP(512, 3, hidden=[6, 5], batch_norm=True),
    "conv4": lambda: Conv4(IMAGE, 3, filters=3, downsample="max_pool"),
    "conv4, strided": lambda: Conv4(IMAGE, 3, filters=3, downsample="stride"),
    "resnet12": lambda: ResNet12(IMAGE, 3, widths=[2, 3, 3, 4]),
    "wide_resnet": lambda: WideResNet(IMAGE, 3, depth=10, width=1),
    "siren": lambda: Siren(512, 3, hidden=[6, 5], w0=5.0),
    "fourier_features": lambda: FourierFeatures(512, 3, features=4, scale=0.1, hidden=[6, 5]),
    "word_attention": lambda: WordAttention(3, 20, embedding_size=5, hidden_size=4),
}
# of transformers, whose parts tests/models/test_text.py tries
FOREIGN = {"hf_encoder", "hf_image_encoder"}


def test_every_shipped_network_is_here():
    shipped = {path.stem for path in (CONF / "model").glob("*.yaml")}
    assert {name.partition(",")[0] for name in NETWORKS} | FOREIGN == shipped


@pytest.mark.parametrize("large", [transforms.LARGE, 1], ids=["small", "large"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_vmapped_meta_gradient_is_exact(name, large, monkeypatch):
    """It is the task-by-task one, and the slope of the mean query loss at phi_K."""
    monkeypatch.setattr(transforms, "LARGE", large)  # from which size on layers take others
    torch.manual_seed(0)
    model = NETWORKS[name]().double()
    draw = drawer(1)
    labels = (torch.arange(9) % 3).repeat(2, 1)
    support, query = draw(2, 6, *IMAGE), draw(2, 9, *IMAGE)
    if name == "word_attention":  # sentences of up to seven words, some padded
        support, query = (
            (10 + 5 * x[:, :, 0, 0, :7]).long().clamp(0, 19) for x in (support, query)
        )
    parts = Examples(support, labels[:, :6]), Examples(query, labels)
    episodes = Episode(*parts, torch.zeros(2, 3))
    algorithm = make("maml", Objective(model=model, loss=F.cross_entropy), 0.1, 2)
    meta = {n: p.detach() + 0.05 * draw(*p.shape) for n, p in model.named_parameters()}

    vmapped, _ = meta_gradient(algorithm, meta, episodes)
    one_by_one, _ = meta_gradient(algorithm, meta, episodes, tasks_at_once=1)
    for n, value in one_by_one.items():
        torch.testing.assert_close(vmapped[n], value, rtol=1e-9, atol=1e-11)

    def mean_loss(meta):
        tasks = [tree_map(lambda x, t=t: x[t], episodes) for t in range(2)]
        return torch.stack([algorithm.meta_loss(meta, task)[0] for task in tasks]).mean().detach()

    direction = {n: draw(*p.shape) for n, p in meta.items()}
    expected = sum((vmapped[n] * d).sum() for n, d in direction.items())
    errors = []
    for step in (1e-6, 1e-7, 1e-8):  # a ReLU or max-pool may have its kink between one's ends
        up, down = ({n: p + s * direction[n] for n, p in meta.items()} for s in (step, -step))
        measured = (mean_loss(up) - mean_loss(down)) / (2 * step)
        errors.append(float(abs(measured / expected - 1)))
    assert min(errors) < 1e-6
