# Every habit of this project. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
BIN := .venv/bin
# Extra places to look for wheels (a CPU build of torch, for instance); PyPI otherwise.
WHEELS := $(wildcard ../shared/wheels)
export PIP_FIND_LINKS := $(strip $(PIP_FIND_LINKS) $(WHEELS))
export PIP_DISABLE_PIP_VERSION_CHECK := 1
PINS := pyproject.toml constraints.txt tools/bootstrap.sh

.PHONY: help
help: ## List the habits
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.installed-cli: $(PINS)
	@tools/bootstrap.sh "$(PYTHON)" cli

.venv/.installed-dev: $(PINS)
	@tools/bootstrap.sh "$(PYTHON)" dev

.PHONY: run
run: .venv/.installed-cli ## Place the example services on the example cluster, in one process (bare machine to answer)
	@$(BIN)/stowplan place -f examples/services.yaml --cluster examples/cluster.yaml --models examples/models

.PHONY: test
test: .venv/.installed-dev controlplane lint drift ## Everything: lint, types, contracts, drift, unit, property, integration, end-to-end
	@$(BIN)/pytest

.PHONY: unit
unit: .venv/.installed-dev ## The tests that need no cluster and no training libraries
	@$(BIN)/pytest -m "not controlplane and not train"

.PHONY: e2e
e2e: .venv/.installed-dev controlplane ## The tests on the real control plane only
	@$(BIN)/pytest -m controlplane

.PHONY: lint
lint: .venv/.installed-dev ## ruff, mypy, import contracts, buf
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy fleet predictor extender operator cli tools bench tests
	@PATH=$(CURDIR)/$(BIN):$$PATH lint-imports --no-cache
	@$(BIN)/buf lint
	@$(BIN)/buf breaking --against proto/released.binpb

.PHONY: format
format: .venv/.installed-dev ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: generate
generate: .venv/.installed-dev ## Make the generated files anew (gRPC stubs, examples, reference, dashboards, pages of figures)
	@PATH=$(CURDIR)/$(BIN):$$PATH tools/generate.sh

.PHONY: drift
drift: .venv/.installed-dev ## Fail where a committed generated file is not what its generator makes
	@PATH=$(CURDIR)/$(BIN):$$PATH tools/generate.sh --check

.PHONY: controlplane
controlplane: ## Build etcd, kube-apiserver, controller-manager, scheduler, kubectl, kwok and helm into a cache
	@$(PYTHON) tools/controlplane.py build

.PHONY: images
images: .venv/.installed-cli ## Build the container images: by docker, podman or buildah where one works, else by ourselves into build/images
	@$(BIN)/python tools/containers.py build

.PHONY: cluster
cluster: .venv/.installed-cli ## A real node on this machine with the chart and a model server on it (root; `make cluster-down` ends it)
	@$(BIN)/python tools/realnode.py up

.PHONY: cluster-down
cluster-down: ## End the real node and remove everything of it
	@$(PYTHON) tools/realnode.py down

.PHONY: bench
bench: .venv/.installed-dev ## Benchmarks: five runs each, median and spread (the machine should do nothing else)
	@for script in bench/*.py; do echo "== $$script"; $(BIN)/python $$script; done

FUZZ_COUNT ?= 100000

.PHONY: fuzz
fuzz: .venv/.installed-dev ## Fuzz requests, objects, services and model files: FUZZ_COUNT inputs of each, guided by coverage where atheris is installed
	@$(BIN)/python tools/fuzz.py --count $(FUZZ_COUNT) --record bench/results/fuzzing.json

.PHONY: dataset
dataset: .venv/.installed-dev ## Measure this machine: about four hours in runs of 85 minutes, resumable; nothing else may run beside it
	@$(BIN)/python -m stowplan_predictor.training.campaigns --export-only
	@$(BIN)/python -m stowplan_predictor.training.campaigns --minutes 85

.PHONY: train
train: .venv/.installed-dev ## Train the shipped bundle from datasets/ and write its errors into the manifest
	@$(BIN)/stowplan train

.PHONY: rivals
rivals: .venv/.installed-dev ## Train every system on every fold and keep its predictions in datasets/: resumable
	@$(BIN)/python -m stowplan_predictor.training.rivals
	@for found in datasets/*/provenance.json; do
		$(BIN)/python -m stowplan_predictor.training.rivals.fusions $$(dirname $$found)
		$(BIN)/python -m stowplan_predictor.training.calibration.checks $$(dirname $$found)
	done

.PHONY: evaluate
evaluate: .venv/.installed-dev ## Render docs/accuracy.md from the kept predictions, and print its main table
	@$(BIN)/stowplan evaluate

.PHONY: clean
clean: ## Remove what was built inside the tree (caches outside it stay)
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .work
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
