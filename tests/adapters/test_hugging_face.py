"""Encoders of transformers as learners with adapters; skipped where transformers is missing."""

import pytest
import torch
from torch.nn import functional as F

from metaloop import HFEncoder, HFImageEncoder, lora
from metaloop.adapters import merge
from metaloop.algorithms import maml
from metaloop.episode import Episode, Examples
from metaloop.inner_loop import Objective
from tests.adapters.networks import moved
from tests.episodes import drawer, exact_tasks_at_once
from tests.finite_difference import assert_meta_gradient_is_finite_difference

pytest.importorskip("transformers")
SIZE = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
DROPOUTS = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
GPT2 = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8}
GPT2 |= {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
TEXT = {"bert": {**SIZE, **DROPOUTS}, "gpt2": GPT2}
IMAGES = {
    "vit": {**SIZE, "patch_size": 4},
    "convnext": {"hidden_sizes": [4, 8], "depths": [1, 1], "num_stages": 2, "patch_size": 2},
}


def network_of(kind):
    torch.manual_seed(0)
    if kind in TEXT:
        architecture = {"model_type": kind, **TEXT[kind]}
        return HFEncoder(3, 21, pretrained=None, architecture=architecture).double()
    architecture, scale = {"model_type": kind, **IMAGES[kind]}, {"mean": [0.1], "std": [0.5]}
    return HFImageEncoder(
        (2, 8, 8), 3, pretrained=None, architecture=architecture, **scale
    ).double()


def inputs_of(kind, *rows):
    draw = drawer(1)
    if kind in TEXT:
        sentences = (10 + 5 * draw(*rows, 6)).long().clamp(1, 20)
        sentences[..., 4:] *= draw(*rows, 1).gt(0)  # some are padded
        return sentences
    return draw(*rows, 2, 8, 8)


@pytest.mark.parametrize("kind", [*TEXT, *IMAGES])
def test_an_encoder_with_adapters_is_exact_and_vectorised(kind):
    network = moved(lora(network_of(kind), rank=2, alpha=2.0), scale=0.1)
    labels = (torch.arange(6) % 3).expand(2, -1)
    parts = (Examples(inputs_of(kind, 2, 6), labels) for _ in range(2))
    episodes = Episode(*parts, torch.zeros(2, 3))
    values = {"inner_lr": 0.1, "inner_steps": 1, "eval_inner_steps": 1}
    algorithm = maml(Objective(model=network, loss=F.cross_entropy), **values, adjoint="unrolled")
    meta = {n: p.detach() for n, p in algorithm.objective.meta_parameters().items()}
    assert {n.rpartition(".")[2] for n in meta} == {"lora_A", "lora_B", "weight", "bias"}
    assert exact_tasks_at_once(algorithm, meta, episodes) == "all"
    assert_meta_gradient_is_finite_difference(algorithm, meta, episodes)


@pytest.mark.parametrize("kind", [*TEXT, *IMAGES])
def test_merging_equals_applying(kind):
    network, x = moved(lora(network_of(kind), rank=2, alpha=2.0)), inputs_of(kind, 4)
    plain = network_of(kind)
    assert not torch.allclose(plain(x), network(x))
    plain.load_state_dict(merge(network))
    torch.testing.assert_close(plain(x), network(x), rtol=1e-12, atol=1e-12)


def test_targets_name_the_layers_of_transformers():
    network = lora(network_of("bert"), rank=2, alpha=2.0, targets=r"query|value")
    layers = {n.rpartition(".lora")[0] for n, _ in network.named_parameters() if "lora" in n}
    assert layers == {
        f"body.encoder.layer.{layer}.attention.self.{kind}"
        for layer in (0, 1)
        for kind in ("query", "value")
    }
