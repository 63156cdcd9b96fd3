"""A state dict holds adapters, and of a base that can be had again only its hash."""

import copy
import hashlib

import pytest
import torch

from metaloop import lora
from metaloop.adapters import merge
from metaloop.errors import UserError
from tests.adapters.networks import WIDTH, Stacked, moved


def network_of(seed=0, source="model.pretrained=there"):
    torch.manual_seed(seed)
    return moved(lora(Stacked(), rank=2, alpha=2.0, source=source))


X = torch.ones(2, 3, WIDTH, dtype=torch.float64)
LEARNED = {f"{layer}.lora_{m}" for layer in ("first", "second") for m in "AB"}
LEARNED |= {"head.weight", "head.bias"}


def test_it_holds_what_is_learned_and_the_hash_of_the_base():
    network = network_of()
    state = network.state_dict()
    assert state.keys() == LEARNED | {"base_sha256"}
    digest = hashlib.sha256()
    for name in ("first.bias", "first.weight", "second.weight"):
        p = network.get_parameter(name).detach().float()
        digest.update(f"{name} {tuple(p.shape)} ".encode() + p.numpy().tobytes())
    assert bytes(state["base_sha256"].tolist()) == digest.digest()


def test_without_a_source_it_holds_the_base():
    held = {"first.weight", "first.bias", "second.weight"}
    assert network_of(source=None).state_dict().keys() == LEARNED | held


@pytest.mark.parametrize("wrapped", [False, True])
def test_adapters_are_loaded_onto_the_same_base(wrapped):
    trained, fresh = network_of(), network_of()
    with torch.no_grad():
        trained.second.lora_B.add_(1.0)
    holders = [torch.nn.ModuleDict({"model": n}) if wrapped else n for n in (trained, fresh)]
    assert not torch.equal(trained(X), fresh(X))
    holders[1].load_state_dict(holders[0].state_dict())
    torch.testing.assert_close(fresh(X), trained(X))


def test_a_changed_base_is_refused_by_its_name_and_both_hashes():
    state, other = network_of().state_dict(), network_of(seed=1)
    hashes = [bytes(s["base_sha256"].tolist()).hex()[:12] for s in (state, other.state_dict())]
    message = f"SHA-256 begins {hashes[0]}, but model.pretrained=there now has {hashes[1]}"
    with pytest.raises(UserError, match=message):
        other.load_state_dict(state)


def test_the_hash_is_the_same_in_any_precision():
    torch.manual_seed(0)
    exact = lora(Stacked().double(), rank=2, alpha=2.0, source="there")
    torch.manual_seed(0)
    assert torch.equal(
        lora(Stacked(), rank=2, alpha=2.0, source="there").base_sha256, exact.base_sha256
    )


def test_a_copy_holds_as_little():
    copied = copy.deepcopy(network_of())
    assert copied.state_dict().keys() == LEARNED | {"base_sha256"}
    copied.load_state_dict(network_of().state_dict())


def test_merged_weights_are_whole():
    assert merge(network_of()).keys() == Stacked().state_dict().keys()
