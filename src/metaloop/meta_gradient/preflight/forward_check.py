"""Check in one forward pass that network, loss and metrics fit each other and the task."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from metaloop.episode import Examples, Inputs, map_inputs, tensors_of
from metaloop.errors import UserError
from metaloop.meta_gradient.preflight.broadcasting import call_without_broadcasting
from metaloop.meta_gradient.preflight.cause import describe, first_line, layer_of, names_of
from metaloop.meta_gradient.preflight.trial import Trial


def check_parameters(model: nn.Module, loss: Callable[..., Tensor]) -> None:
    """Refuse parameters that no inner loop can adapt, and a loss with learned parameters.

    Raises:
        UserError: which ones, and what to change.

    """
    name = type(model).__name__
    for parameter, p in model.named_parameters():
        if p.is_complex() and p.requires_grad:
            raise UserError(
                f"{name} learns the complex parameter {parameter}, but an inner loop adapts real "
                "ones. Store its real and imaginary part as two parameters "
                "(torch.view_as_complex)."
            )
    module = module_of(loss)
    learned = [n for n, p in module.named_parameters() if p.requires_grad] if module else []
    if learned:
        raise UserError(
            f"The loss {type(module).__name__} has parameters ({', '.join(learned[:6])}), which "
            "would never be learned. Make them parameters of the model, whose forward returns them "
            "as part of its output, or freeze them (requires_grad_(False))."
        )


def check_forward(trial: Trial, output_size: int | None) -> None:
    """Run network, loss and metrics once on the support and query set of a task.

    Raises:
        UserError: the piece at fault, what it does, and what it should do.

    """
    task = trial.task(0)
    for part, examples in (("support", task.support), ("query", task.query)):
        with trial.same_random_state(), torch.enable_grad():
            predictions = _predict(trial, part, examples, output_size)
            check_loss(trial, predictions, examples)
            _check_metrics(trial, predictions.detach(), examples)


def _predict(trial: Trial, part: str, examples: Examples, output_size: int | None) -> Tensor:
    model, inputs = trial.model, examples.inputs
    returned: list[object] = []
    handle = None
    if not isinstance(model, torch.jit.ScriptModule):  # takes no hook, and is refused below
        handle = model.register_forward_hook(lambda *call: returned.append(call[-1]))
    theta = {n: p.detach().requires_grad_() for n, p in trial.theta.items()}
    try:
        given = map_inputs(torch.clone, inputs)
        predictions: object = trial.objective.predict_support(theta, given)
    except UserError:
        raise
    except Exception as error:
        if returned and not isinstance(returned[-1], Tensor):
            raise _no_tensor(model, returned[-1]) from error
        if _computes_without_autocast(trial, theta, map_inputs(torch.clone, inputs)):
            raise _fails_in_half(model, error) from error
        raise _fails(trial, part, inputs, error) from error
    finally:
        if handle is not None:
            handle.remove()
    name = type(model).__name__
    if not isinstance(predictions, Tensor):
        raise _no_tensor(model, predictions)
    if predictions.is_complex():
        raise UserError(f"The model {name} returns complex values. Return real ones.")
    raw = returned[-1] if returned else None
    if isinstance(raw, Tensor):
        _check_output_size(name, raw, output_size)
    if not predictions.ndim or len(predictions) != len(examples.targets):
        raise UserError(
            f"The model {name} gives predictions of shape {list(predictions.shape)} for "
            f"{len(examples.targets)} {part} examples. Their first dimension must be the examples."
        )
    if not bool(torch.isfinite(predictions).all()):
        raise UserError(
            f"The model {name} returns nan or infinite values at its initial weights. Check its "
            "initialisation and the scale of the inputs."
        )
    return predictions


def _check_output_size(name: str, raw: Tensor, output_size: int | None) -> None:
    if output_size is None or raw.ndim < 2 or output_size in (raw.shape[1], raw.shape[-1]):
        return
    raise UserError(
        f"The model {name} returns {list(raw.shape[1:])} for one input, but the task's "
        f"output_size is {output_size}. Give its last layer {output_size} outputs, or correct the "
        "task."
    )


def check_loss(trial: Trial, predictions: Tensor, examples: Examples) -> None:
    """Refuse a loss that broadcasts, or that is not a finite scalar of the predictions."""
    name = name_of(trial.objective.loss)
    shapes = f"predictions {describe(predictions)} and targets {describe(examples.targets)}"
    ways = predictions.shape[1] if predictions.ndim > 1 else 0
    targets = examples.targets
    try:
        value: object = call_without_broadcasting(
            trial.objective.loss, predictions, targets, f"The loss {name}"
        )
    except UserError:
        raise
    except Exception as error:
        hint = "Make model, task and loss agree on shapes and dtypes"
        if not targets.is_floating_point() and ways and int(targets.max()) >= ways:
            hint = f"Labels count from 0 to {ways - 1}: the label {int(targets.max())} is too large"
        raise UserError(
            f"The loss {name} fails on {shapes}: {first_line(error)}. {hint}."
        ) from error
    if not isinstance(value, Tensor) or value.ndim:
        found = describe(value)
        raise UserError(
            f"The loss {name} returns {found} for {shapes}. It must return a scalar tensor, the "
            "mean over the examples (for example by reduction='mean')."
        )
    if not bool(torch.isfinite(value)):
        raise UserError(
            f"The loss {name} is {value.item()} at the initial weights, for {shapes}. Check its "
            "logarithms, square roots and divisions, and the scale of the targets."
        )
    if (
        not value.requires_grad
        or not torch.autograd.grad(value, predictions, retain_graph=True, allow_unused=True)[0]
        is not None
    ):
        raise UserError(
            f"The loss {name} has no gradient with respect to the predictions. Compute it from "
            "them by tensor operations, without detach(), item(), argmax or numpy, and without "
            "torch.no_grad() in the model's forward."
        )


def _check_metrics(trial: Trial, predictions: Tensor, examples: Examples) -> None:
    for name, metric in trial.objective.metrics.items():
        try:
            value: object = call_without_broadcasting(
                metric, predictions, examples.targets, f"The metric {name}"
            )
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"The metric {name} fails on predictions {describe(predictions)} and targets "
                f"{describe(examples.targets)}: {first_line(error)}. Make it fit the task."
            ) from error
        if not isinstance(value, Tensor) or value.ndim or not value.is_floating_point():
            raise UserError(
                f"The metric {name} returns {describe(value)}. A metric must return a scalar "
                "float tensor, for example by .to(predictions.dtype).mean()."
            )


def _computes_without_autocast(trial: Trial, theta: dict[str, Tensor], inputs: Inputs) -> bool:
    kind = next(iter(theta.values())).device.type
    if not torch.is_autocast_enabled(kind):
        return False
    try:
        with torch.autocast(kind, enabled=False):
            trial.objective.predict_support(theta, inputs)
    except Exception:
        return False
    return True


def _fails_in_half(model: nn.Module, error: Exception) -> UserError:
    return UserError(
        f"The model {type(model).__name__} fails{_inside(error, model)} in half precision, but not "
        f"in float32: {first_line(error)}. Set device.precision=32-true, or compute that part "
        "within torch.autocast(enabled=False)."
    )


def _inside(error: Exception, model: nn.Module) -> str:
    layer = layer_of(error, model)
    return f" in {layer}" if layer and not layer.startswith("itself") else ""


def _fails(trial: Trial, part: str, inputs: Inputs, error: Exception) -> UserError:
    model, name = trial.model, type(trial.model).__name__
    hint = "Correct the model, or the task's input_shape"
    floats = {t.dtype for t in tensors_of(inputs) if t.is_floating_point()}
    types = {p.dtype for p in model.parameters() if p.dtype not in floats}
    if "stateless API" in str(error):
        hint = "Use the network that it wraps (its .module, or the one before scripting)"
    if types and floats and "dtype" in str(error):
        hint = (
            f"Its parameters are {names_of(types)}, but the inputs {names_of(floats)}: keep the "
            "model in float32, or set device.precision=64-true for float64"
        )
    return UserError(
        f"The model {name} fails{_inside(error, model)} on a task's {part} inputs {_list(inputs)}: "
        f"{first_line(error)}. {hint}."
    )


def _no_tensor(model: nn.Module, returned: object) -> UserError:
    found = describe(returned)
    return UserError(
        f"The model {type(model).__name__} returns {found}, but a network must return one tensor "
        "of predictions. Wrap it in a module whose forward returns only that part: "
        "self.network(x)[0], or self.network(x).logits."
    )


def module_of(function: object) -> nn.Module | None:
    """Find the module that a function is, or is a method of."""
    while isinstance(function, functools.partial):
        function = function.func
    for owner in (function, getattr(function, "__self__", None)):
        if isinstance(owner, nn.Module):
            return owner
    return None


def name_of(function: object) -> str:
    """Name a function for a message."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__qualname__", type(function).__name__))


def _list(inputs: Inputs) -> str:
    if isinstance(inputs, Tensor):
        return describe(inputs)
    return ", ".join(f"{name} {describe(tensor)}" for name, tensor in inputs.items())
