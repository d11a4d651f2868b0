# Everything runs in .venv inside the clone. Each target sets it up first, which takes no time once it is there.
#
#   make setup    packages into .venv              make lab      JupyterLab on the notebooks
#   make demo     the quickstart, with pictures    make app      the widgets as a page, without JupyterLab
#   make test     ruff and all tests               make bench    speed of every part on this machine
#   make site     the notebooks, run, as pages     make figures  every picture of figures/ that is not fresh
#   make clean    .venv and build litter away
#
# PYTHON=python3.12   the interpreter to build .venv with (3.11 or newer)
# LOCK=               newest package versions instead of the pinned ones
# PIP_ARGS="…"         further options for pip, such as an index with CPU-only builds of PyTorch
# PYTEST_ARGS="-m 'not slow'", LAB_ARGS=…, APP_ARGS=…, FIGURES_ARGS="--profile laptop"
# FACEMUG_BROWSER=path  the Chromium for the widgets' tests; without one `make test` as root installs Debian's

PYTHON ?= python3
LOCK ?= requirements.lock
PIP_ARGS ?=
PYTEST_ARGS ?=
LAB_ARGS ?=
APP_ARGS ?=
FIGURES_ARGS ?=

BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip
SHELL := /bin/sh

.PHONY: setup demo test browser lab app site figures bench clean
.DEFAULT_GOAL := setup

setup: $(STAMP)

# Any moment of this recipe may be killed and the next `make` goes on from there: an environment without a working pip
# is built anew, and a package without INSTALLER, which pip writes last, was half-installed and is installed again.
$(STAMP): pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "facemug: $(PYTHON) is missing or older than 3.11: make setup PYTHON=python3.12, for instance" >&2; exit 1; }
	@rm -f $@
	@$(PIP) --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@for info in .venv/lib/python*/site-packages/*.dist-info; do \
		test -e "$$info/INSTALLER" || rm -rf "$$info"; done
	$(PIP) install $(PIP_ARGS) $(if $(LOCK),--constraint $(LOCK)) --editable ".[dev]" \
		$(if $(LOCK),|| { echo "facemug: that failed with the versions of $(LOCK); trying once without them"; \
		$(PIP) install $(PIP_ARGS) --editable ".[dev]"; })
	@touch $@

demo: setup
	@$(BIN)/facemug run 00_quickstart --profile smoke

test: setup browser
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

# The widgets' tests want a Chromium. Where there is none and nobody may install one, they are skipped and say so.
browser:
	@for name in $$FACEMUG_BROWSER chromium chromium-browser google-chrome google-chrome-stable chrome; do \
		command -v $$name >/dev/null && exit 0; \
	done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "facemug: installing Debian's chromium for the widgets' tests"; \
		{ apt-get install -y --no-install-recommends chromium \
			|| { apt-get update && apt-get install -y --no-install-recommends chromium; }; } >/dev/null 2>&1 \
			|| echo "facemug: that failed; the widgets' browser tests will be skipped"; \
	fi

# Without JupyterLab's own questions to other sites: is there a newer version, is there news.
lab: setup
	$(BIN)/jupyter-lab --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate --LabApp.news_url=None $(LAB_ARGS) notebooks

app: setup
	$(BIN)/facemug app $(APP_ARGS)

# Every notebook at `smoke`, about 15 minutes on two cores; site/index.html leads to the pages.
site: setup
	@$(BIN)/facemug site --out site

# Notebook by notebook at `smoke`, and the README's gallery, whose pictures take longer: about an hour on two cores where nothing is
# fresh. Killed, the same command goes on; `facemug figures list` says where.
figures: setup
	@$(BIN)/facemug figures make --all $(FIGURES_ARGS)

bench: setup
	@$(BIN)/facemug bench

# Trained runs (data/runs/<stage>-…) and the cache of downloaded weights are hours of work: they stay.
clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache data/runs/notebooks
	find facemug_lib tests notebooks -name __pycache__ -prune -exec rm -rf {} +
	find notebooks -name .ipynb_checkpoints -prune -exec rm -rf {} +
