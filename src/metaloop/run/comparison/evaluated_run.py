"""A run and the evaluation that tested its learner, read from their folders."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.identity import identifying
from metaloop.run.config.keys import leaves
from metaloop.run.config.read import load_config, section_of
from metaloop.run.evaluation.results import interval_of
from metaloop.run.sweeps.sweep_table import is_sweep, runs_in
from metaloop.training.estimate import EpisodeInterval
from metaloop.user_text import say

Config = Mapping[str, object]
# keys of how learners are judged, whatever the episodes
JUDGEMENT = ("evaluation.checkpoint", "evaluation.ensemble_size", "evaluation.norm_modes")
# parts of keys of a task that do not change its test episodes
OF_NO_TEST = {"augmentation", "storage"}


class EvaluatedRun(NamedTuple):
    """A run's learner and the evaluation that tested it, with the config of each.

    `config` is the run's own if the evaluation does not exist yet.
    """

    run: RunFolder
    folder: RunFolder
    trained: Config
    config: Config

    @property
    def seed(self) -> int:
        """The seed of the training."""
        return _seed_of(self.trained)

    @property
    def episode_seed(self) -> int:
        """The seed of the test episodes."""
        return _seed_of(self.config)

    @property
    def interval(self) -> EpisodeInterval:
        """The kind of an interval over the test episodes: closed or open."""
        return interval_of(section_of(self.config, "evaluation"))

    def episode_keys(self) -> dict[str, object]:
        """Return the keys that the test episodes depend on, with their values."""
        keys = identifying(self.config) | data_of(self.config)
        keys["evaluation.interval"] = self.interval  # older configs lack it
        return {
            key: value
            for key, value in keys.items()
            if key.split(".")[0] in ("seed", "task", "evaluation")
            and key not in JUDGEMENT
            and not OF_NO_TEST.intersection(key.split("."))
        }


def _seed_of(config: Config) -> int:
    seed = config["seed"]
    assert isinstance(seed, int)
    return seed


def data_of(config: Config) -> dict[str, object]:
    """Return the folders of data that a config names, by their dotted keys."""
    return {k: v for k, v in leaves(config) if k.endswith("data_dir") and v is not None}


def find_evaluated_run(folder: RunFolder, evaluation: str) -> EvaluatedRun:
    """Read the configs of an evaluation and its run, given its folder, or the run's and its name.

    Raises:
        UserError: if it is an adaptation, or cannot be read.

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

    Print the runs that are left out of a sweep.

    Raises:
        UserError: if there are none.

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
