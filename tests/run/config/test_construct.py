"""A node is checked whole before anything is called, and then made with what it asks for."""

import pytest
import torch
from torch import nn

from metaloop.errors import UserError
from metaloop.run.config.construct import check_node, construct, partial, section
from metaloop.run.config.settings import Training

LINEAR = {"_target_": "torch.nn.Linear", "in_features": 2}


def test_what_the_signature_names_is_supplied_and_the_nodes_own_value_wins():
    layer = construct(LINEAR, nn.Module, key="model", in_features=9, out_features=3, unknown=1)
    assert (layer.in_features, layer.out_features) == (2, 3)


def test_what_is_made_must_be_of_the_kind_that_belongs_there():
    with pytest.raises(UserError, match=r"model\._target_=torch\.nn\.Linear"):
        construct(LINEAR, torch.optim.Optimizer, key="model", out_features=3)


def test_nodes_inside_are_made_first_and_a_partial_one_is_called_later():
    inner = {**LINEAR, "out_features": 3}
    node = {"_target_": "torch.nn.Sequential", "_args_": [inner, {"_target_": "torch.nn.ReLU"}]}
    network = construct(node, nn.Module, key="model")
    assert network(torch.zeros(5, 2)).shape == (5, 3)


def test_an_argument_may_come_later():
    node = {"_target_": "torch.optim.SGD", "lr": 0.5}
    make = partial(node, torch.optim.Optimizer, key="optimizer", supplied="params", momentum=0.9)
    (group,) = make([nn.Parameter(torch.zeros(1))]).param_groups
    assert (group["lr"], group["momentum"]) == (0.5, 0.9)


@pytest.mark.parametrize(
    ("node", "says"),
    [
        ({"width": 3}, "model needs a _target_, the class or function that makes it"),
        ({**LINEAR, "out_features": 3, "width": 3}, "model.width is unknown"),
        ({"_target_": "torch.nn.Sequential", "_args_": 3}, "model._args_=3 has to be a list"),
        ({"_target_": "torch.nn.Linr"}, "model._target_=torch.nn.Linr names no class"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_key_and_nothing_is_called(node, says):
    with pytest.raises(UserError, match=says):
        check_node(node, nn.Module, key="model")


def test_a_section_is_checked_against_its_class():
    with pytest.raises(UserError, match="training.max_stepz is unknown. Did you mean max_steps"):
        section(Training, {"max_stepz": 3}, "training")
