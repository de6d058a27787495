# Targets with a line each: `make help`. Everything happens in .venv; nothing outside this folder changes.

.DEFAULT_GOAL := help
.PHONY: help setup run test e2e bench tune quantize key audit sbom fuzz soak chaos check format lock clean

# Takes the first that runs and is new enough: a python3.12 on the PATH may be a shim that does not start.
PYTHON ?= $(shell for p in python3.12 python3 python3.13 python3.14 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes

# Environments of the benchmark: its own, and one a peer.
BENCH := harness $(if $(QUICK),,litserve bentoml ray)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

setup: .venv/.installed ## set up .venv with what the service needs

run: .venv/.installed ## set up and serve the default model at http://127.0.0.1:8000
	@exec $(BIN)/python main.py

test: .venv/.installed-dev ## set up and run the tests
	@$(BIN)/python -m pytest -q

e2e: .venv/.installed-e2e ## set up and run the heavy tests: a browser (Debian: chromium, chromium-driver), load, processes
	@$(BIN)/python -m pytest -q tests/e2e

bench: .venv/.installed-quantize $(BENCH:%=.bench/%/.installed) ## Fovea, the bare loop and peers side by side, 30 min; QUICK=1: no peers; ROUNDS=, ONLY=
	@.bench/harness/bin/python -m benchmarks $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only '$(ONLY)')

tune: .venv/.installed ## measure how the models run best on this machine: make tune, or make tune MODEL=name
	@$(BIN)/python -m tools.tune $(MODEL)

quantize: .venv/.installed-quantize ## an 8-bit version beside the one that serves: make quantize MODEL=name CALIBRATION=folder [OUT=folder]
	@test -n "$(MODEL)" -a -n "$(CALIBRATION)" || { echo "Say make quantize MODEL=name CALIBRATION=folder-of-pictures" >&2; exit 2; }
	@$(BIN)/python -m tools.quantize $(if $(OUT),--out '$(OUT)') -- '$(MODEL)' '$(CALIBRATION)'

key: .venv/.installed ## a new random key, and the setting that lets it in
	@$(BIN)/python -m tools.make_key

audit: .audit/.installed ## known vulnerabilities in what the locks name (asks pypi.org and osv.dev)
	@.audit/bin/python deploy/audit.py

sbom: .audit/.installed ## sbom.json: what the service runs on, as CycloneDX
	@.audit/bin/cyclonedx-py requirements --output-reproducible --spec-version 1.6 -o sbom.json requirements.lock

fuzz: .fuzz/.installed ## bytes nobody would send, to everything that reads bytes: make fuzz [SECONDS=600] [PARTS='wire picture']
	@.fuzz/bin/python -m tests.fuzz --seconds $(or $(SECONDS),600) $(PARTS)

soak: .venv/.installed-e2e $(if $(PLOT),.bench/harness/.installed) ## mixed load for long, nothing may grow: make soak [MINUTES=30] [WORKERS=2] [PLOT=1]
	@$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),30) --workers $(or $(WORKERS),2)
	@$(if $(PLOT),.bench/harness/bin/python -m tests.soak.plot)

chaos: .venv/.installed-e2e ## faults by chance under load: make chaos [SECONDS=120] [SEED=n]
	@$(BIN)/python -m tests.chaos --seconds $(or $(SECONDS),120) $(if $(SEED),--seed $(SEED))

check: .venv/.installed-e2e ## format, lint and types, as CI checks them
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: .venv/.installed-dev ## format the code and mend what lint can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: .venv/.installed-dev ## write the locks anew from the requirements files
	@for name in requirements requirements-heif requirements-dev requirements-e2e requirements-quantize requirements-audit requirements-fuzz \
			requirements-bench-harness requirements-bench-litserve requirements-bench-bentoml requirements-bench-ray; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
			--no-emit-index-url --custom-compile-command 'make lock' $$name.txt -o $$name.lock; done

clean: ## remove .venv, .bench, .audit, .fuzz and the tools' caches
	rm -rf .venv .bench .audit .fuzz .proof .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or later was found on the PATH." >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "Python's venv module is needed (on Debian: apt install python3-venv)." >&2; exit 1; }

.venv/.installed: requirements.lock | .venv/bin/python
	@echo "Setting up .venv ..."
	@$(PIP_INSTALL) -r requirements.lock
	@touch $@

.venv/.installed-dev: requirements-dev.lock .venv/.installed
	@echo "Setting up .venv for tests ..."
	@$(PIP_INSTALL) -r requirements-dev.lock
	@touch $@

.venv/.installed-e2e: requirements-e2e.lock .venv/.installed-dev
	@$(PIP_INSTALL) -r requirements-e2e.lock
	@touch $@

.venv/.installed-quantize: requirements-quantize.lock .venv/.installed
	@$(PIP_INSTALL) -r requirements-quantize.lock
	@touch $@

.fuzz/.installed: requirements-fuzz.lock
	@echo "Setting up .fuzz ..."
	@$(PYTHON) -m venv .fuzz
	@.fuzz/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $< || { \
		echo "make fuzz needs atheris, which has packages for CPython on Linux x86-64 only;" \
			"if it is that which is missing, try make fuzz PYTHON=python3.11" >&2; exit 1; }
	@touch $@

.audit/.installed: requirements-audit.lock
	@echo "Setting up .audit ..."
	@$(PYTHON) -m venv .audit
	@.audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

.bench/%/.installed: requirements-bench-%.lock
	@echo "Setting up $(@D) ..."
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
