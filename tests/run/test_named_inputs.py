"""A run whose inputs are several tensors by name: trained, adapted, exported."""

import numpy as np
import pytest
import torch

from metaloop.errors import UserError
from metaloop.learner import Learner
from metaloop.run.train import train

NAMED = (
    "~task",
    "~model",
    "+task._target_=tests.named.Mixed",
    "+model._target_=tests.named.Reader",
)
SHORT = ("training.max_steps=1", "training.validate_every=1", "data.meta_batch_size=2")


def examples(rows, seed=0):
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(rows, 2)).astype(np.float32)
    return {"numbers": numbers, "words": random.integers(0, 7, (rows, 4))}


def answers(path, x):
    """What the file says of x."""
    if path.suffix == ".pt2":
        program = torch.export.load(path).module()
        return program(**{n: torch.from_numpy(a) for n, a in x.items()}).numpy()
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(path))
    assert {each.name for each in session.get_inputs()} == set(x)
    return session.run(None, x)[0]


def test_a_run_of_named_inputs_adapts_to_a_dict_and_is_exported(make_run, tmp_path):
    folder = make_run(*NAMED, *SHORT)
    train(folder)
    learner = Learner.load(folder.path, checkpoint="last")
    x, y = examples(9), np.repeat(["a", "b", "c"], 3)
    adapted = learner.adapt(x, y, steps=3)
    new = examples(5, seed=1)
    probabilities = adapted.predict_proba(new)
    turned = dict(reversed(new.items()))  # names decide, not their order
    assert np.array_equal(adapted.predict_proba(turned), probabilities)
    one_by_one = [
        adapted.predict_proba({n: a[i : i + 1] for n, a in new.items()}) for i in range(5)
    ]
    np.testing.assert_allclose(np.concatenate(one_by_one), probabilities, atol=1e-6)
    assert 0 <= adapted.score(x, y) <= 1
    for format_ in ("pt2", "onnx"):
        adapted.export(tmp_path / f"adapted.{format_}")
        for rows in (1, 5):
            some = {n: a[:rows] for n, a in new.items()}
            found = answers(tmp_path / f"adapted.{format_}", some)
            np.testing.assert_allclose(found, probabilities[:rows], atol=2e-6)


def test_a_dict_that_does_not_fit_is_refused_by_name(untrained):
    learner = Learner.load(untrained(*NAMED).path)
    x, y = examples(6), ["a", "b", "c"] * 2
    takes = r"The learner takes a dict of words \[rows, 4\], numbers \[rows, 2\]"
    refused = {
        takes + ", but x is one array": x["numbers"],
        takes + ", but x is numbers": {"numbers": x["numbers"]},
        r"x\['numbers'\] has the shape \[6, 3\]": {**x, "numbers": np.zeros((6, 3))},
        r"x\['words'\] has the shape \[6, 4\], where x has 5 rows": {
            **x,
            "numbers": x["numbers"][:5],
        },
        r"x\['numbers'\] has NaN": {**x, "numbers": np.full((6, 2), np.nan)},
    }
    for says, wrong in refused.items():
        with pytest.raises(UserError, match=says):
            learner.adapt(wrong, y)
    with pytest.raises(UserError, match="x has 6 rows, but y has 5"):
        learner.adapt(x, y[:5])


def test_a_named_input_where_the_learner_takes_one_array_is_refused(untrained):
    with pytest.raises(UserError, match="takes one array, but x is words, numbers|numbers, words"):
        Learner.load(untrained().path).adapt(examples(6), np.zeros(6))
