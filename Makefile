# `make help` lists what there is to do. Each target installs what it lacks first (scripts/setup.sh), and repeats nothing.
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
BENCH_ARGS ?=

# Kernel tests, recordings and benchmarks load BPF programs.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-kernels check format bench fuzz clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install the project with its build and test tools into .venv
	@scripts/setup.sh build

demo: ## make a small container, record it, and show what the trace tells
	@scripts/setup.sh build demo
	@$(SUDO) demo/run.sh $(BIN)/boxtrace

test: ## run all tests (PYTEST_ARGS="-k ring -x" chooses)
	@scripts/setup.sh build test
	@$(SUDO) $(BIN)/pytest $(PYTEST_ARGS)

test-kernels: ## record on other kernels, in virtual machines (part of `make test`, too)
	@scripts/setup.sh build kernels
	@$(BIN)/pytest tests/vm $(PYTEST_ARGS)

check: ## lint, format, types, layers, and what must not be in the tree
	@scripts/setup.sh build
	@scripts/check.sh $(BIN)

format: ## rewrite the sources in the project's format
	@scripts/setup.sh build
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .
	@scripts/c-sources.sh | xargs -0 $(BIN)/clang-format -i

bench: ## measure what tracing costs (BENCH_ARGS="--rounds 3 syscall")
	@scripts/setup.sh build bench
	@$(SUDO) $(BIN)/python -m benchmarks $(BENCH_ARGS)

fuzz: ## decode damaged packets under sanitizers (FUZZ_SECONDS=600)
	@scripts/setup.sh build test
	@BOXTRACE_FUZZ_SECONDS=$(or $(FUZZ_SECONDS),600) $(BIN)/pytest tests/fuzz $(PYTEST_ARGS)

clean: ## remove what was built, and .venv
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .cache
	find src tests benchmarks scripts demo -name __pycache__ -type d -prune -exec rm -rf {} +
