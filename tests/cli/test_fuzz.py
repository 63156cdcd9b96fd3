"""Command lines that nobody thought of: each gives a run's config, or a few lines that name it."""

import os
import random
import re
import traceback
from collections.abc import Iterator, Sequence

import hydra
import pytest
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from metaloop.cli.configs import CONF
from metaloop.cli.hydra_app import require_all
from metaloop.cli.mistakes import explain
from metaloop.cli.overrides import check_overrides
from metaloop.cli.sweeps.labels import label, read_environment_labels
from metaloop.cli.train import Request, resolve_paths
from metaloop.errors import UserError
from metaloop.run.config.build import build
from metaloop.run.config.construct import section
from metaloop.run.config.read import FORMAT, plain
from metaloop.run.config.run_config import RunConfig

GOOD = (
    "task=sinusoid",
    "task=harmonic",
    "task.shots=5",
    "algorithm=anil",
    "algorithm.inner_lr=0.1",
    "algorithm.inner_steps=2",
    "model.hidden=[8,8]",
    "optimizer=sgd",
    "optimizer.lr=0.01",
    "+optimizer.weight_decay=0.1",
    "scheduler=cosine",
    "scheduler.total_iters=5",
    "data.meta_batch_size=4",
    "training.max_steps=10",
    "training.clip_norm=null",
    "evaluation.norm_modes=[inductive]",
    "device.threads=1",
    "device.precision=64-true",
    "norm_mode=inductive",
    "init_from=null",
    "output_dir=out",
    "logger=csv",
    "logger.csv=null",
    "callbacks.progress.refresh_rate=5",
    "callbacks=[default,minimal]",
    "experiment=smoke",
    "seed=3",
    "~callbacks.pictures",
    "hydra.verbose=true",
)
VALUES = (
    *("", "null", "None", "nan", "inf", "-1", "0", "1e999", "1.5", "true", "'", '"', "'0.1'"),
    *(
        "[",
        "[]",
        "[1,[2]]",
        "{}",
        "{a:1}",
        "{'a': {'b': None}}",
        "{'a'",
        "a,b",
        "range(3)",
        "glob(*)",
    ),
    *("choice(1,2)", "int(x)", "${seed}", "${x", "${nope}", "${oc.env:NOPE}", "${now:%Y}", "???"),
    *(
        "日本",
        "~/x",
        "a b",
        "ed/wh ite, (copy)=1",
        "epoch=9-step=80.ckpt",
        "subject#",
        "a:b",
        "../x",
    ),
    *(
        "\\",
        "a\\",
        "\n",
        "\t",
        "\x00",
        "%s",
        "$(ls)",
        "`ls`",
        "@",
        "*",
        "5" * 30,
        "x" * 300,
        "-",
        "--",
    ),
)
CHARACTERS = "=.,:;@~+-/\\'\"[](){}#$%&*?! \t\n\x00aZ0_é日😀"
VARIABLES = ("WANDB_RUN_ID", "WANDB_PROJECT", "WANDB_NAME", "WANDB_TAGS", "WANDB_MODE", "WANDB_DIR")


def mutated(argument: str, dice: random.Random) -> str:
    """One change of an argument: of a character, its value, its key or its prefix."""
    key, _, value = argument.partition("=")
    place = dice.randrange(len(argument) + 1)
    return dice.choice(
        [
            argument,
            f"{argument[:place]}{dice.choice(CHARACTERS)}{argument[place:]}",
            f"{argument[:place]}{argument[place + 1 :]}",
            f"{key}={dice.choice(VALUES)}",
            f"{key}={dice.choice(VALUES)}",
            f"{dice.choice(GOOD).partition('=')[0]}={value}",
            f"{dice.choice(('+', '~', '++', '~~'))}{argument}",
            f"{key}.{dice.choice(VALUES)}={value}",
            f"{key}@{dice.choice(('x', '_global_', ''))}={value}",
            dice.choice(VALUES),
        ]
    )


def command_line(dice: random.Random) -> tuple[list[str], dict[str, str]]:
    """Arguments, of which at least one is mutated, and environment variables of W&B."""
    arguments = [mutated(dice.choice(GOOD), dice) for _ in range(dice.randint(1, 3))]
    values = [v for v in VALUES if "\x00" not in v]
    environment = {dice.choice(VARIABLES): dice.choice(values)} if dice.random() < 0.2 else {}
    return arguments, environment


def answer(arguments: Sequence[str]) -> str | None:
    """What metaloop-train answers before there is a folder; None where it gives a run."""
    is_composed = False
    try:
        config = hydra.compose("train", check_overrides(arguments))
        is_composed = True
        require_all(config)
        values = plain(config)
        section(Request, {name: values.pop(name) for name in Request.__annotations__}, "")
        run_id = os.environ.get("WANDB_RUN_ID") or "made"
        content = {"format": FORMAT, "command": "train", "run_id": run_id, **resolve_paths(values)}
        label(content, **read_environment_labels())
        build(RunConfig.of(content))
    except UserError as error:
        return str(error)
    except Exception as error:
        if is_composed and not isinstance(error, HydraException | OmegaConfBaseException):
            return "".join(traceback.format_exception(error))
        return explain(error, config_name="train", arguments=arguments)
    return None


def names(said: str, arguments: Sequence[str], environment: dict[str, str]) -> bool:
    """Whether an answer names one of the arguments, by its key or as it stands, or a variable."""
    known = [*arguments, *environment, *(repr(a) for a in arguments)]
    for argument in arguments:
        key = re.split(r"[=@]", argument.lstrip("+~"))[0]
        whole = argument.partition("=")[0]
        known += [whole, key, key.rpartition(".")[2], key.partition(".")[0]]
    return any(part and part in said for part in known)


def refused(cases: int, seed: int, monkeypatch) -> Iterator[str]:
    """The command lines whose answer is too long, or names nothing; and how many gave a run."""
    dice, runs = random.Random(seed), 0
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        for _ in range(cases):
            arguments, environment = command_line(dice)
            with monkeypatch.context() as patch:
                for name, value in environment.items():
                    patch.setenv(name, value)
                said = answer(arguments)
            runs += said is None
            if said is not None and (
                said.count("\n") >= 5
                or "Traceback" in said
                or not names(said, arguments, environment)
            ):
                yield f"{arguments} {environment}: {said[-2000:]}"
    assert cases / 50 < runs < cases  # neither all good nor all bad


def test_a_hundred_command_lines_are_answered_in_a_few_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not list(refused(100, 1, monkeypatch))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_thousands_of_command_lines_are_answered_in_a_few_lines(seed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not list(refused(500, seed, monkeypatch))
    assert not list(tmp_path.iterdir())
