"""metaloop-train: compose a run, write its folder and execute it, also as a job of a sweep."""

import os
import secrets
from dataclasses import dataclass, fields

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from metaloop.cli.execute import Work, execute
from metaloop.cli.hydra_app import is_multirun, run_hydra
from metaloop.cli.sweeps.labels import label, read_environment_labels
from metaloop.errors import UserError
from metaloop.folders.sweep_folder import SweepFolder
from metaloop.folders.user_path import user_path
from metaloop.process.fast_import import fast_imports
from metaloop.process.slurm_requeue import NO_REQUEUE
from metaloop.process.terminal import survive_lost_output
from metaloop.run.config.read import FORMAT, plain
from metaloop.run.config.write import write_run


@dataclass(frozen=True, kw_only=True)
class Request:
    """The command's own keys; all others describe the run."""

    output_dir: str | int
    compose_only: bool
    check_only: bool
    objective: str | None


def main() -> None:
    """Run the command."""
    survive_lost_output()
    os.environ[NO_REQUEUE] = "1"  # a job that starts this command again would make a new run
    run_hydra("train", _job)


def _job(config: DictConfig) -> Work | float | None:
    with fast_imports():  # here: --help and unknown keys need no torch
        from metaloop.run.checkpoints.initial_weights import find_initial_weights
        from metaloop.run.config.construct import section
        from metaloop.run.config.misfits import build_and_try
        from metaloop.run.config.run_config import RunConfig

    values = plain(config)
    asked = section(Request, {f.name: values.pop(f.name) for f in fields(Request)}, "")
    content = {"format": FORMAT, "command": "train", "run_id": _run_id(), **resolve_paths(values)}
    if content["init_from"] is not None:
        find_initial_weights(str(content["init_from"]))
    hydra_config = HydraConfig.get()
    choices = hydra_config.runtime.choices
    name = f"{choices['task']}_{choices['algorithm']}".replace("/", "-")
    overrides = list(hydra_config.overrides.task)
    label(content, **read_environment_labels())
    label(content, tags=[choices["task"], choices["algorithm"]])
    if is_multirun():
        from metaloop.cli.sweeps.job import Composed, check_job, compose_job, train_job

        work = check_job if asked.check_only else compose_job if asked.compose_only else train_job
        sweep = SweepFolder(hydra_config.sweep.dir)
        return work(sweep, Composed(content, name, overrides, asked.objective))
    if any(o.startswith("objective=") for o in overrides):
        raise UserError(
            f"objective={asked.objective} has no effect: it compares the jobs of a sweep. Leave it "
            "out, or add -m."
        )
    if asked.check_only:
        from metaloop.run.check import check_run

        check_run(RunConfig.of(content))
        return None
    pieces = build_and_try(RunConfig.of(content))
    device = pieces.config.device
    if not asked.compose_only:
        device.require()
        if device.nodes > 1:
            raise UserError(
                f"device.nodes={device.nodes}: several machines are started by their cluster. Add "
                "compose_only=true and execute the folder on each, by srun or torchrun."
            )
    root = user_path(str(asked.output_dir))
    folder = write_run(content, overrides, root, name)
    return execute(Work(folder, device, pieces), compose_only=asked.compose_only)


def _run_id() -> str:
    """Name the run at W&B; for a job of a W&B sweep its agent has chosen the name."""
    own = secrets.token_hex(4)
    return own if is_multirun() else os.environ.get("WANDB_RUN_ID") or own


def resolve_paths(values: dict[str, object]) -> dict[str, object]:
    """Make those paths absolute that are read again later, from any working directory."""
    task, init_from = values["task"], values["init_from"]
    if isinstance(init_from, str):
        init_from = str(user_path(init_from).resolve())
    return {**values, "task": _resolve_data(task), "init_from": init_from}


def _resolve_data(node: object) -> object:
    """Resolve data_dir in a task's node, and in the nodes of its sources."""
    if not isinstance(node, dict):
        return node
    resolved = {key: _resolve_data(value) for key, value in node.items()}
    if isinstance(place := node.get("data_dir"), str):
        resolved["data_dir"] = str(user_path(place).resolve())
    return resolved
