"""What users import: lazy, typed, documented, and all that a config may name of metaloop."""

import inspect
import re
import subprocess
import sys

import pytest

import metaloop
from metaloop.cli.hydra_app import CONF
from metaloop.errors import UserError
from metaloop.run.config.construct import check_node

# what Hydra itself makes, and no run's config holds
HYDRAS_OWN = {"metaloop.cli.sweeps.multirun.LeadSweep"}


def test_importing_it_loads_nothing_slow():
    code = (
        "import metaloop, sys; print([m for m in ('torch', 'hydra', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", metaloop.__all__)
def test_a_public_name_is_there_and_documented(name):
    thing = getattr(metaloop, name)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert len(thing.__doc__ or "") > 20
        assert not thing.__doc__.startswith(("What", "How", "Where", "Whether"))


def test_every_config_names_public_things():
    named = {
        target
        for path in CONF.rglob("*.yaml")
        for target in re.findall(r"_target_: (metaloop\.[\w.]+)", path.read_text())
    }
    assert {name.removeprefix("metaloop.") for name in named - HYDRAS_OWN} <= set(metaloop.__all__)


def test_an_old_name_tells_the_new_one():
    with pytest.raises(AttributeError, match=r"has a new name: metaloop\.RandomStreams"):
        _ = metaloop.Dice
    with pytest.raises(UserError, match=r"is now called metaloop\.maml\."):
        check_node({"_target_": "metaloop.algorithms.maml"}, key="algorithm")
    with pytest.raises(UserError, match=r"no public name meta_gradient\.chunks\.over_tasks"):
        check_node({"_target_": "metaloop.meta_gradient.chunks.over_tasks"}, key="task")
