"""Imports point one way: each room knows only those above it."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "metaloop"
ROOMS = [
    "errors",
    "full_disk",
    "freed_memory",
    "chance",
    "interrupted",
    "requeue",
    "parent_process",
    "start_up",
    "arguments",
    "run_folder",
    "sweep_folder",
    "episode",
    "models",
    "tasks",
    "inner_loop",
    "algorithms",
    "datamodule",
    "metrics",
    "confusion",
    "reports",
    "interval",
    "meta_learner",
    "adapted",
    "plots",
    "callbacks",
    "run",
    "learner",
    "cli",
]
FILES = sorted(SOURCE.rglob("*.py"))


def imported(path: Path) -> list[str]:
    tree = ast.parse(path.read_text())
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom | ast.Import)]
    names = []
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
        else:
            names += [alias.name for alias in node.names]
    return names


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_to_rooms_above(path):
    if path == SOURCE / "__init__.py":
        assert imported(path) == []
        return
    place = ROOMS.index(room(path))
    for name in imported(path):
        assert name != "metaloop", "import from a room, not from the house"
        if name.startswith("metaloop."):
            assert ROOMS.index(name.split(".")[1]) <= place, f"{path.name} imports {name}"


def test_only_build_sees_a_dictconfig_of_the_pieces():
    seeing = {
        str(p.relative_to(SOURCE))
        for p in FILES
        if "DictConfig" in p.read_text() and room(p) != "cli"
    }
    assert seeing == {"run/build.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_and_functions_stay_short(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 300
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 90, (
                f"{node.name} is {node.end_lineno - node.lineno} lines"
            )


def test_no_room_is_named_for_nothing():
    vague = {"utils", "util", "common", "misc", "helpers", "components", "core"}
    assert not vague & {part.removesuffix(".py") for p in FILES for part in p.parts}
