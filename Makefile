# The commands of the book. `make book` and `make test` need Python 3.11 to 3.13 and git, no more.

SCALE ?= miniature
RUNS ?= runs
CORES ?= all
WORLDS ?=
# Recipes read them from the environment, so that a name may hold spaces and quotes.
export SCALE RUNS CORES WORLDS
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help book pdf study picture test base bench lint lab clean lock

help:  ## what there is
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-12s %s\n", $$1, $$2}'

book: $(INSTALLED)  ## run every notebook and build the book: SCALE=name RUNS=folder
	@$(BIN)/python book/assemble.py --scale "$$SCALE" --runs "$$RUNS" --cores "$$CORES"

study: $(INSTALLED)  ## make worlds of the study again, each with a base of its own: WORLDS="1 2 3"
	@$(BIN)/python book/study.py $$WORLDS --cores "$$CORES"
	@$(BIN)/python book/facts/sensitivity.py
	@$(BIN)/python book/picture.py

pdf: $(INSTALLED)  ## the built book as one PDF, printed by Chromium: SCALE=name
	@$(BIN)/python book/pdf.py --scale "$$SCALE"

picture: $(INSTALLED)  ## draw the README's picture from the study
	@$(BIN)/python book/picture.py

test: $(INSTALLED)  ## the whole test suite
# In the order of their names: files of few tests, which are the long ones, would else come last.
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

base: $(INSTALLED)  ## pretrain the miniature's base model again (about a quarter of an hour)
	@$(BIN)/python -m limalib run notebooks/00_pretraining.ipynb \
		"$$RUNS/base/00_pretraining.ipynb" -p scale miniature -p runs "$$RUNS" -p pretrain true

bench: $(INSTALLED)  ## the benchmarks, one after the other; their tables go into the book's pages
	@for script in $(filter-out benchmarks/readme.py,$(wildcard benchmarks/*.py)); do \
		echo "== $$script"; \
		$(BIN)/python $$script | $(BIN)/python benchmarks/readme.py $$script || failed="$$failed $$script"; \
	done; test -z "$$failed" || { echo "not measured:$$failed"; exit 1; }

lint: $(INSTALLED)  ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

lab: $(INSTALLED)  ## open the chapters in JupyterLab, as they ran where the book is built: SCALE=name
	@folder=$$($(BIN)/python book/lab.py --scale "$$SCALE") && $(BIN)/jupyter lab "$$folder"

lock: $(INSTALLED)  ## write the environment's exact versions to requirements.lock
# What is there stays as it is, torch too, which would else become the newest with all of CUDA.
	@sed 's/^# apart: //' requirements.lock > requirements.lock.new
	@$(BIN)/pip-compile --quiet --extra dev --no-header --no-annotate --no-emit-index-url \
		--no-emit-find-links --no-emit-trusted-host --strip-extras --allow-unsafe --generate-hashes \
		--output-file requirements.lock.new pyproject.toml
	@awk '/^[^ ]/ {skip = 0} /^torch==/ {sub(/[+ ].*/, ""); print "# apart: " $$0; skip = 1} \
		/^(pip==|#|$$)/ {skip = 1} !skip' requirements.lock.new > requirements.lock
	@rm requirements.lock.new

clean:  ## remove built books and caches; runs and the environment stay
	rm -rf build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "needs Python 3.11, 3.12 or 3.13 on PATH"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the packages of requirements.lock into $(VENV) (some minutes, once)"
	@$(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check --require-hashes \
		--no-deps -r requirements.lock
# Torch by its version alone, for its builds have other digests on every kind of machine, and with it
# what a package asks for on some systems only.
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check \
		--no-build-isolation $$(sed -n 's/^# apart: //p' requirements.lock) --editable .
# pip would compile one file after the other. Some are templates that do not compile, which is fine.
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $@
