"""The page for users of learn2learn and higher: their meta-gradient is ours."""

import sys

import pytest
import torch

from tests.conftest import ROOT
from tests.docs.document import DOCS, Document

PAGE = Document(DOCS / "how_to" / "coming_from.md")


def gradient_of(script: str, monkeypatch) -> dict[str, torch.Tensor]:
    """What the script leaves, with four tasks and a network of its own."""
    monkeypatch.delitem(sys.modules, "four_tasks", raising=False)
    found: dict[str, object] = {}
    exec(PAGE.files[script], found)
    return found["gradient"]


@pytest.mark.parametrize("peer", ["learn2learn", "higher"])
def test_their_gradient_is_ours(peer, tmp_path, monkeypatch):
    if peer == "learn2learn":  # of its package, which needs an old gym, MAML alone
        monkeypatch.syspath_prepend(ROOT / "benchmarks")
        import speed.peers

        try:
            module = speed.peers.learner_alone()
        except ImportError as error:
            pytest.skip(str(error))
        monkeypatch.setattr(sys.modules["learn2learn"], "algorithms", module, raising=False)
    else:
        pytest.importorskip(peer)
    (tmp_path / "four_tasks.py").write_text(PAGE.files["four_tasks.py"])
    monkeypatch.syspath_prepend(tmp_path)
    theirs = gradient_of(f"with_{peer}.py", monkeypatch)
    ours = gradient_of("with_metaloop.py", monkeypatch)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-12, atol=1e-13)
