"""Make the board from the presets' published values and the records of runs."""

import fnmatch
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from metaloop.errors import UserError
from metaloop.folders.atomic_write import write_json, write_text
from metaloop.folders.reading import parse_yaml, read_text
from metaloop.run.board.page import page
from metaloop.run.board.record import Git, Record, read_record
from metaloop.run.board.row import Cited, Measured, RecordedRun, Row
from metaloop.run.board.verdict import RULE, OverSeeds, judge
from metaloop.run.config.identity import differences
from metaloop.run.config.published import Published
from metaloop.run.config.read import section_of
from metaloop.run.evaluation.results import add_ours

REASONS = "reasons.yaml"  # reasons by verdict and pattern of presets' names


class Board(NamedTuple):
    """A folder of records, and the published values by preset."""

    place: Path
    published: Mapping[str, Sequence[Published]]

    def record_of(self, preset: str, seed: int) -> Path:
        """Return the folder of the record of a preset's run."""
        return self.place / preset / str(seed)

    def records(self, preset: str) -> dict[int, Record]:
        """Read the records of a preset, by seed."""
        found = (self.place / preset).glob("*/config.yaml")
        seeds = sorted(int(path.parent.name) for path in found if path.parent.name.isdigit())
        return {seed: read_record(self.record_of(preset, seed)) for seed in seeds}

    def rows(self) -> list[Row]:
        """Make a row per published value."""
        reasons = _read_reasons(self.place / REASONS)
        rows = []
        for preset, values in self.published.items():
            records = self.records(preset)
            rows += [_make_row(preset, value, records, reasons) for value in values]
        return rows

    def write(self) -> None:
        """Write board.json and board.md."""
        self.place.mkdir(parents=True, exist_ok=True)
        rows = self.rows()
        write_json(self.place / "board.json", {"rule": RULE, "rows": rows})
        write_text(self.place / "board.md", page(RULE, rows))

    def check(self) -> None:
        """Refuse a board that differs from its records.

        Raises:
            UserError: if a value of the board is not in its record, or the other way round.

        """
        rows = self.rows()
        text = read_text(self.place / "board.json", "Write it again.") or '{"rows": []}'
        written = {_key(row): row for row in json.loads(text)["rows"]}
        for row in json.loads(json.dumps(rows)):
            if (said := written.pop(_key(row), None)) != row:
                raise UserError(
                    f"{' '.join(_key(row))} is {said and said['ours']} in board.json, and "
                    f"{row['ours']} ({row['verdict']}) in its records. Write the board from its "
                    "records: metaloop-reproduce --write."
                )
        if written:
            raise UserError(
                f"board.json has rows of no preset: {', '.join(map(' '.join, written))}."
            )
        if read_text(self.place / "board.md", "Write it again.") != page(RULE, rows):
            raise UserError("board.md differs from its records: metaloop-reproduce --write.")


def require_same_preset(record: Record, composed: Mapping[str, object], preset: str) -> None:
    """Refuse a record of a preset that has changed since.

    Raises:
        UserError: if a key of both has another value; it names the key.

    """
    both = differences(record.config, composed)
    changed = [f"{k} {a} -> {b}" for k, (a, b) in both.items() if None not in (a, b)]
    if changed:
        raise UserError(
            f"The preset {preset} has changed since its record: {', '.join(changed)}. Run it "
            f"again: metaloop-reproduce {preset}."
        )


def _make_row(
    preset: str,
    value: Published,
    records: Mapping[int, Record],
    reasons: Mapping[str, Mapping[str, str]],
) -> Row:
    """Compare a published value with the records."""
    measured = {
        seed: compared["ours"]
        for seed, record in records.items()
        for evaluation in record.evaluations
        for compared in add_ours([value], evaluation.results, evaluation.config)
    }
    ours = OverSeeds([m["mean"] for m in measured.values()], [m["ci95"] for m in measured.values()])
    if measured:
        modes = records[next(iter(measured))].modes
        verdict = judge(value, ours, modes.get(value["metric"].partition("@")[0]))
    else:
        verdict = "running" if records else "not run"
    why = (w for name, w in reasons.get(verdict, {}).items() if fnmatch.fnmatch(preset, name))
    seeds = {str(seed): found for seed, found in measured.items()}
    return Row(
        preset=preset,
        metric=value["metric"],
        inner_step=value["inner_step"],
        published=Cited(
            mean=value["mean"],
            ci95=value.get("ci95"),
            source=value["source"],
            note=value.get("note"),
        ),
        ours=Measured(mean=ours.mean, ci95_over_seeds=ours.half_width, seeds=seeds)
        if measured
        else None,
        verdict=verdict,
        command=_command(preset, records),
        runs={str(seed): _describe_run(record) for seed, record in records.items()},
        reason=next(why, None),
    )


def _command(preset: str, records: Mapping[int, Record]) -> str:
    """Return the command of the recorded runs, compiled if they were."""
    is_compiled = any(section_of(r.config, "device")["compile"] is True for r in records.values())
    compiled = " device.compile=true" if is_compiled else ""
    return f"metaloop-reproduce {preset} --seeds {max(records, default=0) + 1}{compiled}"


def _describe_run(record: Record) -> RecordedRun:
    """Describe the progress of a run and its environment."""
    environment, git = record.environment, record.environment.git or Git()
    return RecordedRun(
        meta_steps=record.steps,
        meta_steps_asked=record.steps_asked,
        commit=git.commit,
        is_modified=git.is_modified,
        machine={
            "cpu": environment.cpu,
            "cpu_cores": environment.cpu_cores,
            "gpus": environment.gpus,
            "platform": environment.platform,
        },
        versions=environment.versions,
    )


def _key(row: Row) -> tuple[str, ...]:
    return row["preset"], row["metric"], str(row["inner_step"]), row["published"]["source"]


def _read_reasons(path: Path) -> dict[str, dict[str, str]]:
    remedy = "Correct it: verdicts, and in each patterns of presets' names with a reason."
    text = read_text(path, remedy)
    if text is None:
        return {}
    return parse_yaml(text, path, yaml.safe_load, dict, remedy)
