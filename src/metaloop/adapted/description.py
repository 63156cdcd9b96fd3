"""What an exported network takes and gives, for programs without metaloop: as JSON and in words."""

import textwrap
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import cast

from torch import Tensor

from metaloop.inner_loop import NormModeName
from metaloop.tasks import Task
from metaloop.user_text import readable

Description = Mapping[str, object]
# the file in a .pt2, and the entry of an ONNX file's metadata
DESCRIPTION = "description.json"
INPUT, OUTPUT = "x", "outputs"  # how ONNX names them


def describe(
    task: Task,
    example: Tensor,
    outputs: Description,
    *,
    run: str | None,
    norm_mode: NormModeName,
    steps: int,
) -> Description:
    """Describe a network that was made for a family of tasks.

    Args:
        task: says how examples become inputs.
        example: some inputs, [rows, *X].
        outputs: what they are; see `describe_outputs`.
        run: the training run's name.
        norm_mode: whose statistics are part of the network.
        steps: the inner steps that it was adapted in.

    """
    kind = str(example.dtype).removeprefix("torch.")
    shape = ["rows", *example.shape[1:]]
    return {
        "inputs": {"name": INPUT, "shape": shape, "type": kind, **task.describe_inputs()},
        "outputs": {"name": OUTPUT, **outputs},
        "run": run,
        "metaloop": version("metaloop"),
        "norm_mode": norm_mode,
        "inner_steps": steps,
    }


def describe_outputs(task: Task, classes: Sequence[str] | None) -> Description:
    """Probabilities of the classes, in this order; or the numbers of a regression."""
    if classes is not None:
        return {"kind": "probabilities", "classes": list(classes)}
    return {"kind": "numbers", "names": list(task.target_names)}


def in_words(description: Description) -> str:
    """The same for a reader."""
    inputs, outputs = (cast(Description, description[key]) for key in ("inputs", "outputs"))
    shape = ", ".join(map(str, cast(Sequence[object], inputs["shape"])))
    lines = [
        f"Input `{INPUT}`: {inputs['type']} [{shape}], any number of rows. A row is made so:",
        *(f"- {step}" for step in cast(Sequence[str], inputs["steps"])),
        "",
        *_of_outputs(outputs),
        "",
        f"Made by metaloop {description['metaloop']} from the run {description['run']}, "
        f"norm_mode={description['norm_mode']}, adapted in {description['inner_steps']} inner "
        f"steps. Machines read the same in {DESCRIPTION}: an extra file of the .pt2, and the entry "
        "of that name in the ONNX file's metadata.",
    ]
    wrapped = (
        textwrap.fill(line, 100, subsequent_indent="  " * line.startswith("- ")) for line in lines
    )
    return readable("\n".join(wrapped)) + "\n"


def _of_outputs(outputs: Description) -> list[str]:
    row = f"Output `{OUTPUT}`: a row of"
    if outputs["kind"] == "logits":
        return [f"{row} logits: their softmax are probabilities of classes."]
    is_of_classes = outputs["kind"] == "probabilities"
    names = cast(Sequence[str], outputs["classes" if is_of_classes else "names"])
    what = "probabilities of the classes" if is_of_classes else "numbers"
    if not names:
        return [f"{row} {what}."]
    return [f"{row} {what}, in this order:", *(f"- {name}" for name in names)]
