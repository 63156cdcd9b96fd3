"""Text of a user arrives as it is, wherever it goes, and means nothing there."""

import ast
import io
import os
import subprocess

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from matplotlib.text import Text
from omegaconf import OmegaConf
from rich.table import Table

from metaloop.folders.atomic_write import write_table
from metaloop.loggers.figures import save_figures
from metaloop.plots import (
    draw_adaptation_curve,
    draw_comparison,
    draw_confusion,
    draw_predictions,
    draw_step_sizes,
)
from metaloop.plots.comparison import Bar
from metaloop.training.confusion import Confusion
from metaloop.training.estimate import estimate
from metaloop.user_text import Terminal, for_hydra, for_shell, readable
from tests.test_layering import FILES, module

NAMES = [
    "from_$1_to_$5",
    r"$\frac$",
    "[/b]c",
    "[x] [red]y",
    ":bomb:",
    "caf\udce9",
    "\x1b[31mred",
    "=cmd|' C calc'!A1",
    "a b's",
    "(copy)=1, #2",
    "日本",
    "back\\slash\\",
    "${oc.env:HOME}",
    "null",
    "-x",
    "a\nb",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_terminal_shows_it(name):
    shown = io.StringIO()
    terminal = Terminal(file=shown)
    terminal.width = 200
    table = Table("column", name, title=name)
    table.add_row(name, "x")
    terminal.print(table)
    terminal.print(f"At: {name}")
    text = shown.getvalue()
    assert "\x1b[31" not in text
    for line in readable(name).splitlines():
        assert text.count(line) >= 4
    text.encode()


def test_a_table_in_a_file_is_as_wide_as_it_needs_to_be_or_as_columns_says(monkeypatch):
    def lines() -> list[str]:
        shown = io.StringIO()
        Terminal(file=shown).print(Table(*["a column of 20 signs"] * 8))
        return shown.getvalue().splitlines()

    monkeypatch.delenv("COLUMNS", raising=False)
    assert len(lines()) == 4  # no heading is broken
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, lines())) <= 80


def figures(name):
    pairs = torch.tensor([[0, 1]])
    confusion = Confusion(
        torch.arange(2), *[torch.tensor([2, 2])] * 2, pairs, *[torch.tensor([1])] * 2
    )
    many = Confusion(torch.arange(40), *[torch.full((40,), 2)] * 2, pairs, *[torch.tensor([1])] * 2)
    curve = estimate(torch.rand(4, 3))
    return {
        "matrix": draw_confusion(confusion, lambda c: f"{name}{c}", "test"),
        "pairs": draw_confusion(many, lambda c: f"{name}{c}", "test"),
        "curve": draw_adaptation_curve({name: curve}, name),
        "comparison": draw_comparison({name: Bar(1.0, None, name)}, name, name),
        "predictions": draw_predictions(
            torch.rand(1, 1, 4, 4), torch.tensor([[1.0, 0.0]]), [name, "b"], ["b"], [name], name
        ),
    }


@pytest.mark.parametrize("name", [r"$\frac$", "from_$1_to_$5 caf\udce9"])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_a_figure_shows_it(name, tmp_path):
    drawn = figures(name)
    written = save_figures(
        {key: lambda figure=figure: figure for key, figure in drawn.items()}, tmp_path
    )
    assert written.keys() == drawn.keys()
    for figure in drawn.values():
        shown = {text.get_text().replace(r"\$", "$") for text in figure.findobj(Text)}
        start = readable(name)[:7]
        assert any(start in text for text in shown)
    assert draw_step_sizes({}) is None


def test_a_spreadsheet_reads_no_formula(tmp_path):
    cells = ["=1+1", "+cmd", "-cmd|x", "@sum", "\t=1", "\uff1d1", "caf\udce9", "a=b", -1.5, "-1e-3"]
    write_table(tmp_path / "x.csv", [["=header"], *([cell] for cell in cells)])
    lines = (tmp_path / "x.csv").read_text().splitlines()
    assert lines == [
        "'=header",
        "'=1+1",
        "'+cmd",
        "'-cmd|x",
        "'@sum",
        "'\t=1",
        "'\uff1d1",
        "caf\\xe9",
        "a=b",
        "-1.5",
        "-1e-3",
    ]


def test_hydra_and_a_shell_read_it_back():
    overrides = [for_hydra("run", name) for name in NAMES]
    for name, override in zip(NAMES, overrides, strict=True):
        value = OverridesParser.create().parse_override(override).value()
        assert OmegaConf.create({"run": str(value)}).run == name
    command = for_shell("printf", r"%s\0", *overrides)
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]] == overrides


def test_there_is_one_way_to_each():
    """Who prints or writes CSV elsewhere passes it by; metrics.csv is read back by us."""
    allowed = {
        "print": {"user_text", "process/slurm_requeue"},  # which knows a job's number alone
        "Console": {"user_text"},
        "writer": {"folders/atomic_write"},
        "DictWriter": {"loggers/metrics_csv"},
    }
    for path in FILES:
        calls = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
        ]
        for call in calls:
            owner, _, name = ast.unparse(call.func).rpartition(".")
            if owner and name == "print":  # a terminal's own
                continue
            assert module(path) in allowed.get(name, {module(path)}), name
