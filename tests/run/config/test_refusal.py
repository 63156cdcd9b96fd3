"""What a foreign constructor refuses is blamed on the key that its message is about."""

import pytest

from metaloop.errors import UserError
from metaloop.run.config.refusal import refusal

NODE = {"_target_": "torch.optim.Adam", "lr": -1, "start_factor": 3, "betas": [0.9, 1.5], "T": 0}


@pytest.mark.parametrize(
    ("error", "blamed"),
    [
        (ValueError("Invalid lr: too small"), "optimizer.lr=-1"),
        (ValueError("The starting factor must be at most 1"), "optimizer.start_factor=3"),
        (ValueError("Invalid value: 1.5"), "optimizer.betas=[0.9, 1.5]"),
        (ValueError("it does not work"), "optimizer._target_=torch.optim.Adam"),
        (ZeroDivisionError("division by zero"), "optimizer.T=0"),
    ],
)
def test_it_is_found_by_name_else_by_value_else_it_is_the_target(error, blamed):
    said = str(refusal("optimizer", NODE, error))
    assert said.startswith(f"{blamed}: ")


def test_a_value_in_a_node_inside_is_named_by_its_whole_key():
    node = {"_target_": "x.Y", "part": {"_target_": "x.Z", "width": 3}}
    assert str(refusal("model", node, ValueError("bad width"))) == "model.part.width=3: bad width"


def test_our_own_words_stay_under_the_key():
    assert str(refusal("task", NODE, UserError("Add images."))) == "task: Add images."


def test_an_unexpected_error_is_called_by_its_name():
    try:
        {}["missing"]
    except KeyError as error:
        said = str(refusal("model", {"_target_": "x.Y"}, error))
    assert said.startswith("model._target_=x.Y: KeyError: 'missing'")
