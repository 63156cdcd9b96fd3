"""The networks for fields compute and start as their papers say."""

import math

import pytest
import torch
from torch import nn

from metaloop.models import FourierFeatures, Siren


def test_a_siren_is_sines_and_a_linear_head():
    model = Siren(2, 1, hidden=[3, 4], w0=7.0).double()
    first, second = (layer for layer in model.body.modules() if isinstance(layer, nn.Linear))
    x = torch.linspace(-1, 1, 10, dtype=torch.float64).view(5, 2)
    h = torch.sin(7 * (x @ first.weight.T + first.bias))
    h = torch.sin(7 * (h @ second.weight.T + second.bias))
    torch.testing.assert_close(model(x), h @ model.head.weight.T + model.head.bias)
    assert sum(p.numel() for p in model.parameters()) == (2 * 3 + 3) + (3 * 4 + 4) + (4 + 1)


def test_a_sirens_weights_are_uniform_within_the_papers_bounds():
    torch.manual_seed(0)
    w0, width = 30.0, 256
    model = Siren(2, 64, hidden=[width, width], w0=w0)
    weights = [p for n, p in model.named_parameters() if n.endswith("weight")]
    bounds = [1 / 2, math.sqrt(6 / width) / w0, math.sqrt(6 / width) / w0]
    for weight, bound in zip(weights, bounds, strict=True):
        scaled = weight.detach() / bound
        assert 0.98 < scaled.abs().max() <= 1
        # of a uniform in -1..1: mean 0, variance 1 / 3
        assert float(scaled.mean()) == pytest.approx(0, abs=0.1)
        assert float(scaled.var()) == pytest.approx(1 / 3, rel=0.1)


def test_the_arguments_of_a_sirens_later_sines_are_standard_normal():
    """Sitzmann et al. 2020, theorem 1.8: whatever the depth, which is why it trains."""
    torch.manual_seed(0)
    model = Siren(1, 1, hidden=[512] * 4, w0=30.0)
    arguments = []
    for layer in model.body[2:]:  # the flattening and the first layer are before
        layer[1].register_forward_pre_hook(
            lambda m, args: arguments.append(m.w0 * args[0].detach())
        )
        nn.init.zeros_(layer[0].bias)
    model(torch.linspace(-1, 1, 256)[:, None])
    assert len(arguments) == 3
    for values in arguments:
        assert float(values.detach().std()) == pytest.approx(1, rel=0.1)


def test_fourier_features_are_cosines_and_sines_of_random_frequencies():
    torch.manual_seed(0)
    model = FourierFeatures(2, 3, features=500, scale=4.0, hidden=[8]).double()
    assert model.frequencies.shape == (500, 2)
    assert float(model.frequencies.std()) == pytest.approx(4, rel=0.1)
    assert "frequencies" not in dict(model.named_parameters())
    assert "frequencies" in model.state_dict()
    x = torch.tensor([[0.25, -0.5]], dtype=torch.float64)
    angles = 2 * math.pi * (model.frequencies @ x[0])
    mapped = torch.cat([angles.cos(), angles.sin()])
    hidden = model.body[0][0]
    h = (hidden.weight @ mapped + hidden.bias).relu()
    torch.testing.assert_close(model(x)[0], model.head.weight @ h + model.head.bias)
