# `make` alone lists the targets. A newcomer needs two: `make run` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
UV_ENV := $(VENV)-lock
DIST_ENV := $(VENV)-dist
LOCK   := $(UV_ENV)/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 \
          --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --upgrade pyproject.toml

APT     = $(if $(filter-out 0,$(shell id -u)),sudo) sh -c 'apt-get update --quiet && \
          DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends $(1)'
BROWSER := chromium fonts-dejavu-core
PROXY   := caddy nginx openssl
MONITORING := prometheus
SYSTEMD := systemd

.DEFAULT_GOAL := help
.PHONY: help setup run test browser-deps proxy-deps monitoring-deps systemd-deps test-deps dist-deps dist vps fmt bench crash upgrade faults file-faults model fuzz soak lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## make .venv from the locked requirements (nothing to do when they are unchanged)

run: setup ## set up, then start the demo: daemon, chat page and status page, no account needed
	@$(BIN)/bot demo

test: setup ## set up, then run lint, format, types, import floors and the test suite
	@status=0; \
	check() { \
		name=$$1; shift; printf '%-14s' "$$name"; \
		if out=$$("$$@" 2>&1); then echo ok; else echo failed; echo "$$out"; status=1; fi; \
	}; \
	check "ruff check" $(BIN)/ruff check .; \
	check "ruff format" $(BIN)/ruff format --check .; \
	check mypy $(BIN)/mypy; \
	check lint-imports $(BIN)/lint-imports --no-logo; \
	$(BIN)/pytest -q -n 3 --dist worksteal || status=1; \
	exit $$status

browser-deps: ## install Debian's Chromium for tests/browser (by apt-get, with sudo where you aren't root)
	@command -v chromium >/dev/null || $(call APT,$(BROWSER))

proxy-deps: ## install Caddy, nginx and openssl for tests/process/test_proxies.py (by apt-get, as above)
	@which caddy nginx openssl >/dev/null || $(call APT,$(PROXY))

monitoring-deps: ## install Debian's Prometheus for tests/monitoring (by apt-get, as above)
	@which prometheus promtool >/dev/null || $(call APT,$(MONITORING))

systemd-deps: ## install Debian's systemd for tests/house/test_units.py (by apt-get, as above)
	@which systemd-analyze >/dev/null || $(call APT,$(SYSTEMD))

test-deps: ## install all four at once
	@which chromium caddy nginx openssl prometheus promtool systemd-analyze >/dev/null || \
		$(call APT,$(BROWSER) $(PROXY) $(MONITORING) $(SYSTEMD))

dist-deps: ## install what `make dist` needs beyond Python (by apt-get, as above)
	@$(call APT,binutils libpython$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))

dist: $(DIST_ENV)/.installed ## build dist/bot-VERSION-ARCH, one file that needs no Python, and a wheel: the same bytes each time
	@rm -rf build/bot dist  # not the roots of `make vps`
	@export SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) PYTHONHASHSEED=1; \
	$(DIST_ENV)/bin/python -m hatchling build --target wheel && \
	$(DIST_ENV)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --no-index --force-reinstall dist/bot-*.whl && \
	$(DIST_ENV)/bin/pyinstaller --onefile --clean --noconfirm --log-level WARN --name bot --specpath build --distpath dist \
		--collect-data bot --collect-submodules bot onefile/entry.py
	@mv dist/bot dist/bot-$$($(DIST_ENV)/bin/python -c 'import bot; print(bot.__version__)')-$$(uname -m)
	@ls -l dist

vps: setup dist ## the one file and the units on Debian 12 and 13 with a real systemd (as root, with debootstrap; minutes)
	@tests/vps/run.sh

fmt: setup ## sort imports, fix what can be fixed, format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup ## measure: tests/bench, ratios from one run
	@$(BIN)/python -m tests.bench

file-faults: setup ## full and broken disks, locks (for a minute), damaged and deleted files: tests/process/file_faults
	@FILE_FAULTS=long $(BIN)/pytest -v tests/process/file_faults

model: setup ## look long for a sequence that the queue gets wrong: make model EXAMPLES=1000
	@EXAMPLES=$(or $(EXAMPLES),300) $(BIN)/pytest -q -s tests/store/sqlite/test_model.py

faults: setup ## every row of docs/faults.md, hitting one request, a fifth and all of them
	@FAULTS=all $(BIN)/pytest -q -s tests/flow/test_faults.py

crash: setup ## kill a daemon under load N times (100), with power cuts; SEED= repeats a run
	@$(BIN)/python -m tests.process.crash --kills $(or $(N),100) $(if $(SEED),--seed $(SEED))

upgrade: setup ## renew files of every older version with ROWS (1000000) messages, killed again and again meanwhile
	@UPGRADE_ROWS=$(or $(ROWS),1000000) $(BIN)/pytest -q -s -o tmp_path_retention_policy=failed tests/process/crash/test_upgrade.py

fuzz: setup ## throw N (20000) spoiled webhooks of a SEED (any) at a real daemon; 0 failures wanted
	@$(BIN)/python -m tests.fuzz $(if $(N),-n $(N)) $(if $(SEED),--seed $(SEED))

soak: setup ## load a real daemon for MINUTES (20) while faults come and go: does it stay flat?
	@$(BIN)/python -m tests.soak $(MINUTES)

lock: ## renew the requirements files (exact versions with hashes)
	@$(PYTHON) -m venv --clear $(UV_ENV)
	@$(UV_ENV)/bin/python -m pip --disable-pip-version-check --quiet install uv
	@env -u UV_FIND_LINKS $(LOCK) --group dev --group build --output-file requirements.txt
	@env -u UV_FIND_LINKS $(LOCK) --constraint requirements.txt --no-annotate --output-file requirements-run.txt
	@env -u UV_FIND_LINKS $(LOCK) --constraint requirements.txt --group dist --no-annotate --output-file requirements-dist.txt
	@rm -rf $(UV_ENV)
	@git --no-pager diff --stat -- 'requirements*.txt'

clean: ## remove .venv, caches and what builds leave
	@rm -rf $(VENV) $(UV_ENV) $(DIST_ENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here: apt install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is too old, 3.11 or newer is needed: apt install python3 python3-venv on Debian 12 or later, or make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module: apt install python3-venv" >&2; exit 1; }
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --require-hashes -r requirements.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DIST_ENV)/.installed: requirements-dist.txt
	@$(PYTHON) -m venv --clear $(DIST_ENV)
	@$(DIST_ENV)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements-dist.txt
	@rm -f $(DIST_ENV)/lib/python*/site-packages/*.dist-info/RECORD  # it travels along, and knows this folder's path
	@touch $@
