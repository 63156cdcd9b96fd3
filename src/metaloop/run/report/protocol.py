"""The protocol of a run, as its config says, and its environment."""

from collections.abc import Mapping, Sequence
from typing import cast

from metaloop.folders.reading import parse_json, read_text
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.keys import leaves
from metaloop.run.config.title import name_of
from metaloop.run.evaluation.results import interval_of
from metaloop.training.estimate import INTERVALS, Interval

Config = Mapping[str, object]
Pairs = dict[str, object]
REMEDY = "Delete it: a run that is resumed writes it again."


def protocol_of(config: Config) -> Pairs:
    """Describe how the learner is trained and evaluated."""
    data, training, judged = (
        cast(Config, config[section]) for section in ("data", "training", "evaluation")
    )
    tasks = data.get("meta_batch_size")
    split = f"{judged.get('episodes')} {judged.get('split')} episodes"
    return {
        "task": _piece(config["task"]),
        "algorithm": _piece(config["algorithm"]),
        "network": _piece(config["model"]),
        "meta-optimizer": _piece(config["optimizer"]),
        "training": f"{training.get('max_steps')} meta-steps of {tasks} tasks",
        "seed": config.get("seed"),
        "initial weights": config.get("init_from") or "random",
        "norms": f"{config.get('norm_mode')}, adapted: {config.get('norm_adapts')}",
        "evaluation": f"{split}, checkpoint {judged.get('checkpoint')}",
        "interval": explain_interval(interval_of(judged)),
    }


def explain_interval(interval: object) -> str:
    """Name a kind of 95 % confidence interval, and say what it is over."""
    return f"95 %, {interval}: {INTERVALS.get(cast(Interval, interval), '')}".removesuffix(": ")


def environment_of(run: RunFolder) -> Pairs:
    """Describe what a run was trained on; empty if the run never began."""
    if (text := read_text(run.environment, REMEDY)) is None:
        return {}
    found = parse_json(text, run.environment, Pairs, REMEDY)
    versions, gpus, git = (found.get(name) for name in ("versions", "gpus", "git"))
    cores = f"{found.get('cpu')} ({found.get('cpu_cores')} cores, {found.get('threads')} threads)"
    return {
        "versions": describe_versions(versions),
        "commit": _commit(git),
        "platform": found.get("platform"),
        "processor": cores,
        "accelerators": ", ".join(map(str, gpus)) if isinstance(gpus, list) and gpus else "none",
    }


def describe_versions(versions: object) -> str:
    """List packages with their versions."""
    known = versions if isinstance(versions, Mapping) else {}
    return ", ".join(f"{name} {version}" for name, version in known.items()) or "unknown"


def agree(found: Sequence[Pairs]) -> Pairs:
    """Merge the values of several runs: keep those that agree, mark the others as differing."""
    names = dict.fromkeys(name for pairs in found for name in pairs)
    return {name: _common([pairs.get(name) for pairs in found]) for name in names}


def _common(values: Sequence[object]) -> object:
    return values[0] if all(value == values[0] for value in values) else "differs from job to job"


def _commit(git: object) -> str:
    if not isinstance(git, Mapping):
        return "unknown: not started in a git repository"
    return f"{git.get('commit')}{' with changes' if git.get('is_modified') else ''}"


def _piece(node: object) -> str:
    """Name the class or function of a section of the config, with its arguments."""
    given = leaves(cast(Config, node))
    values = (f"{key}={value}" for key, value in given if key != "_target_" and value is not None)
    arguments = ", ".join(values)
    return f"{name_of(node)} ({arguments})" if arguments else name_of(node)
