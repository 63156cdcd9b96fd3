"""An exported network, loaded without metaloop, says what the adapted learner says."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from metaloop.adapted import export
from metaloop.adapted.export import CLASSES, Network
from metaloop.errors import UserError
from metaloop.learner import Learner
from tests.conftest import striped

IMAGES = ("task=omniglot", "model.filters=4")
NORMS = {
    "inductive": (),
    "per_step": ("algorithm=maml_plus_plus", "algorithm.inner_steps=2"),
}


def answers(path, x):
    """What the file says of x, and the classes it names."""
    if path.suffix == ".pt2":
        extra = {CLASSES: ""}
        program = torch.export.load(path, extra_files=extra).module()
        return program(torch.from_numpy(x)).numpy(), json.loads(extra[CLASSES])
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(path))
    names = json.loads(session.get_modelmeta().custom_metadata_map[CLASSES])
    return session.run(None, {"x": x})[0], names


@pytest.mark.parametrize(
    ("format_", "norm_mode"), [("pt2", "inductive"), ("pt2", "per_step"), ("onnx", "inductive")]
)
def test_a_classifier_gives_the_same_probabilities_at_any_batch_size(
    format_, norm_mode, untrained, tmp_path
):
    run = untrained(*IMAGES, f"norm_mode={norm_mode}", *NORMS[norm_mode])
    x, y = striped(3, 2)
    adapted = Learner.load(run.path).adapt(x, [f"letter {c}" for c in y], steps=5)
    path = tmp_path / f"adapted.{format_}"
    adapted.export(path)
    for rows in (1, 7):
        new = np.random.default_rng(rows).random((rows, 1, 28, 28), dtype=np.float32)
        found, classes = answers(path, new)
        np.testing.assert_allclose(found, adapted.predict_proba(new), atol=2e-6)
        assert classes == ["letter 0", "letter 1", "letter 2"]


@pytest.mark.parametrize("format_", ["pt2", "onnx"])
def test_a_regression_gives_the_same_numbers_adapted_or_not(format_, untrained, tmp_path):
    learner = Learner.load(untrained().path)
    x = np.linspace(-1, 1, 5)
    adapted = learner.adapt(x, np.sin(x))
    before = learner.adapt(x, np.sin(x), steps=0)
    learner.export(tmp_path / f"learner.{format_}")
    adapted.export(tmp_path / f"adapted.{format_}")
    for name, expected in (("learner", before), ("adapted", adapted)):
        for rows in (1, 7):
            new = np.random.default_rng(rows).normal(size=(rows, 1)).astype(np.float32)
            found, classes = answers(tmp_path / f"{name}.{format_}", new)
            np.testing.assert_allclose(found[:, 0], expected.predict(new), atol=2e-6)
            assert classes is None


def test_a_learner_whose_norms_have_stored_statistics_is_exported_before_it_adapts(
    untrained, tmp_path
):
    learner = Learner.load(untrained(*IMAGES, "norm_mode=per_step", *NORMS["per_step"]).path)
    learner.export(tmp_path / "learner.pt2")
    new = np.random.default_rng(0).random((3, 1, 28, 28), dtype=np.float32)
    found, _ = answers(tmp_path / "learner.pt2", new)
    (phi,) = learner.algorithm.adapt(learner.meta, None, 0)
    expected = learner.algorithm.objective.predict(phi, torch.from_numpy(new)).detach()
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_what_depends_on_the_batch_is_refused_with_the_way_out(untrained, tmp_path):
    run = untrained(*IMAGES)
    x, y = striped(5, 1)
    for norm_mode in ("transductive", "support_plus_one"):
        adapted = Learner.load(run.path, norm_mode=norm_mode).adapt(x, y)
        with pytest.raises(UserError, match=f"norm_mode={norm_mode} a prediction depends on"):
            adapted.export(tmp_path / "adapted.pt2")
    with pytest.raises(UserError, match="have no statistics without a support set"):
        Learner.load(run.path, norm_mode="inductive").export(tmp_path / "learner.pt2")
    assert not list(tmp_path.glob("*.pt2"))


def test_a_file_of_another_format_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"must end in .pt2 \(torch.export\) or .onnx"):
        export(Network(nn.Linear(1, 1), None), torch.zeros(1, 1), tmp_path / "network.h5", {})


class Branching(nn.Module):
    """What no exporter can follow: the data decides."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 1)

    def forward(self, x):
        return self.head(x) if float(x.sum()) > 0 else -self.head(x)


def test_a_model_that_torch_cannot_export_says_so(tmp_path):
    with pytest.raises(UserError, match="torch cannot export Branching"):
        export(Network(Branching(), None), torch.zeros(1, 1), tmp_path / "network.pt2", {})
