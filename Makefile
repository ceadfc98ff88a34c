# YarnMill: `make` lists what there is to make. Python 3.11, OpenJDK 17 and Maven are all it needs.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
LOCKS  := conf/environments
DEMO_HOME := build/demo/home
# What runs here must not read an environment that somebody's shell happens to have on.
export PYTHONNOUSERSITE := 1
unexport PYTHONPATH
# Without .pyc files every program compiles all that it imports: a third of the quick tests' time, seconds for MLflow.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help env demo demo-down test test-unit browser kerberos prometheus lint format lock clean announce hadoop spark-classes training horovod

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make demo KEEP=1   leave cluster and server up, and print their addresses"
	@echo "  make demo FAST=1   the GLMix half only: no training frameworks to download"

# ---- set-up ---------------------------------------------------------------------------------------------------

env: $(VENV)/.complete hadoop spark-classes $(if $(FAST),,training)  ## set everything up: environments, Hadoop

announce:
	@conf/environments/announce.sh $(if $(FAST),fast,full) $(VENV)

# Built in place and marked complete last: an interrupted set-up is simply done again.
$(VENV)/.complete: setup.py $(LOCKS)/platform.lock $(LOCKS)/installer.lock | announce
	@command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON); to mend it: apt-get install python3.11 python3.11-venv, or make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "error: $(PYTHON) is not Python 3.11; to mend it: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCKS)/installer.lock
	@echo "installing the platform's environment"
	@VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip sync --quiet --require-hashes $(LOCKS)/platform.lock
	@VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

hadoop: $(VENV)/.complete
	@$(BIN)/yarnmill cluster fetch

spark-classes: $(VENV)/.complete
	@$(BIN)/yarnmill env spark-classes

training: $(VENV)/.complete
	@$(BIN)/yarnmill env build training

horovod: $(VENV)/.complete
	@$(BIN)/yarnmill env build horovod

# ---- the main job ---------------------------------------------------------------------------------------------

demo: env  ## the main job end to end: MovieLens from HDFS to a REST answer
	@$(BIN)/yarnmill demo run --home $(DEMO_HOME) $(if $(KEEP),--keep) $(if $(FAST),--fast)

demo-down: $(VENV)/.complete  ## stop what `make demo KEEP=1` left up
	@$(BIN)/yarnmill demo down --home $(DEMO_HOME)

# ---- checks ---------------------------------------------------------------------------------------------------

test: env horovod browser kerberos prometheus  ## all tests: unit, Spark, cluster, training, end to end
	@$(BIN)/python -m pytest --durations=25 -n 2 --dist loadgroup

test-unit: $(VENV)/.complete  ## the quick tests alone
	@$(BIN)/python -m pytest -m "not slow and not programs and not spark and not cluster and not training and not secured and not e2e" --durations=5 -n 2 --dist worksteal

# Tests that look at pages need one; pytest alone skips them without it.
browser:  ## install Chromium if there is no browser for the tests (Debian, as root)
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	  || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
	  || { echo "error: no Chromium, and it cannot be installed; to mend it: install chromium or google-chrome" >&2; exit 2; }

# A secured local cluster needs a KDC; pytest alone skips its tests without one.
kerberos:  ## install MIT's Kerberos if there is no KDC for a secured cluster (Debian, as root)
	@PATH="$$PATH:/usr/sbin:/sbin" type -P krb5kdc kadmin.local kinit >/dev/null \
	  || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends krb5-kdc krb5-admin-server krb5-user >/dev/null; } \
	  || { echo "error: no KDC, and it cannot be installed; to mend it: install krb5-kdc, krb5-admin-server and krb5-user" >&2; exit 2; }

# The tests read one that scrapes tiers; pytest alone skips them without it. Nothing is installed: no service starts.
PROMETHEUS = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/yarnmill/prometheus
prometheus:  ## fetch Prometheus for the tests if there is none (Debian)
	@command -v prometheus >/dev/null || [ -x "$(PROMETHEUS)/usr/bin/prometheus" ] \
	  || { fetched="$$(mktemp -d)" && cd "$$fetched" \
	    && { apt-get download -qq prometheus 2>/dev/null || { apt-get update -qq && apt-get download -qq prometheus; }; } \
	    && dpkg -x prometheus_*.deb unpacked && rm -rf "$(PROMETHEUS)" && mkdir -p "$(dir $(PROMETHEUS))" \
	    && mv unpacked "$(PROMETHEUS)" && rm -r "$$fetched"; } \
	  || { echo "error: no Prometheus, and it cannot be fetched; to mend it: install prometheus" >&2; exit 2; }

lint: $(VENV)/.complete  ## ruff, mypy, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.complete  ## bring the code into its form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# ---- upkeep ---------------------------------------------------------------------------------------------------

LOCK = $(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade
lock: $(VENV)/.complete  ## pin the newest versions that fit; then measure downloads.yaml anew
	@$(LOCK) setup.py --all-extras -o $(LOCKS)/platform.lock
	@$(LOCK) $(LOCKS)/training.in -o $(LOCKS)/training.lock
	@$(LOCK) $(LOCKS)/horovod.in -o $(LOCKS)/horovod.lock
	@$(LOCK) tests/serving/control/merlin-sdk.in -o tests/serving/control/merlin-sdk.lock
	@$(LOCK) tests/serving/kserve.in -o tests/serving/kserve.lock
	@grep -A 30 '^uv==' $(LOCKS)/platform.lock | awk 'NR==1||/^ /{print;next}{exit}' > $(LOCKS)/installer.lock

clean: ## forget the virtual environment and everything built here (the user cache stays)
	@rm -rf $(VENV) build
