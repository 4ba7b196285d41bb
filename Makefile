# Everything a developer does with behest. `make help` lists it.
#
# Each target makes the virtual environment it needs from a hash-pinned file in requirements/, once, and again when that
# file or PYTHON changes. sam, ministack and checkov pin what they share with others, so each has its own; pip-audit is
# beside checkov.

PYTHON ?= python3
# More arguments for pytest: make test PYTEST_ARGS="-k fold -x"
PYTEST_ARGS ?=
# More arguments for the soak.
SOAK_ARGS ?=
# How many processes run the tests.
JOBS ?= auto

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := bash
export SAM_CLI_TELEMETRY := 0

# The version of PYTHON, such as 3.13; empty where it is older than 3.11 or not there.
version := $(shell $(PYTHON) -c 'import sys; sys.version_info >= (3, 11) and print("%d.%d" % sys.version_info[:2])' 2>/dev/null)

dev := .venv/.made-for-$(version)
deploy := .venvs/deploy/.made-for-$(version)
emulator := .venvs/emulator/.made-for-$(version)
audit := .venvs/audit/.made-for-$(version)
lock := .venvs/lock/.made-for-$(version)

.PHONY: help
help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'PYTHON=python3.13 chooses the interpreter (3.11 or newer), PYTEST_ARGS="-k fold" goes to pytest.'

# ---------------------------------------------------------------- use it

.PHONY: demo
demo: $(dev) ## agents write runs, the local stack folds them, queries answer
	.venv/bin/behest demo

# ---------------------------------------------------------------- check it

.PHONY: test
test: $(dev) ## all tests but those that need a deployed stack
	.venv/bin/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

.PHONY: soak
soak: $(dev) ## 1,000,000 events over 10,000 runs under faults, in about ten minutes; SOAK_ARGS="--seed 7" for others
	.venv/bin/python -m tests.simulation --soak $(SOAK_ARGS)

.PHONY: e2e
e2e: $(dev) $(emulator) $(deploy) ## build, deploy onto a local AWS emulator, real runs in, right states out
	.venv/bin/python -m pytest -m e2e $(PYTEST_ARGS) tests/e2e

# A browser is a package of the system: the tests take the one that is there, or ask apt for it where they may.
.PHONY: browser
browser: $(dev) ## the pages in a real browser, headless Chromium, while agents write
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
		|| { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends chromium; }
	.venv/bin/python -m pytest -m browser $(PYTEST_ARGS) tests/browser

.PHONY: bench
bench: $(dev) ## measure speed and cost
	.venv/bin/python -m pytest -m benchmark -s $(PYTEST_ARGS) tests/benchmarks

.PHONY: lint
lint: $(dev) ## style, types, and the templates' rules
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/cfn-lint template.yaml monitoring.yaml

.PHONY: audit
audit: $(deploy) $(audit) ## the templates again, by sam and checkov; known vulnerabilities of what is pinned
	AWS_DEFAULT_REGION=us-east-1 .venvs/deploy/bin/sam validate --lint
	.venvs/audit/bin/checkov --file template.yaml monitoring.yaml --framework cloudformation --compact --quiet --skip-download
	.venvs/audit/bin/python requirements/advisories.py $(filter-out requirements/plugins.txt,$(wildcard requirements/*.txt))

# ---------------------------------------------------------------- package it

.PHONY: build
build: $(deploy) ## what is deployed, into .aws-sam/
	.venvs/deploy/bin/sam build
	@$(layer_python) requirements/built_runtime.py .aws-sam/build/template.yaml .aws-sam/build/BehestLayer

.PHONY: deploy
deploy: build ## build, then deploy to the account your AWS settings name; DEPLOY_ARGS="--stack-name NAME" go to sam
	.venvs/deploy/bin/sam deploy $(DEPLOY_ARGS)

# `sam build` calls these, with the folder to fill in ARTIFACTS_DIR.

# Any pip installs the wheels of any Python and platform, so the layer can be built anywhere. A Python finds the compiled
# modules of its own version and platform by their names, so one layer holds them for all; the rest is the same files.
# Lambda cannot write bytecode beside them, so without any each cold start compiles all that it imports: three times the
# import time. Bytecode is added for each version whose Python is on this machine; `make build` lets a new stack run on one of them.
LAYER_PYTHONS ?= 3.11 3.12 3.13 3.14
LAYER_PLATFORMS ?= aarch64 x86_64
# The plugins in the layer, see docs/deploying.md.
PLUGIN_REQUIREMENTS ?= requirements/plugins.txt
layer_python := $(firstword $(wildcard .venvs/deploy/bin/python) $(PYTHON))

.PHONY: build-BehestLayer
build-BehestLayer:
	@set -euo pipefail; \
	modules="$(ARTIFACTS_DIR)/python"; mkdir -p "$$modules"; \
	one="$$(mktemp -d)"; trap 'rm -rf "$$one"' EXIT; \
	$(layer_python) requirements/layer_plugins.py "$(PLUGIN_REQUIREMENTS)" "$$one"; \
	for python in $(LAYER_PYTHONS); do for platform in $(LAYER_PLATFORMS); do \
		install=($(layer_python) -m pip install -qq --disable-pip-version-check --no-compile \
			--only-binary :all: --implementation cp --python-version $$python \
			--platform manylinux_2_28_$$platform --platform manylinux2014_$$platform); \
		if test -e "$$one/plugins"; then \
			"$${install[@]}" --target "$$one/$$python-$$platform-plugins" --find-links "$$one/plugins" \
				--constraint "$$one/plugins/constraints.txt" --requirement "$(PLUGIN_REQUIREMENTS)"; \
			cp -R "$$one/$$python-$$platform-plugins/." "$$modules"; \
		fi; \
		"$${install[@]}" --target "$$one/$$python-$$platform" --require-hashes --no-deps --requirement requirements/layer.txt; \
		cp -R "$$one/$$python-$$platform/." "$$modules"; \
	done; done; \
	rm -rf "$$modules"/behest_core-*.dist-info; \
	rm -rf "$$modules/bin"; \
	tar --create --exclude __pycache__ --exclude behest_core/cli --exclude behest_core/demo --exclude behest_core/testing \
			--exclude behest_core/terminal.py behest_core \
		| tar --extract --directory "$$modules"; \
	for python in $(LAYER_PYTHONS); do \
		found=; for each in python$$python $(PYTHON) $(layer_python); do \
			is="$$("$$each" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true)"; \
			if test "$$is" = "$$python"; then found="$$each"; break; fi; \
		done; \
		if test -n "$$found"; \
		then "$$found" -m compileall -q --invalidation-mode unchecked-hash "$$modules"; \
		else echo "No python$$python here: the layer has no bytecode for it, its cold starts take longer."; fi; \
	done

.PHONY: build-ProjectorFunction
build-ProjectorFunction:
	cp functions/projector/*.py '$(ARTIFACTS_DIR)'

.PHONY: build-ReconcilerFunction
build-ReconcilerFunction:
	cp functions/reconciler/*.py '$(ARTIFACTS_DIR)'

.PHONY: build-NotifierFunction
build-NotifierFunction:
	cp functions/notifier/*.py '$(ARTIFACTS_DIR)'

# ---------------------------------------------------------------- release it

.PHONY: dist
dist: $(dev) ## wheel and sdist, into dist/
	.venv/bin/python -m hatchling build --clean

# ---------------------------------------------------------------- keep it

.PHONY: screenshots
screenshots: $(dev) ## take the pictures of the page that README and docs show
	.venv/bin/python -m tests.browser.screenshots

# The files hold names, versions and hashes, no addresses: they work with any index. pip wants a pin's extras beside it.
compile = .venvs/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-strip-extras --custom-compile-command 'make lock' $(LOCK_ARGS)

.PHONY: lock
lock: $(lock) ## pin requirements/*.txt anew from *.in; LOCK_ARGS=--upgrade takes newer versions
	cd requirements && ../$(compile) lock.in --output-file lock.txt
	cd requirements && ../$(compile) ../pyproject.toml --extra cli --extra lambda --extra testing --extra web dev.in --output-file dev.txt
	for of in pip layer page deploy emulator audit; do (cd requirements && ../$(compile) $$of.in --output-file $$of.txt) || exit 1; done

.PHONY: clean
clean: ## remove all that make made, the environments included
	rm -rf tests/benchmarks/rust/target .venv .venvs .aws-sam build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------- the environments

# How each recipe below begins: a fresh environment in the target's folder, unless one for this version is there.
define environment
	@test -n '$(version)' || { echo 'behest needs Python 3.11 or newer; $(PYTHON) is not. Try: make PYTHON=python3.13' >&2; exit 1; }
	@echo 'Installing $(filter %.txt,$^) into $(@D)'
	@test "$$($(@D)/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = '$(version)' \
		|| $(PYTHON) -m venv --clear $(@D)
	@rm -f $(@D)/.made-for-*
	@$(@D)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/pip.txt
	@$(@D)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $(filter %.txt,$^)
endef

$(dev): requirements/dev.txt pyproject.toml hatch_build.py $(wildcard plugins/*/pyproject.toml)
	$(environment)
	@$(@D)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable . \
		$(patsubst %/pyproject.toml,--editable %,$(wildcard plugins/*/pyproject.toml))
	@touch $@

$(deploy): requirements/deploy.txt
	$(environment)
	@touch $@

$(emulator): requirements/emulator.txt
	$(environment)
	@touch $@

$(audit): requirements/audit.txt
	$(environment)
	@touch $@

$(lock): requirements/lock.txt
	$(environment)
	@touch $@
