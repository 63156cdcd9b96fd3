"""metaloop-train: compose a run, write its folder, execute it."""

import secrets
import sys
from pathlib import Path

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from metaloop.cli.execute import execute
from metaloop.cli.hydra_app import is_multirun, run_hydra
from metaloop.errors import UserError
from metaloop.run.write import write_run


def main() -> None:
    """Run the command."""
    run_hydra("train", _job)


def _job(config: DictConfig) -> None:
    from metaloop.run.build import build, plain  # here: --help and unknown keys need no torch
    from metaloop.run.weights import find_initial_weights

    values = plain(config)
    root, compose_only = str(values.pop("output_dir")), bool(values.pop("compose_only"))
    content = {"command": "train", "run_id": secrets.token_hex(4), **anchored(values)}
    pieces = build(content)
    device = pieces.device
    if isinstance(content["task"], dict):
        content["task"] |= pieces.task.found
    if content["init_from"] is not None:
        find_initial_weights(str(content["init_from"]))
    if not compose_only:
        device.require()
        if device.nodes > 1:
            raise UserError(
                f"device.nodes={device.nodes}: several machines are started by their cluster. Add "
                "compose_only=true and execute the folder on each, by srun or torchrun."
            )
    hydra_config = HydraConfig.get()
    choices = hydra_config.runtime.choices
    name = f"{choices['task']}_{choices['algorithm']}".replace("/", "-")
    place = hydra_config.sweep.dir if is_multirun() else root
    _label(content, hydra_config, place)
    folder = write_run(content, list(hydra_config.overrides.task), place, name)
    execute(folder, device.processes_here(), compose_only=compose_only, is_job=is_multirun())


def _label(content: dict[str, object], hydra_config: HydraConf, place: str) -> None:
    """Tell W&B task and algorithm, and of a sweep's job which sweep it is of and what varied."""
    logger = content["logger"]
    node = logger.get("wandb") if isinstance(logger, dict) else None
    if not isinstance(node, dict):
        return
    choices = hydra_config.runtime.choices
    node.setdefault("tags", [choices["task"], choices["algorithm"]])
    if is_multirun():
        node.setdefault("group", Path(place).name)
        node.setdefault("name", " ".join(_varied(list(hydra_config.overrides.task))))


def _varied(overrides: list[str]) -> list[str]:
    """Those of a job's overrides that the command line gives several values, or a sweeper chose."""
    parser = OverridesParser.create()
    given = parser.parse_overrides([a for a in sys.argv[1:] if "=" in a and a[0] != "-"])
    fixed = {override.key_or_group for override in given if not override.is_sweep_override()}
    return [o for o in overrides if o.lstrip("+~").partition("=")[0] not in fixed]


def anchored(values: dict[str, object]) -> dict[str, object]:
    """Make paths absolute that are read again later, maybe from elsewhere."""
    task, init_from = values["task"], values["init_from"]
    if isinstance(task, dict) and isinstance(task.get("data_dir"), str):
        task = {**task, "data_dir": str(Path(task["data_dir"]).expanduser().resolve())}
    if isinstance(init_from, str):
        init_from = str(Path(init_from).expanduser().resolve())
    return {**values, "task": task, "init_from": init_from}
