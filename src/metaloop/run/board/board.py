"""The rows of the board, made from the presets' published values and the records of runs."""

import fnmatch
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import yaml

from metaloop.errors import UserError
from metaloop.folders.atomic_write import write_json, write_text
from metaloop.folders.reading import parse_yaml, read_text
from metaloop.run.board.page import page
from metaloop.run.board.record import Record, read_record
from metaloop.run.board.verdict import RULE, Ours, judge
from metaloop.run.config.identity import differences
from metaloop.run.evaluation.results import ours_beside

REASONS = "reasons.yaml"  # by verdict and a pattern of presets' names: why
Values = Mapping[str, object]


class Board(NamedTuple):
    """A folder with records, and the presets whose published values stand on it."""

    place: Path
    published: Mapping[str, Sequence[Values]]

    def record_of(self, preset: str, seed: int) -> Path:
        """Where the record of a preset's run lies."""
        return self.place / preset / str(seed)

    def records(self, preset: str) -> dict[int, Record]:
        """The records of a preset, by their seed."""
        found = (self.place / preset).glob("*/config.yaml")
        seeds = sorted(int(path.parent.name) for path in found if path.parent.name.isdigit())
        return {seed: read_record(self.record_of(preset, seed)) for seed in seeds}

    def rows(self) -> list[dict[str, object]]:
        """One row a published value."""
        reasons = _read_reasons(self.place / REASONS)
        rows = []
        for preset, values in self.published.items():
            records = self.records(preset)
            for value in values:
                row = _row(preset, value, records)
                named = reasons.get(str(row["verdict"]), {})
                found = (why for name, why in named.items() if fnmatch.fnmatch(preset, name))
                rows.append({**row, "reason": next(found, None)})
        return rows

    def write(self) -> None:
        """Write board.json and board.md."""
        self.place.mkdir(parents=True, exist_ok=True)
        rows = self.rows()
        write_json(self.place / "board.json", {"rule": RULE, "rows": rows})
        write_text(self.place / "board.md", page(RULE, rows))

    def check(self) -> None:
        """Refuse a board that says other than its records.

        Raises:
            UserError: a figure that no record has, another one than its record's, or none of a
                record.

        """
        rows = self.rows()
        text = read_text(self.place / "board.json", "Write it again.") or '{"rows": []}'
        written = {_key(row): row for row in json.loads(text)["rows"]}
        for row in json.loads(json.dumps(rows)):
            if (said := written.pop(_key(row), None)) != row:
                raise UserError(
                    f"board.json says of {' '.join(_key(row))} {said and said['ours']}, and its "
                    f"records {row['ours']} ({row['verdict']}). Write it from its records: "
                    "metaloop-reproduce --write."
                )
        if written:
            raise UserError(
                f"board.json has rows of no preset: {', '.join(map(' '.join, written))}."
            )
        if read_text(self.place / "board.md", "Write it again.") != page(RULE, rows):
            raise UserError("board.md is not made of these records: metaloop-reproduce --write.")


def require_same_preset(record: Record, composed: Values, preset: str) -> None:
    """Refuse a record whose run was of other numbers than the preset is now.

    Raises:
        UserError: a key that both have has another value; which, and how to go on.

    """
    both = differences(record.config, composed)
    changed = [f"{k} {a} -> {b}" for k, (a, b) in both.items() if None not in (a, b)]
    if changed:
        raise UserError(
            f"The preset {preset} has changed since its record: {', '.join(changed)}. Run it "
            f"again: metaloop-reproduce {preset}."
        )


def _row(preset: str, value: Values, records: Mapping[int, Record]) -> dict[str, object]:
    """What the records say of one published value."""
    measured = {
        seed: cast(dict[str, float | None], beside["ours"])
        for seed, record in records.items()
        for evaluation in record.evaluations
        for beside in ours_beside([value], evaluation.results, evaluation.config)
    }
    ours = Ours([m["mean"] for m in measured.values()], [m["ci95"] for m in measured.values()])
    name = str(value["metric"]).partition("@")[0]
    if measured:
        verdict = judge(value, ours, records[next(iter(measured))].modes.get(name))
    else:
        verdict = "running" if records else "not run"
    return {
        "preset": preset,
        "metric": value["metric"],
        "inner_step": value["inner_step"],
        "published": {key: value.get(key) for key in ("mean", "ci95", "source", "note")},
        "ours": None
        if not measured
        else {
            "mean": ours.mean,
            "ci95_over_seeds": ours.over_seeds,
            "seeds": {str(seed): found for seed, found in measured.items()},
        },
        "verdict": verdict,
        "command": _command(preset, records),
        "runs": {str(seed): _of_run(record) for seed, record in records.items()},
    }


def _command(preset: str, records: Mapping[int, Record]) -> str:
    """What brings the recorded runs about; compiled, where they were."""
    devices = (cast(Values, record.config["device"]) for record in records.values())
    compiled = " device.compile=true" if any(d["compile"] is True for d in devices) else ""
    return f"metaloop-reproduce {preset} --seeds {max(records, default=0) + 1}{compiled}"


def _of_run(record: Record) -> dict[str, object]:
    """How far a run is, and on what it ran."""
    machine = {key: record.environment.get(key) for key in ("cpu", "cpu_cores", "gpus", "platform")}
    git = cast(Values | None, record.environment.get("git")) or {}
    return {
        "meta_steps": record.steps,
        "meta_steps_asked": record.steps_asked,
        "commit": git.get("commit"),
        "is_modified": git.get("is_modified"),
        "machine": machine,
        "versions": record.environment.get("versions"),
    }


def _key(row: Values) -> tuple[str, ...]:
    source = cast(Values, row["published"])["source"]
    return tuple(str(part) for part in (row["preset"], row["metric"], row["inner_step"], source))


def _read_reasons(path: Path) -> dict[str, dict[str, str]]:
    remedy = "Correct it: verdicts, and in each patterns of presets' names with a reason."
    text = read_text(path, remedy)
    if text is None:
        return {}
    return parse_yaml(text, path, yaml.safe_load, dict, remedy)
