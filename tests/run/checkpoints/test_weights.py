"""Weights load where they fit, and say why where they do not."""

import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.models import MLP
from metaloop.run.checkpoints.weights import (
    find_resumable,
    find_weights,
    load_weights,
)


def mlp(*hidden):
    return MLP(1, 1, hidden=hidden or (8,))


def test_a_state_dict_and_a_checkpoint_load_alike(tmp_path):
    source = mlp()
    torch.save(source.state_dict(), tmp_path / "plain.pt")
    prefixed = {f"model.{n}": t for n, t in source.state_dict().items()}
    torch.save({"state_dict": prefixed, "global_step": 7}, tmp_path / "lightning.ckpt")
    for path in tmp_path.iterdir():
        target = mlp()
        load_weights(target, path)
        assert torch.equal(target.head.weight, source.head.weight)


def test_weights_of_another_model_are_refused_by_name(tmp_path):
    torch.save(mlp(16).state_dict(), tmp_path / "wide.pt")
    with pytest.raises(UserError, match=r"has body.1.weight of shape \(16, 1\), not \(8, 1\)"):
        load_weights(mlp(8), tmp_path / "wide.pt")
    torch.save(mlp(8, 8).state_dict(), tmp_path / "deep.pt")
    with pytest.raises(UserError, match=r"has body.3.weight, which is unknown here"):
        load_weights(mlp(8), tmp_path / "deep.pt")
    torch.save({"state_dict": {}}, tmp_path / "empty.pt")
    with pytest.raises(UserError, match=r"lacks body.1.weight"):
        load_weights(mlp(8), tmp_path / "empty.pt")


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_checkpoint_that_would_execute_something_is_refused(tmp_path, capsys):
    (tmp_path / "evil.ckpt").write_bytes(pickle.dumps({"state_dict": Evil()}, protocol=2))
    with pytest.raises(UserError, match="evil.ckpt cannot be read"):
        load_weights(mlp(), tmp_path / "evil.ckpt")
    assert "executed" not in capsys.readouterr().out


def test_a_checkpoint_that_claims_more_than_its_size_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "packed.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("packed/data/0", bytes(10_000_000))
    assert path.stat().st_size < 20_000
    with pytest.raises(UserError, match="claims to contain more than its size"):
        load_weights(mlp(), path)


def test_a_run_without_checkpoints_says_so(tmp_path):
    folder = RunFolder(tmp_path)
    assert find_resumable(folder) is None
    with pytest.raises(UserError, match="has no checkpoint yet. Train it first: metaloop-resume"):
        find_weights(folder, "best")


def test_a_damaged_last_checkpoint_is_set_aside_for_the_one_before(tmp_path, capsys):
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    torch.save({"global_step": 5}, folder.previous_checkpoint)
    torch.save({"global_step": 9}, folder.last_checkpoint)
    whole = folder.last_checkpoint.read_bytes()
    folder.last_checkpoint.write_bytes(whole[: len(whole) // 2])
    assert find_resumable(folder).path == folder.previous_checkpoint
    assert "Falling back to the checkpoint before it" in capsys.readouterr().out
    assert not folder.last_checkpoint.exists()  # else the next save would make it `previous`


def test_when_every_checkpoint_is_damaged_nothing_trains_from_scratch(tmp_path):
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    for path in (folder.last_checkpoint, folder.previous_checkpoint):
        path.write_bytes(b"torn")
    for _ in range(2):  # trying again does not make it right
        with pytest.raises(UserError, match="No checkpoint in .* can be read"):
            find_resumable(folder)


def test_bytes_changed_inside_a_checkpoint_are_noticed(tmp_path):
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    for path in (folder.last_checkpoint, folder.previous_checkpoint):
        torch.save({"weights": torch.arange(1000.0)}, path)
    content = bytearray(folder.last_checkpoint.read_bytes())
    middle = content.index(torch.arange(500.0, 510.0).numpy().tobytes())
    content[middle : middle + 8] = b"\xff" * 8
    folder.last_checkpoint.write_bytes(content)
    torch.load(folder.last_checkpoint, weights_only=True)  # torch itself does not notice
    assert find_resumable(folder).path == folder.previous_checkpoint


def test_a_state_dict_of_a_model_with_a_part_named_model_loads(tmp_path):
    wrapper = torch.nn.ModuleDict({"model": mlp()})
    torch.save(wrapper.state_dict(), tmp_path / "plain.pt")
    load_weights(wrapper, tmp_path / "plain.pt")


def test_a_file_that_holds_no_weights_says_so(tmp_path):
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    with pytest.raises(UserError, match="contains a Tensor, not a checkpoint or state dict"):
        load_weights(mlp(), tmp_path / "tensor.pt")
    (tmp_path / "notes.md").write_text("# notes")
    with pytest.raises(UserError, match="not a file of weights saved by torch"):
        load_weights(mlp(), tmp_path / "notes.md")


def test_weights_for_exchange_are_read_as_they_were_written(tmp_path):
    model = torch.nn.Linear(2, 3)
    path = tmp_path / "weights.safetensors"
    save_file({name: p.detach() for name, p in model.named_parameters()}, path)
    other = torch.nn.Linear(2, 3)
    load_weights(other, path)
    assert torch.equal(other.weight, model.weight)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"weights\.safetensors cannot be read"):
        load_weights(other, path)
