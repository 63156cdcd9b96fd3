"""A page of the public names, from metaloop.__all__."""

import inspect
from itertools import groupby

import metaloop

TITLES = {
    "adapted": "Adapted learners",
    "adapters": "Adapters",
    "algorithms": "Algorithms",
    "callbacks": "Callbacks",
    "episode": "Episodes",
    "errors": "Errors",
    "fit": "Meta-training in a line",
    "inner_loop": "The inner loop",
    "learner": "Trained learners",
    "loggers": "Loggers",
    "meta_gradient": "The pre-flight check",
    "models": "Networks",
    "tasks": "Tasks",
    "training": "The outer loop",
}


def page() -> str:
    """Every public name with its docstring, a section a room."""
    lines = [
        "# Public names",
        "",
        "Users import these from `metaloop`, and configs name them as `_target_: metaloop.NAME`.",
        "All other modules are private. Every class and function has examples, which a test runs.",
    ]
    names = sorted(metaloop.__all__, key=lambda name: (_section(name), name.lower()))
    for section, group in groupby(names, key=_section):
        lines += ["", f"## {section}", "", "```{eval-rst}"]
        lines += [line for name in group for line in _entry(name)]
        lines.append("```")
    return "\n".join(lines) + "\n"


def _section(name: str) -> str:
    """The title for the room that a public name comes from; aliases of types have none."""
    parts = getattr(getattr(metaloop, name), "__module__", "").split(".")
    return TITLES[parts[1]] if parts[0] == "metaloop" else "Types"


def _entry(name: str) -> list[str]:
    thing = getattr(metaloop, name)
    if inspect.isclass(thing):
        return [f".. autoclass:: metaloop.{name}", ""]
    if inspect.isfunction(thing):
        return [f".. autofunction:: metaloop.{name}", ""]
    return [f".. py:data:: metaloop.{name}", "", f"   ``{thing}``", ""]
