"""A command line's arguments, answered before Hydra composes with them."""

import random
import re
import shlex

import pytest
from omegaconf import OmegaConf

from metaloop.cli.configs import choices
from metaloop.cli.overrides import check_overrides, parse
from metaloop.errors import UserError
from metaloop.user_text import quoted

# names as people give them, which Hydra's grammar does not take as they are
NAMES = [
    ("task.task_column", "subject#"),
    ("task.data_dir", "ed/wh ite, (copy)=1"),
    ("init_from", "ck/epoch=9-step=80.ckpt"),
    ("output_dir", "~/x"),
    ("output_dir", "日本"),
    ("task.file", "it's"),
    ("task.target", 'say "y"'),
    ("task.data_dir", "C:\\new, data\\"),
]


@pytest.mark.parametrize(("key", "name"), NAMES)
def test_a_name_that_the_grammar_refuses_is_answered_by_the_quoting_that_works(key, name):
    with pytest.raises(UserError) as refused:
        check_overrides([f"{key}={name}"])
    said = str(refused.value)
    assert said.startswith(f"{key}={name} ")
    advice = re.search(r"(?:As text: |in quotes, )(.*)$", said).group(1)
    (entered,) = shlex.split(advice)  # as a shell hands it to the command
    (override,) = check_overrides([entered])
    assert (parse(override).key_or_group, parse(override).value()) == (key, name)


def test_any_text_in_quotes_is_read_as_itself():
    dice = random.Random(3)
    for _ in range(300):
        text = "".join(dice.choices("ab1'\"\\${}[]()=,:#~é日 \t\n", k=dice.randrange(8)))
        value = OmegaConf.create({"key": parse(f"key={quoted(text)}").value()})
        assert value.key == text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["foo"], "foo is not KEY=VALUE"),
        (["=3"], "=3 is not KEY=VALUE"),
        ([""], "'' is not KEY=VALUE"),
        (["a b=3"], "a b=3 is not KEY=VALUE"),
        (["seed=[1"], r"seed=\[1 is not in Hydra's grammar"),
        (["seed=range(a)"], r"seed=range\(a\)"),
        (["seed=1,2"], r"seed=1,2 gives several values.*Add -m.*seed=\[..\]"),
        (["~task"], "~task would leave a run without its task.*omniglot"),
        (["~logger"], "~logger would leave a run without its logger.*none"),
        (["logger=[]"], r"logger=\[\] would leave a run without its logger"),
        (["hydra.run.dir=x"], "hydra.run.dir=x has no effect.*output_dir"),
        (["-m", "hydra.job.chdir=true"], "hydra.job.chdir=true has no effect"),
        (["hydra.sweep.dir=x"], "hydra.sweep.dir=x only has an effect in a sweep. Add -m"),
        (["hydra/launcher=joblib"], "hydra/launcher=joblib only has an effect in a sweep"),
        (["-m", "seed=range(0)"], r"seed=range\(0\) gives no value"),
        (["-m", "experiment=glob(nothing*)"], r"experiment=glob\(nothing\*\) matches none of"),
    ],
)
def test_what_is_no_override_or_has_no_effect_is_refused_by_name(arguments, says):
    with pytest.raises(UserError, match=says):
        check_overrides(arguments)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        # as an agent of a W&B sweep writes nested parameters and nulls
        ("algorithm={'inner_lr': 0.02}", ["algorithm.inner_lr=0.02"]),
        (
            "task={'ways': 5, 'split': None, 'deep': {'on': True, 'names': ['a,b', None]}}",
            [
                "task.ways=5",
                "task.split=null",
                "task.deep.on=True",
                'task.deep.names=["a,b",null]',
            ],
        ),
        ("init_from=None", ["init_from=null"]),
        ("algorithm={inner_lr: 0.02}", ["algorithm.inner_lr=0.02"]),  # and as Hydra does
        ("experiment=null", []),
        ("logger=null", ['logger="null"']),  # a name like any other, and of no choice
        ("task=nan", ['task="nan"']),
        ("callbacks=[default,8]", ['callbacks=["default","8"]']),
        ("callbacks.pictures=null", ["callbacks.pictures=null"]),
    ],
)
def test_what_stands_for_another_word_of_hydras_is_read_so(given, read):
    assert check_overrides([given]) == read


def test_options_come_before_overrides_with_their_values():
    given = ["task.shots=5", "--config-dir", "mine", "seed=1", "-m", "--cfg=job"]
    assert check_overrides(given) == [
        "--config-dir",
        "mine",
        "-m",
        "--cfg=job",
        "task.shots=5",
        "seed=1",
    ]


def test_a_glob_finds_choices_in_folders_of_a_group():
    _, found = check_overrides(["-m", "experiment=glob(finn2017/sin*)"])
    assert found == "experiment=finn2017/sinusoid,finn2017/sinusoid_pretrain"
    _, found = check_overrides(["-m", "experiment=glob(*,exclude=*2*)"])
    assert found == "experiment=image_field,smoke"
    assert len(choices("experiment")) > 40


def test_who_names_a_target_names_its_arguments_without_a_plus():
    given = ["task.dataset.root=x", "task.dataset._target_=mine.Set", "task.ways=3", "+model.a.b=1"]
    assert check_overrides(given) == [
        "++task.dataset.root=x",
        given[1],
        "task.ways=3",
        "+model.a.b=1",
    ]
