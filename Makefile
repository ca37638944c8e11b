# `make demo` and `make test` work from a fresh clone with Python >= 3.11 and pip; nothing else.
# Paths are relative, so a clone may lie under a path with spaces.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -m

.PHONY: help demo test thorough check format proofs bench compare figures docs release clean

help:
	@echo "make demo    run the five sources and write hunch-demo/index.html (about 4 minutes)"
	@echo "make test    run the tests"
	@echo "make thorough  the slow ones too, with figures drawn and all trees grown (20 minutes)"
	@echo "make check   format, lint, types, import layers, examples of docstrings"
	@echo "make proofs  the slow statistical and learning proofs, into results/"
	@echo "make bench   the speed tables, into results/"
	@echo "make compare BEFORE=path   every row of them beside another checkout's, in turns"
	@echo "make docs    the site, into build/site/html (2 to 3 minutes)"
	@echo "make release the files of a release, into dist/, tried in empty environments"

# The stamps make a second run install nothing; a changed pyproject.toml, constraint or kernel does.
KERNEL := $(wildcard src/hunch/_*.c) tools/compile_kernel.py

$(VENV)/.demo: pyproject.toml constraints.txt $(KERNEL)
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --disable-pip-version-check -c constraints.txt -e '.[all]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt $(KERNEL)
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.demo $@

demo: $(VENV)/.demo
	$(RUN) hunch demo

test: $(VENV)/.dev
	$(RUN) pytest -n auto --dist loadfile

thorough: $(VENV)/.dev
	$(RUN) pytest -n auto --dist loadfile --thorough

check: $(VENV)/.dev
	$(RUN) ruff format --check src tests benchmarks docs examples tools
	$(RUN) ruff check src tests benchmarks docs examples tools
	$(RUN) mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(RUN) pytest -q -n auto --doctest-modules src

format: $(VENV)/.dev
	$(RUN) ruff format src tests benchmarks docs examples tools
	$(RUN) ruff check --fix src tests benchmarks docs examples tools

proofs: $(VENV)/.dev
	$(RUN) pytest -m proof --thorough -s tests

bench: $(VENV)/.dev
	$(RUN) hunch bench all --out results

compare: $(VENV)/.dev
	$(BIN)/python benchmarks/versions/compare.py "$(BEFORE)" .

figures: $(VENV)/.dev
	$(BIN)/python docs/make_figures.py
	$(BIN)/python tools/draw_map.py

# A warning, a broken example and a broken link end it. `hunch` is the one of this checkout.
docs: $(VENV)/.dev
	$(RUN) pip install --disable-pip-version-check -q -c constraints.txt -e '.[docs]'
	rm -rf build/site
	$(BIN)/python docs/site/stage.py build/site/source
	OMP_NUM_THREADS=1 $(RUN) sphinx -W --keep-going -q -c docs/site build/site/source build/site/html
	$(BIN)/python docs/site/check_links.py build/site/html
	@echo "open build/site/html/index.html"

# Environments of their own are made for every Python of the path; PYTHONS="--python 3.12" for one.
release: $(VENV)/.dev
	$(RUN) pip install --disable-pip-version-check -c constraints.txt -e '.[release]'
	$(BIN)/basedpyright
	$(BIN)/python tools/build_release.py
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/try_release.py --modes $(PYTHONS)

clean:
	rm -rf $(VENV) hunch-demo dist build/site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
