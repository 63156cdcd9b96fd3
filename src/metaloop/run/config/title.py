"""The title of a run, for pages and pictures. Imports no torch, so that commands stay fast."""

from collections.abc import Mapping

from metaloop.folders.run_folder import RunFolder

Config = Mapping[str, object]


def title_of(*configs: Config) -> str:
    """Name runs by their algorithms and tasks."""
    algorithms, tasks = (
        dict.fromkeys(name_of(config[key]) for config in configs) for key in ("algorithm", "task")
    )
    return f"{', '.join(algorithms)} on {', '.join(tasks)}"


def title_of_run(config: Config, run: RunFolder) -> str:
    """Name a run by its algorithm, task and folder."""
    return f"{title_of(config)}, run {run.path.resolve().name}"


def name_of(node: object) -> str:
    """Name the class or function that a section of the config is made by."""
    target = node.get("_target_") if isinstance(node, Mapping) else None
    return str(target).rpartition(".")[2]
