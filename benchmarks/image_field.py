"""Compare a learned start of neural fields with a random one, on Omniglot's drawings.

    python benchmarks/image_field.py --data-dir DATA --out benchmarks/records/image_field

Runs experiment=image_field, the same without training, and the same with half of each drawing's
pixels given; tests each on fresh drawings, given all pixels or half of them.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from record import Part, how_made, made, save
from rich.console import Console
from runs.command import run_command, run_train

HALF = "task.shots=392"
STARTS = {"learned": (), "random": ("training.max_steps=0",), "learned from half": (HALF,)}
TESTS = {"all pixels": ("learned", "random"), "half of them": ("learned", "learned from half")}
STEPS = (0, 1, 2, 5, 10)


def main() -> None:
    """Train every start, test it, and print the table."""
    arguments = parse()
    console = Console()
    folders = {}
    for name, settings in STARTS.items():
        with console.status(name):
            folders[name] = run_train(
                arguments.runs,
                "experiment=image_field",
                f"task.of.data_dir={arguments.data_dir.resolve()}",
                "device.threads=1",
                *arguments.set,
                *settings,
            ).folder
    with console.status("learned, given half of the pixels"):
        run_command("metaloop-evaluate", f"run={folders['learned']}", "name=half", HALF)
    rows = []
    for given, starts in TESTS.items():
        for name in starts:
            test = "half" if (given, name) == ("half of them", "learned") else "test"
            path = folders[name] / "evaluations" / test / "results.json"
            results = json.loads(path.read_text())
            psnr = results["metrics"]["psnr"]
            rows.append(
                {"start": name, "given": given, "drawings": results["episodes"], "psnr": psnr}
            )
    parts = {"omniglot": {"made": made(1), "rows": rows}}
    print(tables(parts))
    if arguments.out:
        save(parts, tables(parts), arguments.out)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="Omniglot's archives")
    parser.add_argument("--runs", type=Path, default=Path("outputs/image_field"))
    parser.add_argument("--set", nargs="*", default=[], help="further overrides, for all runs")
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md")
    return parser.parse_args()


def tables(parts: Mapping[str, Part]) -> str:
    """Make the table, and say how it was made."""
    (part,) = parts.values()
    steps = [f"{k} steps" if k > 1 else ("1 step" if k else "before") for k in STEPS]
    lines = [
        f"PSNR in dB of {part['rows'][0]['drawings']} test drawings, closed 95 % intervals:",
        "",
        f"| start | given | {' | '.join(steps)} |",
        f"|---|---{'|---' * len(steps)}|",
    ]
    for row in part["rows"]:
        found = [(row["psnr"]["mean"][k], row["psnr"]["ci95"][k]) for k in STEPS]
        cells = [f"{mean:.1f} +/- {width:.1f}" for mean, width in found]
        lines.append(f"| {row['start']} | {row['given']} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", how_made(part["made"])])


if __name__ == "__main__":
    main()
