"""What each algorithm's page includes: equations from its docstring, its numbers, its presets."""

from pathlib import Path

import yaml

from docs.generators.presets import of_algorithm, results


def part(conf: Path, board: Path, name: str) -> str:
    """The generated half of one algorithm's page."""
    path = conf / "algorithm" / f"{name}.yaml"
    target = yaml.safe_load(path.read_text())["_target_"]
    named = of_algorithm(conf, name)
    lines = [
        "## Equations",
        "",
        "```{eval-rst}",
        f"{_directive(target)}:: {target}",
        "   :no-index:",
    ]
    lines += ["```", "", "## Its numbers", "", f"`conf/algorithm/{name}.yaml`:", ""]
    lines += ["```yaml", path.read_text().rstrip(), "```", ""]
    if named:
        lines += ["## Published rows", "", "[Presets](../generated/presets.md) with it:", ""]
        lines += [*(f"- `{preset}`" for preset in named), "", *results(board, named), ""]
    return "\n".join(lines)


def _directive(target: str) -> str:
    return ".. autoclass" if target.rpartition(".")[2][0].isupper() else ".. autofunction"
