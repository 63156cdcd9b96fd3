"""A learner and the evaluation that tested it, as their folders say."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.identity import identifying
from metaloop.run.config.keys import leaves
from metaloop.run.config.read import load_config
from metaloop.run.sweeps.sweep_table import is_sweep, runs_in
from metaloop.user_text import say

Config = Mapping[str, object]
# how learners are judged, on whatever episodes
JUDGEMENT = ("evaluation.checkpoint", "evaluation.ensemble_size", "evaluation.norm_modes")
# parts of a task's keys: of training images alone, and where images are held
OF_NO_TEST = {"augmentation", "storage"}


class EvaluatedRun(NamedTuple):
    """A run's learner and the evaluation that tested it, with the config of each.

    `config` is the run's own where the evaluation is still to be made.
    """

    run: RunFolder
    folder: RunFolder
    trained: Config
    config: Config

    @property
    def seed(self) -> int:
        """The seed of the training."""
        return cast(int, self.trained["seed"])

    @property
    def episode_seed(self) -> int:
        """The seed of the test episodes."""
        return cast(int, self.config["seed"])

    @property
    def interval(self) -> str:
        """What an interval over the test episodes speaks of: closed, or open to other data."""
        return str(cast(Config, self.config["evaluation"]).get("interval", "closed"))

    def episode_keys(self) -> dict[str, object]:
        """The keys that the test episodes depend on, with their values."""
        keys = identifying(self.config) | data_of(self.config)
        keys["evaluation.interval"] = self.interval  # which older configs do not say
        return {
            key: value
            for key, value in keys.items()
            if key.split(".")[0] in ("seed", "task", "evaluation")
            and key not in JUDGEMENT
            and not OF_NO_TEST.intersection(key.split("."))
        }


def data_of(config: Config) -> dict[str, object]:
    """The folders with data that a config names, by their dotted keys."""
    return {k: v for k, v in leaves(config) if k.endswith("data_dir") and v is not None}


def find_evaluated_run(folder: RunFolder, evaluation: str) -> EvaluatedRun:
    """Read the configs of a run and of its evaluation of this name, or those of an evaluation.

    Raises:
        UserError: it is an adaptation, or cannot be read.

    """
    config = load_config(folder)
    if config["command"] == "adapt":
        raise UserError(
            f"{folder.path} is an adaptation, to one task. Name the run, or an evaluation of it."
        )
    if config["command"] == "evaluate":
        run = RunFolder.open((folder.path / str(config["run"])).resolve())
        return EvaluatedRun(run, folder, load_config(run), config)
    judged = RunFolder(folder.evaluations / evaluation)
    own = load_config(judged) if judged.config.is_file() else config
    return EvaluatedRun(folder, judged, config, own)


def find_evaluated_runs(folders: Sequence[Path], evaluation: str) -> list[EvaluatedRun]:
    """Find runs and evaluations, and the completed runs of sweeps, each once.

    What is left out of a sweep is said.

    Raises:
        UserError: none is there.

    """
    found: dict[Path, EvaluatedRun] = {}
    for folder in folders:
        of_sweep = is_sweep(folder)
        for run in runs_in(folder) if of_sweep else [RunFolder.open(folder)]:
            try:
                if of_sweep and (state := run.state()) != "completed":
                    raise UserError(state)
                one = find_evaluated_run(run, evaluation)
                found.setdefault(one.folder.path.resolve(), one)
            except UserError as error:
                if not of_sweep:
                    raise
                say(f"Left out: {run.path} ({error})")
    if not found:
        raise UserError("No run there has completed, so that there is nothing to compare yet.")
    return list(found.values())
