"""Labels by which a run is found at W&B: name, group and tags."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from metaloop.errors import UserError
from metaloop.folders.user_path import user_path


def label(content: dict[str, object], **labels: object) -> None:
    """Set labels that the config does not set already; no-op if the run does not log to W&B."""
    for key, value in labels.items():
        _wandb_node(content).setdefault(key, value)


def label_job(content: dict[str, object], sweep: str, varied: Sequence[str]) -> None:
    """Group the jobs of a sweep; append the varied values to each job's name."""
    node = _wandb_node(content)
    if node.get("name"):
        node["name"] = " ".join([str(node["name"]), *varied])
    label(content, group=sweep, name=" ".join(varied))


def read_environment_labels() -> Mapping[str, object]:
    """Read W&B's own environment variables, as arguments of its logger.

    WANDB_DIR is ignored if an agent of a W&B sweep has set it, to its own working directory.

    Raises:
        UserError: if a config would read one as an interpolation.

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
    """Return W&B's node in a run's config; an unused dict if there is none."""
    logger = content["logger"]
    node = logger.get("wandb") if isinstance(logger, dict) else None
    return node if isinstance(node, dict) else {}
