"""Every public class and function shows its use, by examples that give what they say."""

import doctest
import inspect

import pytest

import metaloop

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MOST_LINES = 24  # of one name's examples
# examples that need a package without which metaloop does
OPTIONAL = {
    "HFEncoder": "transformers",
    "HFImageEncoder": "transformers",
    "ResumableTensorBoardLogger": "tensorboard",
}


def examples_of(name: str) -> list[doctest.DocTest]:
    """The examples of a public class, its methods, or a function; an alias of types has none."""
    thing = getattr(metaloop, name)
    is_documented = inspect.isclass(thing) or inspect.isfunction(thing)
    return doctest.DocTestFinder().find(thing, name, globs={}) if is_documented else []


@pytest.mark.parametrize("name", metaloop.__all__)
def test_a_public_class_or_function_has_a_few_lines_of_examples(name):
    for found in examples_of(name)[:1]:  # of the name itself
        section = inspect.cleandoc(found.docstring).partition("\nExamples:\n")[2]
        assert section.lstrip().startswith(">>> ")
        assert len(section.splitlines()) <= MOST_LINES


@pytest.mark.parametrize("name", metaloop.__all__)
def test_examples_give_what_they_say(name, tmp_path, monkeypatch):
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    for found in examples_of(name):
        doctest.DocTestRunner(verbose=False, optionflags=FLAGS).run(found, out=said.append)
    assert not said, "".join(said)
