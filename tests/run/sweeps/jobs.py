"""Jobs of a sweep as folders, whatever state they are in."""

from omegaconf import OmegaConf

from metaloop.folders.atomic_write import write_json
from metaloop.folders.run_folder import RunFolder


def job(
    root, name, overrides, state="completed", test=None, validations=(), **details
) -> RunFolder:
    folder = RunFolder.create(root, name)
    folder.config.write_text("{}")
    folder.overrides.write_text(OmegaConf.to_yaml(overrides))
    folder.write_status(state, **details)
    write_json(folder.best_modes, {"accuracy": "max", "mae": "min", "f1": None})
    rows = [f"{step},{value}" for step, value in enumerate(validations)]
    if rows:
        folder.metrics.write_text("\n".join(["step,val/accuracy", *rows]) + "\n")
    if test is not None:
        place = folder.evaluations / "test"
        place.mkdir(parents=True)
        values = {"accuracy": {"mean": [0.2, test], "ci95": [0.01, 0.02]}}
        write_json(place / "results.json", {"episodes": 600, "metrics": values})
    return folder
