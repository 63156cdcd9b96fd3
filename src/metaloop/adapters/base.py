"""The base of adapters: replaced by its hash in a checkpoint if it can be loaded again."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from metaloop.errors import UserError

BASE, SHA256 = "base_of_adapters", "base_sha256"


@dataclass(frozen=True)
class Base:
    """A frozen network below adapters: where it comes from, and its names in a state dict."""

    source: str
    names: frozenset[str]


def leave_base_out(network: nn.Module, names: Collection[str], source: str) -> None:
    """Leave a network's base out of its state dict, which then holds the base's hash.

    Loading such a state dict keeps the base that the network already has.

    Args:
        network: a network whose base has its final weights.
        names: names of the parameters and buffers in the base.
        source: where the base comes from.

    """
    setattr(network, BASE, Base(source, frozenset(names)))
    network.register_buffer(SHA256, hash_of(_base_of(network)))
    network.register_state_dict_post_hook(_drop_base)  # type: ignore[no-untyped-call]
    network.register_load_state_dict_pre_hook(_fill_in_base)  # type: ignore[no-untyped-call]


def whole_state(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's state dict with its base, and without the hash."""
    base = _base_of(network) if hasattr(network, BASE) else {}
    return {n: w for n, w in {**network.state_dict(), **base}.items() if n != SHA256}


def hash_of(tensors: Mapping[str, Tensor]) -> Tensor:
    """Hash tensors with their names: [32] bytes. Floats are hashed as float32."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu()
        whole = tensor.float() if tensor.is_floating_point() else tensor
        digest.update(f"{name} {tuple(tensor.shape)} ".encode())
        digest.update(whole.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)


def _base_of(network: nn.Module) -> dict[str, Tensor]:
    """Collect the base's parameters and buffers from the network."""
    base: Base = getattr(network, BASE)
    parameters = network.named_parameters(remove_duplicate=False)
    tensors = dict(parameters) | dict(network.named_buffers(remove_duplicate=False))
    return {name: tensors[name] for name in base.names}


def _drop_base(network: nn.Module, state: dict[str, Tensor], prefix: str, _: object) -> None:
    for name in _base_of(network):
        state.pop(prefix + name, None)


def _fill_in_base(network: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Refuse adapters of another base; else fill in the base that the network has.

    Raises:
        UserError: if the base is not the one that the adapters were trained on.

    """
    own, found = getattr(network, SHA256), state.get(prefix + SHA256)
    if found is not None and not torch.equal(found.cpu(), own.cpu()):
        base: Base = getattr(network, BASE)
        raise UserError(
            f"The adapters were trained on a base whose SHA-256 begins {_shown(found)}, but "
            f"{base.source} now has {_shown(own)}: it has changed since. Put the base back as it "
            "was, or train the adapters again."
        )
    for name, tensor in _base_of(network).items():
        state.setdefault(prefix + name, tensor)


def _shown(sha256: Tensor) -> str:
    return bytes(sha256.cpu().tolist()).hex()[:12]
