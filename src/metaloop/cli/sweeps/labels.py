"""What W&B is told of a run beside its config: how it is found among others."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from metaloop.errors import UserError
from metaloop.folders.user_path import user_path


def label(content: dict[str, object], **labels: object) -> None:
    """Set W&B's labels, where the run logs there and its config does not set them already."""
    for key, value in labels.items():
        _wandb_node(content).setdefault(key, value)


def label_job(content: dict[str, object], sweep: str, varied: Sequence[str]) -> None:
    """Group the jobs of a sweep, and let each one's name say what varies: after a name of all."""
    node = _wandb_node(content)
    if node.get("name"):
        node["name"] = " ".join([str(node["name"]), *varied])
    label(content, group=sweep, name=" ".join(varied))


def labels_of_environment() -> Mapping[str, object]:
    """What W&B's own environment variables say, in the words of its logger.

    An agent of a W&B sweep sets WANDB_DIR to where it runs: that is nobody's wish.

    Raises:
        UserError: one that a config would read as an interpolation.

    """
    for name in ("WANDB_NAME", "WANDB_RUN_GROUP", "WANDB_TAGS", "WANDB_DIR"):
        if "${" in os.environ.get(name, ""):
            raise UserError(
                f"{name}={os.environ[name]}: ${{ begins an interpolation. Leave it out."
            )
    given = {
        "name": os.environ.get("WANDB_NAME"),
        "group": os.environ.get("WANDB_RUN_GROUP"),
        "tags": [tag for tag in os.environ.get("WANDB_TAGS", "").split(",") if tag],
        "save_dir": os.environ.get("WANDB_DIR"),
    }
    if (place := given["save_dir"]) is not None:
        is_agents = "WANDB_SWEEP_ID" in os.environ and Path(str(place)) == Path.cwd()
        given["save_dir"] = None if is_agents else str(user_path(str(place)).resolve())
    return {name: value for name, value in given.items() if value}


def _wandb_node(content: dict[str, object]) -> dict[str, object]:
    """W&B's node in a run's config; where there is none, one that is nobody's."""
    logger = content["logger"]
    node = logger.get("wandb") if isinstance(logger, dict) else None
    return node if isinstance(node, dict) else {}
