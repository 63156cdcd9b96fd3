"""metaloop-train: compose a run, write its folder, execute it."""

import secrets

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from metaloop.cli.execute import become_worker, run_worker
from metaloop.cli.hydra_app import is_multirun, run_hydra
from metaloop.run.write import write_run


def main() -> None:
    """Run the command."""
    run_hydra("train", _job)


def _job(config: DictConfig) -> None:
    from metaloop.run.build import build, plain  # here: --help and unknown keys need no torch

    values = plain(config)
    root, compose_only = str(values.pop("output_dir")), bool(values.pop("compose_only"))
    content = {"command": "train", "run_id": secrets.token_hex(4), **values}
    device = build(content).device
    if not compose_only:
        device.require()
    hydra_config = HydraConfig.get()
    choices = hydra_config.runtime.choices
    name = f"{choices['task']}_{choices['algorithm']}".replace("/", "-")
    folder = write_run(
        content,
        list(hydra_config.overrides.task),
        hydra_config.sweep.dir if is_multirun() else root,
        name,
    )
    if compose_only:
        print(f"Composed {folder.path}. To execute it:\n  python -m metaloop.run {folder.path}")
    elif is_multirun():
        run_worker(folder, device.processes_here())
    else:
        become_worker(folder, device.processes_here())
