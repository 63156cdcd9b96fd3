"""Check that a run's learner fits another task than it was trained on."""

import inspect

from torch import nn

from metaloop.algorithms import Algorithm
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.build import SUPPLIED_TO_MODELS
from metaloop.run.config.construct import check_node, construct
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.targets import require_all_trusted
from metaloop.tasks import Task


def fit_to_run(config: RunConfig, trained: RunConfig, run: RunFolder) -> RunConfig:
    """Fit the config of an evaluation to the run whose weights it judges.

    If the task has the run's class, keys that the config leaves open get the values that the run
    has inferred. A head over all of the run's classes keeps its size. So does a model trained with
    varying ways that is judged on fewer.

    Raises:
        UserError: if inputs have another shape, or the number of ways or outputs differs.

    """
    for each in (config, trained):
        require_all_trusted(each.content)
    own = construct(trained.task, Task, key="task")
    if trained.task["_target_"] == config.task["_target_"]:
        known = {key: value for key, value in own.found.items() if config.task.get(key) is None}
        config = config.changed(task=known)
    other = construct(config.task, Task, key="task")
    name = type(other).__name__
    if _shapes_of(other) != _shapes_of(own):
        raise UserError(
            f"{run.path} was trained on {type(own).__name__}, with inputs of shape "
            f"{_shapes_of(own)}; those of {name} have {_shapes_of(other)}. Choose a "
            "task of the same shape, or change its image size."
        )
    model: dict[str, object] = {}
    if own.shapes.ways_vary and other.shapes.has_classes and other.output_size < own.output_size:
        recipe = check_node(config.model, nn.Module, key="model", supplied=SUPPLIED_TO_MODELS)
        if "output_size" in inspect.signature(recipe.target).parameters:
            model = {"output_size": own.output_size, **config.model}
    elif other.output_size != own.output_size:
        raise UserError(
            f"{run.path} was trained with {own.output_size} ways or outputs, and this is an "
            f"evaluation with {other.output_size}. Evaluate with task.ways={own.output_size}; "
            "metaloop-adapt adapts to other numbers of classes."
        )
    algorithm, supplied = config.algorithm, ("objective", "classes")
    recipe = check_node(algorithm, Algorithm, key="algorithm", supplied=supplied)
    if "classes" in inspect.signature(recipe.target).parameters:
        algorithm = {"classes": own.classes, **algorithm}
    return config.changed(algorithm=algorithm, model=model)


def _shapes_of(task: Task) -> object:
    """Return the shape of an input, or of each of its tensors by name."""
    named = {name: tuple(shape) for name, shape in task.input_shapes.items()}
    return named or tuple(task.input_shape)
