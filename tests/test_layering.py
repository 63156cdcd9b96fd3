"""Imports point one way: each room knows only those above it, and no circle runs inside one."""

import ast
import functools
import graphlib
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "metaloop"
# The order of the house: a room, or a file of one that others of it may build on. What is not
# named for itself belongs to the nearest room that is.
ROOMS = [
    "errors",
    "user_text",
    "episode",
    "arguments",
    "process",
    "folders",
    "substitutes",
    "models",
    "adapters",
    "tasks/random_streams",
    "tasks/disjoint",
    "tasks/metric",
    "tasks/shapes",
    "tasks/sources",
    "tasks/readers",
    "tasks/task",
    "tasks/synthetic",
    "tasks/images",
    "tasks/fields",
    "tasks/datasets",
    "tasks/tables",
    "tasks/text",
    "tasks",
    "inner_loop/norms",
    "inner_loop/norm_modes",
    "inner_loop",
    "algorithms",
    "meta_gradient",
    "meta_gradient/preflight",
    "meta_gradient/autotune",
    "training",
    "adapted",
    "plots",
    "loggers",
    "callbacks",
    "run/checkpoints/weights",
    "run/checkpoints/initial_weights",
    "run/config",
    "run/checkpoints",
    "run/evaluation",
    "run/adaptation",
    "run/sweeps",
    "run/comparison",
    "run/report",
    "run/board",
    "run",
    "learner",
    "fit",
    "cli/configs",
    "cli/mistakes",
    "cli/execute",
    "cli/sweeps",
    "cli",
]
FILES = sorted(p for p in SOURCE.rglob("*.py") if p != SOURCE / "__init__.py")
LARGEST_ROOM, LONGEST_FILE, LONGEST_FUNCTION = 17, 300, 50
# names of choices that are objects: what differs between them is a method, in their room
ADJOINTS = {"unrolled", "recomputed", "first_order", "implicit"}
NORM_MODES = {"transductive", "inductive", "support_plus_one", "frozen", "per_step"}
# the one file that asks the public face what a config may name
ASKS_THE_FACE = "run/config/targets"


def module(path: Path) -> str:
    """The file as the list names it: run/config/build; a room's __init__ is the room."""
    return path.relative_to(SOURCE).with_suffix("").as_posix().removesuffix("/__init__")


def rank(name: str) -> int:
    """The place of a module in the order, of itself or of the nearest room."""
    while name not in ROOMS:
        name = name.rpartition("/")[0]
        assert name, "every room has its place in the list"
    return ROOMS.index(name)


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


@functools.cache
def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports, at its top or inside functions."""
    names: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    ours = {n.removeprefix("metaloop").lstrip(".") for n in names if n.split(".")[0] == "metaloop"}
    return {name.replace(".", "/") for name in ours}


@pytest.mark.parametrize("path", FILES, ids=module)
def test_imports_point_to_rooms_above(path):
    own = module(path)
    for name in imported(path):
        if name == "":
            assert own == ASKS_THE_FACE, "import from a room, not from the public face"
        elif not path.name.startswith("__init__"):
            assert rank(name) <= rank(own), f"{own} imports {name}"


def test_no_circle_runs_through_modules():
    modules = {module(path) for path in FILES}
    graph = {module(path): imported(path) & modules for path in FILES}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, naming the circle


def test_a_room_imports_its_own_files_and_not_its_own_face():
    for path in FILES:
        room = module(path).rpartition("/")[0]
        if path.name != "__init__.py":
            assert room not in imported(path), f"{module(path)} imports its own room's __init__"


def test_every_place_in_the_order_is_there():
    for room in ROOMS:
        assert (SOURCE / room).is_dir() or (SOURCE / f"{room}.py").is_file(), room


def test_only_the_reader_of_configs_sees_a_dictconfig():
    seeing = {module(p) for p in FILES if "DictConfig" in p.read_text() and module(p)[:4] != "cli/"}
    assert seeing == {"run/config/read"}


@functools.cache
def compared(path: Path) -> set[str]:
    """The strings that a file compares something with, or reads an attribute by."""
    found: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Compare | ast.MatchValue):
            parts = [p for p in ast.walk(node) if isinstance(p, ast.Constant)]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr":
            parts = [p for p in node.args[1:2] if isinstance(p, ast.Constant)]
        else:
            continue
        found |= {part.value for part in parts if isinstance(part.value, str)}
    return found


def test_an_adjoints_name_is_compared_in_its_room_alone():
    asking = {module(p) for p in FILES if compared(p) & (ADJOINTS | {"adjoint"})}
    assert asking <= {"inner_loop/adjoint"}


def test_a_norm_modes_name_is_compared_nowhere():
    assert not [module(p) for p in FILES if compared(p) & NORM_MODES]


def docstring_lines(function: ast.FunctionDef) -> int:
    """A recipe's docstring is a small paper, and no reason to cut the recipe apart."""
    return (
        len(ast.get_docstring(function, clean=False).splitlines())
        if ast.get_docstring(function)
        else 0
    )


@pytest.mark.parametrize("path", FILES, ids=module)
def test_files_and_functions_stay_short(path):
    assert len(path.read_text().splitlines()) <= LONGEST_FILE
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef):
            length = node.end_lineno - node.lineno + 1 - docstring_lines(node)
            assert length <= LONGEST_FUNCTION, f"{node.name} is {length} lines"


def test_rooms_stay_small_enough_to_know():
    for room in {path.parent for path in FILES}:
        files = [p for p in room.glob("*.py") if p.name != "__init__.py"]
        assert len(files) <= LARGEST_ROOM, f"{room.name} has {len(files)} files"


def test_no_room_is_named_for_nothing():
    vague = {"utils", "util", "common", "misc", "helpers", "components", "core"}
    assert not vague & {part.removesuffix(".py") for p in FILES for part in p.parts}


def test_a_test_lies_in_its_modules_room():
    tests = Path(__file__).parent
    rooms = {p.parent.relative_to(SOURCE) for p in FILES}
    others = {Path("benchmarks"), Path("docs"), Path("slurm")}  # of no room of the package
    folders = {p.parent.relative_to(tests) for p in tests.rglob("test_*.py")}
    assert folders <= rooms | others | {Path()}
