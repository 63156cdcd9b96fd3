"""Check the KEY=VALUE arguments of a command line before Hydra composes with them.

An argument outside of Hydra's grammar is refused with the quoting that works; one that Hydra would
ignore is refused too.
"""

import ast
import fnmatch
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException

from metaloop.cli.configs import CONFIG_DIR, choices, is_group
from metaloop.errors import UserError
from metaloop.folders.user_path import user_path
from metaloop.user_text import for_shell, quoted

KEY = re.compile(r"[~+]*[\w@:/.$-]+", re.ASCII)
# Hydra's options that take a value
VALUED = (
    *CONFIG_DIR,
    *("--config-path", "-cp", "--config-name", "-cn"),
    *("--package", "-p", "--cfg", "-c", "--info", "-i", "--experimental-rerun"),
)
MULTIRUN = ("-m", "--multirun", "hydra.mode=MULTIRUN")
TARGET = "._target_="
OPTIONAL = "experiment"  # the only group that needs no choice
NO_EFFECT = {
    "hydra.run.dir": "folders are made in output_dir=FOLDER",
    "hydra.sweep.subdir": "the folder of a job is named by its run",
    "hydra.output_subdir": "the run's folder keeps config and overrides itself",
    "hydra.job.chdir": "paths are relative to where the command is started",
}
SHOWS = ("--cfg", "-c", "--info", "-i")
OF_SWEEPS = re.compile(r"hydra[./](sweep|sweeper|launcher)\b")


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate Hydra's options, with their values, from all other arguments."""
    options: list[str] = []
    others: list[str] = []
    for previous, argument in zip(("", *arguments), arguments, strict=False):
        is_value = previous in VALUED and "=" not in argument
        is_option = is_value or (argument.startswith("-") and argument != "-")
        (options if is_option else others).append(argument)
    return options, others


def check_overrides(arguments: Sequence[str]) -> list[str]:
    """Check the arguments and return them as Hydra reads them, options before overrides.

    Raises:
        UserError: if an argument is outside of Hydra's grammar, has no effect or gives no value.

    """
    options, overrides = split(arguments)
    # a config that is only printed may belong to a sweep
    is_multirun = bool({*MULTIRUN, *SHOWS} & {*options, *overrides})
    given = _allow_new_arguments([o for override in overrides for o in _translate_python(override)])
    return [*options, *(r for o in given if (r := _check_override(o, is_multirun=is_multirun)))]


def folder_named(argument: str) -> Path:
    """Return the folder named by FOLDER or run=FOLDER, a plain path or one in Hydra's quotes."""
    text = argument.removeprefix("run=")
    if text[:1] in ("'", '"') and not os.path.exists(text):  # noqa: PTH110 - long names
        text = str(parse(f"run={text}").value())
    return user_path(text)


def parse(override: str) -> Override:
    """Parse an override by Hydra's grammar.

    Raises:
        UserError: if it does not fit the grammar.

    """
    key, equals, value = override.partition("=")
    if not KEY.fullmatch(key) or not (equals or key.startswith("~")):
        raise UserError(
            f"{override or repr(override)} is not KEY=VALUE, such as task.shots=5, with a key of "
            "letters, digits, _ and dots."
        )
    try:
        return OverridesParser.create().parse_override(override)
    except (HydraException, ValueError) as error:
        if "while evaluating" in str(error):  # a function of the grammar, such as range(a)
            raise UserError(f"{override}: {error}") from error
        raise UserError(
            f"{override} is not in Hydra's grammar, where a value with any of ( ) [ ] {{ }} = , : "
            f"# ~ ' \" or with letters beyond ASCII needs quotes. As text: "
            f"{for_shell(f'{key}={quoted(value)}')}"
        ) from error


def _check_override(override: str, *, is_multirun: bool) -> str | None:
    parsed = parse(override)
    key, value = parsed.key_or_group, parsed.value()
    if key in NO_EFFECT:
        raise UserError(f"{override} has no effect: {NO_EFFECT[key]}. Leave it out.")
    if OF_SWEEPS.match(key) and not is_multirun:
        raise UserError(f"{override} only has an effect in a sweep. Add -m, or leave it out.")
    if parsed.is_sweep_override():
        return _check_sweep(parsed, override, is_multirun=is_multirun)
    if not is_group(key):
        return override
    prefix = override.partition("=")[0]
    if key == OPTIONAL and value is None:
        return None
    if parsed.is_delete() or value == []:
        raise UserError(
            f"{override} would leave a run without its {key}. Choose another: {key}=CHOICE, one of "
            f"{', '.join(choices(key))}."
        )
    if isinstance(value, list):  # several choices, each a name
        return f"{prefix}=[{','.join(quoted(f'{choice}') for choice in value)}]"
    return override if isinstance(value, str) else f"{prefix}={quoted(_raw(override))}"


def _check_sweep(parsed: Override, override: str, *, is_multirun: bool) -> str:
    """Refuse several values outside of a sweep, and an empty list of values in one."""
    key, raw = override.partition("=")[0], _raw(override)
    if not is_multirun:
        raise UserError(
            f"{override} gives several values, each for another run. Add -m, or write one: a "
            f"list in brackets, {key}=[..], or a text in quotes, "
            f"{for_shell(f'{key}={quoted(raw)}')}"
        )
    if isinstance(found := parsed.value(), Glob):
        known = choices(parsed.key_or_group)
        names = [
            name
            for name in known
            if any(fnmatch.fnmatch(name, pattern) for pattern in found.include)
            and not any(fnmatch.fnmatch(name, pattern) for pattern in found.exclude)
        ]
        if not names:
            raise UserError(f"{override} matches none of: {', '.join(known) or 'no choices'}.")
        return f"{key}={','.join(names)}"
    if parsed.is_discrete_sweep() and not any(True for _ in parsed.sweep_iterator()):
        raise UserError(f"{override} gives no value, so the sweep would have no jobs.")
    return override


def _allow_new_arguments(overrides: Sequence[str]) -> list[str]:
    """Allow new arguments of a node whose _target_ is given, without Hydra's +.

    They are checked against the target's signature when it is constructed.
    """
    named = [o for o in overrides if TARGET in o]
    nodes = tuple(f"{o.partition(TARGET)[0].lstrip('+')}." for o in named)
    return [f"++{o}" if o.startswith(nodes) and o not in named else o for o in overrides]


def _raw(override: str) -> str:
    return override.partition("=")[2]


def _translate_python(override: str) -> Iterator[str]:
    """Translate Python's None and mappings, which W&B's agents write, to Hydra's grammar.

    algorithm={'inner_lr': 0.1} becomes algorithm.inner_lr=0.1, which keeps the group's choice.
    """
    key, equals, value = override.partition("=")
    if equals and value == "None":
        yield f"{key}=null"
    elif mapping := _mapping(key, value):
        yield from _leaves(key, mapping)
    else:
        yield override


def _mapping(key: str, value: str) -> Mapping[str, object]:
    if not value.startswith("{"):
        return {}
    try:
        found = ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        if not is_group(key):
            return {}
        found = parse(f"{key}={value}").value()
    return found if isinstance(found, dict) else {}


def _leaves(key: str, value: object) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner)
    else:
        yield f"{key}={_to_hydra(value)}"


def _to_hydra(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_to_hydra, value))}]"
    if value is None:
        return "null"
    return quoted(value) if isinstance(value, str) else str(value)
