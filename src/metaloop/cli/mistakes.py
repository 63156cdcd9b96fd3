"""Explain errors of Hydra, OmegaConf and YAML in a user's words."""

import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

import yaml
from hydra.errors import ConfigCompositionException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from metaloop.cli.configs import choices, groups, is_group, own_configs
from metaloop.errors import UserError, nearest
from metaloop.user_text import say

FIXED = (
    "choices are fixed by the run here. Change single keys (task.shots=5), or train a run with the "
    "other choice."
)
LONGEST = 4  # lines of a foreign message


def fail(error: UserError) -> NoReturn:
    """Print the error and end the command."""
    say(f"Error: {error}", is_error=True)
    sys.exit(1)


def explain(error: BaseException, *, config_name: str, arguments: Sequence[str]) -> str:
    """Name the argument or file at fault, the rule and the remedy.

    Args:
        error: the error raised while a config was composed.
        config_name: train; or evaluate or adapt, where the run has fixed all choices.
        arguments: the command line, printed if the error names no argument.

    """
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _explain_choice(error.missing_cfg_file)
    if isinstance(error, ConfigCompositionException) and "No match in the defaults" in str(error):
        return _explain_group(str(error).splitlines()[0].rstrip("."), config_name=config_name)
    if isinstance(cause, ConfigKeyError | ConfigAttributeError) and isinstance(
        cause.parent_node, DictConfig
    ):
        return _explain_key(cause, cause.parent_node)
    if isinstance(error, yaml.YAMLError | UnicodeDecodeError):
        return _explain_yaml(error)
    if isinstance(error, RecursionError):
        return "A config's defaults list leads back to itself. Have it name other configs."
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key}: {str(error).splitlines()[0]}."
    if isinstance(error, UserError):
        return str(error)
    lines = [line for e in (error, cause) if e is not None for line in str(e).splitlines()]
    said = "\n".join(list(dict.fromkeys(lines))[:LONGEST]) or type(error).__name__
    return said if any(a in said for a in arguments) else f"{shlex.join(arguments)}: {said}"


def _explain_key(error: ConfigAttributeError | ConfigKeyError, parent: DictConfig) -> str:
    """Suggest the nearest known key; Hydra would advise to append one."""
    known = [str(key) for key in parent if key != "hydra"]
    name = error.full_key or str(error.key)
    hint = nearest(str(error.key), known) or _same_key_elsewhere(error)
    return f"{name} is unknown. {hint}Keys here: {', '.join(known)}."


def _same_key_elsewhere(error: ConfigAttributeError | ConfigKeyError) -> str:
    """Ask "Did you mean section.key?" if a section has a key of this name."""
    root = error.parent_node
    while root is not None and root._get_parent() is not None:
        root = root._get_parent()
    for section, node in () if root is None else root.items_ex(resolve=False):
        if section != "hydra" and isinstance(node, DictConfig) and error.key in node:
            return f"Did you mean {section}.{error.key}? "
    return ""


def _explain_group(message: str, *, config_name: str) -> str:
    if config_name != "train":
        return f"{message}: {FIXED}"
    named = message.partition("'")[2].partition("'")[0]
    known = groups()
    hint = nearest(named, known)
    return f"{named} is neither a key nor a group. {hint}Groups: {', '.join(known)}."


def _explain_choice(missing: str) -> str:
    group, _, choice = missing.partition("/")
    if group == "hydra":
        plugin, extra = choice.replace("/", "="), "ray" if choice.endswith("/ray") else "sweep"
        install = f"pip install 'metaloop[{extra}]'"
        return f"hydra/{plugin} is not installed. If the name is right: {install}."
    if not choice or not is_group(group):
        return f"There is no config {missing}."
    known = choices(group)
    return f"{group}={choice} is unknown. {nearest(choice, known)}Choices: {', '.join(known)}."


def _explain_yaml(error: yaml.YAMLError | UnicodeDecodeError) -> str:
    """Name the file, the line and the error, with a hint if it is a tab."""
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark) is not None:
        problem = f"{error.problem or error.context}"
        rule = "Indent by spaces." if "'\\t'" in problem else "Correct it there."
        return f"{mark.name}, line {mark.line + 1}: {problem}. {rule}"
    for path in own_configs():
        try:
            yaml.safe_load(path.read_text("utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as found:
            reason = str(found).splitlines()[0]
            return f"{path} is no YAML of UTF-8 text: {reason}."
    return str(error)
