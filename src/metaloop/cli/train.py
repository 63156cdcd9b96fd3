"""metaloop-train: compose a run, write its folder, execute it."""

import secrets
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
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
    device = build(content).device
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
    folder = write_run(content, list(hydra_config.overrides.task), place, name)
    execute(folder, device.processes_here(), compose_only=compose_only, is_job=is_multirun())


def anchored(values: dict[str, object]) -> dict[str, object]:
    """Make paths absolute that are read again later, maybe from elsewhere."""
    task, init_from = values["task"], values["init_from"]
    if isinstance(task, dict) and isinstance(task.get("data_dir"), str):
        task = {**task, "data_dir": str(Path(task["data_dir"]).expanduser().resolve())}
    if isinstance(init_from, str):
        init_from = str(Path(init_from).expanduser().resolve())
    return {**values, "task": task, "init_from": init_from}
