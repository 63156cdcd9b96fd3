# make train   set up, meta-train MAML on sinusoids, evaluate it
# make test    set up, run the test suite
# make .venv   only set up
# make quick   the tests of the mathematical core without its compilation, in two minutes
# make lint    style and types
# make docs    the site, into docs/_build
# make same BASE=COMMIT   compare small runs with that commit's, bit for bit
PYTHON ?= python3
# a file's tests in one process, which makes what they share once, in the order that conftest.py gives
PYTEST = .venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
CORE = tests/substitutes tests/inner_loop tests/algorithms tests/meta_gradient tests/models tests/test_layering.py

.PHONY: train test quick lint docs same .venv
.DEFAULT_GOAL := train

train: .venv
	.venv/bin/metaloop-train $(ARGS)

test: .venv
	$(PYTEST) $(ARGS)

quick: .venv
	$(PYTEST) $(CORE) --ignore tests/meta_gradient/test_compiled.py $(ARGS)

lint: .venv
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

docs: .venv
	.venv/bin/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build $(ARGS)

same: .venv
	.venv/bin/python benchmarks/same.py $(or $(BASE),$(error Name the commit to compare with: make same BASE=main)) $(ARGS)

.venv: .venv/.installed

# The stamp is written last: an installation cut short is done again.
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
