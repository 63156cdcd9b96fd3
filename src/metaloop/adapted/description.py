"""Describe an exported network's inputs and outputs, as JSON and as text."""

import textwrap
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import cast

from torch import Tensor

from metaloop.episode import Inputs
from metaloop.inner_loop import NormModeName
from metaloop.tasks import Task
from metaloop.user_text import readable

Description = Mapping[str, object]
# the file in a .pt2, and the entry of an ONNX file's metadata
DESCRIPTION = "description.json"
INPUT, OUTPUT = "x", "outputs"  # their names in ONNX


def describe(
    task: Task,
    example: Inputs,
    outputs: Description,
    *,
    run: str | None,
    norm_mode: NormModeName,
    steps: int,
) -> Description:
    """Describe a network that was trained on a family of tasks.

    Args:
        task: describes how examples become inputs.
        example: example inputs, [rows, *X], or several by name.
        outputs: description of the outputs; see `describe_outputs`.
        run: name of the training run.
        norm_mode: the norm mode whose statistics are part of the network.
        steps: number of inner steps of its adaptation.

    """
    named = {INPUT: example} if isinstance(example, Tensor) else example
    tensors = [
        {"name": name, "shape": ["rows", *tensor.shape[1:]], "type": _type_of(tensor)}
        for name, tensor in named.items()
    ]
    what: Description = tensors[0] if isinstance(example, Tensor) else {"tensors": tensors}
    return {
        "inputs": {**what, **task.describe_inputs()},
        "outputs": {"name": OUTPUT, **outputs},
        "run": run,
        "metaloop": version("metaloop"),
        "norm_mode": norm_mode,
        "inner_steps": steps,
    }


def describe_outputs(task: Task, classes: Sequence[str] | None) -> Description:
    """Describe outputs: probabilities of the classes, in this order, or regression values."""
    if classes is not None:
        return {"kind": "probabilities", "classes": list(classes)}
    return {"kind": "numbers", "names": list(task.target_names)}


def in_words(description: Description) -> str:
    """Turn a description into text."""
    inputs, outputs = (cast(Description, description[key]) for key in ("inputs", "outputs"))
    tensors = cast(Sequence[Description], inputs.get("tensors", [inputs]))
    lines = [
        f"{' '.join(map(_of_tensor, tensors))} To make a row:",
        *(f"- {step}" for step in cast(Sequence[str], inputs["steps"])),
        "",
        *_of_outputs(outputs),
        "",
        f"Made by metaloop {description['metaloop']} from the run {description['run']}, "
        f"norm_mode={description['norm_mode']}, adapted in {description['inner_steps']} inner "
        f"steps. The same description as JSON is in {DESCRIPTION}: an extra file of the .pt2, and "
        "an entry of the ONNX file's metadata.",
    ]
    wrapped = (
        textwrap.fill(line, 100, subsequent_indent="  " * line.startswith("- ")) for line in lines
    )
    return readable("\n".join(wrapped)) + "\n"


def _type_of(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _of_tensor(tensor: Description) -> str:
    shape = ", ".join(map(str, cast(Sequence[object], tensor["shape"])))
    return f"Input `{tensor['name']}`: {tensor['type']} [{shape}], any number of rows."


def _of_outputs(outputs: Description) -> list[str]:
    row = f"Output `{OUTPUT}`: a row of"
    if outputs["kind"] == "logits":
        return [f"{row} logits; their softmax gives class probabilities."]
    has_classes = outputs["kind"] == "probabilities"
    names = cast(Sequence[str], outputs["classes" if has_classes else "names"])
    what = "probabilities of the classes" if has_classes else "values"
    if not names:
        return [f"{row} {what}."]
    return [f"{row} {what}, in this order:", *(f"- {name}" for name in names)]
