"""Adapters: what they compute, what is learned of a network with them, and exact meta-gradients."""

import copy
import math
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from metaloop import lora
from metaloop.adapted.ways import fit_ways
from metaloop.adapters import merge
from metaloop.algorithms import maml, proto_maml
from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.inner_loop import Objective
from metaloop.meta_gradient import meta_gradient
from tests.adapters.networks import NETWORKS, WIDTH, Encoder, Stacked, moved
from tests.episodes import drawer, initial_meta
from tests.finite_difference import assert_meta_gradient_is_finite_difference
from tests.peak import Peak

RANK, ALPHA, INNER_LR, STEPS = 2, 3.0, 0.1, 2
VALUES = {"inner_lr": INNER_LR, "inner_steps": STEPS, "eval_inner_steps": STEPS}


def adapted(make, **arguments):
    torch.manual_seed(0)
    return moved(lora(make(), rank=RANK, alpha=ALPHA, **arguments))


def episodes(tasks=3):
    draw, labels = drawer(1), (torch.arange(6) % 3).expand(tasks, -1)
    support, query = (Examples(draw(tasks, 6, 5, WIDTH), labels) for _ in range(2))
    return Episode(support, query, torch.zeros(tasks, 3, dtype=torch.long))


def algorithm_of(network, adjoint="unrolled"):
    return maml(Objective(model=network, loss=F.cross_entropy), **VALUES, adjoint=adjoint)


# what they compute: Hu et al. 2021, eq. 3 and section 4.1


@pytest.mark.parametrize("make", NETWORKS)
def test_at_their_start_adapters_change_nothing(make):
    torch.manual_seed(0)
    plain = make().double()
    x = episodes().support.inputs[0]
    expected = plain(x)
    torch.testing.assert_close(lora(plain, rank=RANK, alpha=ALPHA)(x), expected)


def test_a_is_kaimings_and_b_is_zero():
    network = lora(Encoder(64), rank=8, alpha=8)
    layer = network.body.layers[0].linear1
    a, bound = layer.lora_A, 1 / math.sqrt(64)  # sqrt(6 / ((1 + 5) fan_in)), as of torch's Linear
    assert a.shape == (8, 64)
    assert 0.9 * bound < a.abs().max() <= bound
    assert a.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
    assert layer.lora_B.shape == (128, 8)
    assert not layer.lora_B.any()


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("targets", [".*", "first|q_proj|v_proj", "second|out_proj"])
def test_merging_equals_applying(make, targets):
    network = adapted(make, targets=targets)
    plain = make().double()
    x = episodes().support.inputs[0]
    plain.load_state_dict(merge(network))
    torch.testing.assert_close(network(x), plain(x), rtol=1e-12, atol=1e-12)
    with torch.no_grad():  # torch's encoder takes another path there, past its layers
        torch.testing.assert_close(network.eval()(x), plain.eval()(x), rtol=1e-12, atol=1e-12)


def test_a_merged_linear_layer_is_w_plus_scaled_b_a():
    network = adapted(Stacked)
    layer = network.first
    expected = layer.weight + ALPHA / RANK * layer.lora_B @ layer.lora_A
    torch.testing.assert_close(merge(network)["first.weight"], expected)
    plain = Stacked()
    assert merge(plain).keys() == plain.state_dict().keys()  # it had none: as it is


def test_no_matrix_gets_more_than_it_has_rows_or_columns():
    network = lora(Stacked(), rank=7, alpha=7)
    assert network.first.lora_A.shape == (5, WIDTH)
    assert network.second.lora_A.shape == (5, 5)


# what is learned


def test_adapters_and_the_head_are_learned_and_the_base_is_frozen():
    network = adapted(Stacked)
    learned = {n for n, p in network.named_parameters() if p.requires_grad}
    layers = ("first", "second")
    of_adapters = {f"{layer}.lora_{matrix}" for layer in layers for matrix in "AB"}
    assert learned == of_adapters | {"head.weight", "head.bias"}
    without = adapted(Stacked, also=None)  # the head is frozen then, and has an adapter of its own
    learned = {n for n, p in without.named_parameters() if p.requires_grad}
    assert learned == of_adapters | {"head.lora_A", "head.lora_B"}


def test_targets_name_matrices_of_attention_one_by_one():
    network = adapted(Encoder, targets=r"layers\.1\..*(q_proj|v_proj)")
    found = {n for n, _ in network.named_parameters() if "lora_A" in n}
    place = "body.layers.1.self_attn.lora_A"
    assert found == {f"{place}_q_proj", f"{place}_v_proj"}


def test_a_weight_of_several_layers_gets_no_adapter():
    network = Stacked()
    network.tied = nn.Linear(WIDTH, 5)
    network.tied.weight = network.first.weight
    lora(network, rank=1, alpha=1)
    assert not hasattr(network.first, "lora_A")
    assert hasattr(network.second, "lora_A")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"targets": "query"}, r"part\.targets=query matches no matrix of Stacked .*first, second"),
        ({"targets": "head"}, r"that are not learned themselves \(part\.also="),
        ({"targets": "("}, r"part\.targets=\( is not a regular expression"),
        ({"also": "["}, r"part\.also=\[ is not a regular expression"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_key(arguments, message):
    with pytest.raises(UserError, match=message):
        lora(Stacked(), rank=RANK, alpha=ALPHA, **arguments)


def test_adapters_on_adapters_are_refused():
    with pytest.raises(UserError, match="has adapters already"):
        lora(adapted(Stacked), rank=RANK, alpha=ALPHA)


def test_a_network_without_such_layers_is_refused_by_name():
    with pytest.raises(UserError, match="matches no matrix of LSTM .* It has: none at all"):
        lora(nn.LSTM(3, 4), rank=RANK, alpha=ALPHA)


# meta-learning them


def by_hand(network, plain, meta, task, *, second_order=True):
    """The query loss after plain descent in the adapters, each step's weights merged."""
    names = [n for n in meta if "lora" in n or n.startswith("head.")]

    def loss(phi, examples):
        changes = {}
        for layer in ("first", "second"):
            a, b = phi[f"{layer}.lora_A"], phi[f"{layer}.lora_B"]
            frozen = network.get_submodule(layer).weight.detach()
            changes[f"{layer}.weight"] = frozen + ALPHA / RANK * b @ a
        weights = {**changes, **{n: p for n, p in phi.items() if n.startswith("head.")}}
        return F.cross_entropy(functional_call(plain, weights, examples.inputs), examples.targets)

    phi = dict(meta)
    for _ in range(STEPS):
        slopes = torch.autograd.grad(
            loss(phi, task.support), [phi[n] for n in names], create_graph=second_order
        )
        phi |= {n: phi[n] - INNER_LR * g for n, g in zip(names, slopes, strict=True)}
    return loss(phi, task.query)


@pytest.mark.parametrize("adjoint", ["unrolled", "recomputed", "first_order"])
@pytest.mark.parametrize("tasks_at_once", ["all", 1])
def test_the_meta_gradient_is_plain_autograds_through_merged_weights(adjoint, tasks_at_once):
    network = adapted(Stacked)
    plain = Stacked().double()
    plain.load_state_dict(merge(network))
    algorithm, several = algorithm_of(network, adjoint), episodes()
    meta = {n: p.detach().clone().requires_grad_() for n, p in network.named_parameters()}
    meta = {n: p for n, p in meta.items() if n in algorithm.names}
    tasks = [tree_map(lambda x, t=t: x[t], several) for t in range(3)]
    exact = adjoint != "first_order"
    losses = [by_hand(network, plain, meta, task, second_order=exact) for task in tasks]
    torch.stack(losses).mean().backward()
    found, _ = meta_gradient(algorithm, meta, several, tasks_at_once=tasks_at_once)
    assert found.keys() == meta.keys()  # and so of nothing in the base
    for name, p in meta.items():
        torch.testing.assert_close(found[name], p.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("adjoint", ["unrolled", "recomputed"])
def test_the_meta_gradient_is_a_finite_difference(make, adjoint):
    algorithm = algorithm_of(adapted(make), adjoint)
    meta = {n: p.detach() for n, p in algorithm.objective.meta_parameters().items()}
    assert_meta_gradient_is_finite_difference(algorithm, meta, episodes(2))


def test_second_derivatives_are_there():
    network = adapted(Encoder)
    meta, several = algorithm_of(network).objective.meta_parameters(), episodes(2)
    whole, first_order = (
        meta_gradient(algorithm_of(network, adjoint), meta, several)[0]
        for adjoint in ("unrolled", "first_order")
    )
    name = "body.layers.0.self_attn.lora_A_q_proj"
    assert (whole[name] - first_order[name]).norm() > 1e-3 * whole[name].norm()


def test_a_tasks_state_is_its_adapters_and_the_base_stays_where_it_was():
    network = adapted(Encoder)
    base = {n: (p, p.data_ptr(), p.clone()) for n, p in network.named_parameters()}
    algorithm, several = algorithm_of(network), episodes()
    meta = algorithm.objective.meta_parameters()
    phis = list(algorithm.adapt(meta, tree_map(lambda x: x[0], several).support, STEPS))
    per_layer = 4 * 2 * WIDTH * RANK + 2 * 3 * WIDTH * RANK  # attention's four, two of d to 2 d
    head = 3 * WIDTH + 3
    assert sum(p.numel() for p in phis[-1].values()) == 2 * per_layer + head
    meta_gradient(algorithm, meta, several)
    for name, p in network.named_parameters():
        held, place, before = base[name]
        assert p is held
        assert p.data_ptr() == place
        assert torch.equal(p, before)
        assert p.grad is None


def test_memory_grows_with_the_adapters_and_not_with_the_base():
    width = 300
    base = width * width * 8  # bytes of the one matrix that is adapted

    def peak(make, tasks):
        network = nn.Sequential(OrderedDict(body=nn.Linear(width, width), head=nn.Linear(width, 3)))
        algorithm = algorithm_of(make(network.double()))
        draw, labels = drawer(1), torch.zeros(tasks, 2, dtype=torch.long)
        parts = (Examples(draw(tasks, 2, width), labels) for _ in range(2))
        with Peak() as counted:
            meta = algorithm.objective.meta_parameters()
            meta_gradient(algorithm, meta, Episode(*parts, torch.zeros(tasks, 3)))
        return counted.largest

    def growth(make):
        return peak(make, 8) - peak(make, 4)

    assert growth(lambda network: lora(network, rank=1, alpha=1)) < base
    assert growth(lambda network: network) > 4 * base  # without: a matrix for each task


def test_a_copy_has_adapters_of_its_own():
    network = adapted(Encoder)
    copied = copy.deepcopy(network)
    x = episodes().support.inputs[0]
    expected = network(x)
    with torch.no_grad():
        for p in network.parameters():
            p.zero_()
    torch.testing.assert_close(copied(x), expected)


def test_prototypes_and_adapters_go_together():
    objective = Objective(model=adapted(Encoder), loss=F.cross_entropy)
    algorithm = proto_maml(objective, **VALUES, adjoint="unrolled", part="match:lora")
    meta = {n: p.detach() for n, p in objective.meta_parameters().items()}
    assert_meta_gradient_is_finite_difference(algorithm, meta, episodes(2))


def test_a_new_head_has_none_of_the_old_heads_adapters():
    algorithm = algorithm_of(adapted(Stacked, also=None))
    meta = initial_meta(algorithm)
    assert "head.lora_A" in meta
    other, fitted = fit_ways(algorithm, meta, outputs=3, ways=2, head="fresh", seed=0)
    assert "head.lora_A" not in fitted
    assert other.objective.predict(fitted, episodes().support.inputs[0]).shape == (6, 2)
