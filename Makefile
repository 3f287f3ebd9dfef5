# Everything that the project does for itself, on a bare machine with Python 3.11 or newer and make.
# Each target makes the environment that it needs, once; `make clean` removes both.

PYTHON ?= python3
DEMO := .venv-demo
DEV := .venv
PIP := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
ARGS ?=

# The tests start hundreds of processes: without its compiled files each would compile the whole package anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(DEMO)/ready ## Serve, interleave and judge on a year of real baskets (ARGS="--candidate worse --exit")
	@$(DEMO)/bin/incumbent demo $(ARGS)

test: $(DEV)/ready ## Run every test that needs nothing but PyPI (ARGS="tests/stats -x")
	$(DEV)/bin/python -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: $(DEV)/ready ## Run the long simulations and crash campaigns
	$(DEV)/bin/python -m pytest -m slow $(ARGS)

check: $(DEV)/ready ## Lint, check types, check the import contracts
	$(DEV)/bin/ruff check .
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports

bench: $(DEV)/ready ## Print the table behind every performance claim
	@set -e; for file in benchmarks/*.py; do \
		case $$file in */_*) continue;; esac; \
		echo "== $$file"; $(DEV)/bin/python $$file; \
	done

clean: ## Remove the environments and caches
	rm -rf $(DEMO) $(DEV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(DEMO)/ready: pyproject.toml constraints.txt
	$(call environment,$(DEMO),.[demo])

$(DEV)/ready: pyproject.toml constraints.txt
	$(call environment,$(DEV),.[dev])

# An environment with the project in editable mode: $(call environment,FOLDER,REQUIREMENT)
define environment
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "incumbent needs Python 3.11 or newer; name one: make PYTHON=python3.11" >&2; exit 1; }
@echo "making $(1)" >&2
@rm -rf $(1)
@$(PYTHON) -m venv $(1)
@$(1)/bin/python $(PIP) --editable '$(2)'
@touch $@
endef
