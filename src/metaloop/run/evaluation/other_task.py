"""A run's learner on another task than it was trained on: what has to be the same."""

import inspect
from collections.abc import Mapping
from typing import cast

from torch import nn

from metaloop.algorithms import Algorithm
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.build import SUPPLIED_TO_MODELS
from metaloop.run.config.construct import Node, check_node, construct
from metaloop.run.config.targets import require_all_trusted
from metaloop.tasks import Task


def fit_to_run(
    config: Mapping[str, object], trained: Mapping[str, object], run: RunFolder
) -> dict[str, object]:
    """The config of an evaluation, checked against the run whose weights it judges.

    Data of the run's own kind are read as it read its: what it has found of them stands for what
    the config leaves open. An algorithm that has learned a head over all of the run's classes keeps
    its size, and so does a model of more classes, where a run of varying ways is judged on fewer.

    Raises:
        UserError: inputs of another shape, or another number of ways or outputs.

    """
    for each in (config, trained):
        require_all_trusted(each)
    mine, theirs = (cast(Node, c["task"]) for c in (trained, config))
    own = construct(mine, Task, key="task")
    if mine["_target_"] == theirs["_target_"]:
        known = {key: value for key, value in own.found.items() if theirs.get(key) is None}
        theirs = {**theirs, **known}
    other = construct(theirs, Task, key="task")
    name = type(other).__name__
    if tuple(other.input_shape) != tuple(own.input_shape):
        raise UserError(
            f"{run.path} was trained on {type(own).__name__}, inputs of shape "
            f"{tuple(own.input_shape)}; those of {name} are {tuple(other.input_shape)}. Choose a "
            "task of the same shape, or one that can be brought into it (its image size)."
        )
    model = dict(cast(Node, config["model"]))
    if own.shapes.ways_vary and other.shapes.has_classes and other.output_size < own.output_size:
        recipe = check_node(model, nn.Module, key="model", supplied=SUPPLIED_TO_MODELS)
        if "output_size" in inspect.signature(recipe.target).parameters:
            model.setdefault("output_size", own.output_size)
    elif other.output_size != own.output_size:
        raise UserError(
            f"{run.path} was trained with {own.output_size} ways or outputs, and this is an "
            f"evaluation with {other.output_size}. Evaluate with task.ways={own.output_size}; "
            "metaloop-adapt adapts to other numbers of classes."
        )
    algorithm = dict(cast(Node, config["algorithm"]))
    recipe = check_node(algorithm, Algorithm, key="algorithm", supplied=("objective", "classes"))
    if "classes" in inspect.signature(recipe.target).parameters:
        algorithm.setdefault("classes", own.classes)
    return {**config, "task": theirs, "algorithm": algorithm, "model": model}
