# `make help` lists the targets. Everything is installed in this folder: .venv holds the service, .venv-dev the checks
# and tests, .venv-ray all of that with Ray, .fuzz, .audit, .docs, .client, .clients and .bench the tools of those targets.

.DEFAULT_GOAL := help
.PHONY: help setup run test e2e cluster clients exports docs client bench bench-curves tune quantize inspect find-recipe samples key audit sbom fuzz soak \
	chaos check check-page format lock clean

# The first interpreter that starts and is new enough.
PYTHON ?= $(shell for p in python3.12 python3 python3.13 python3.14 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
PIP := -m pip install --quiet --disable-pip-version-check --require-hashes
SERVICE := .venv/bin/python
DEV := .venv-dev/bin/python
PEERS := $(if $(QUICK),,litserve bentoml ray)

RECORD = $(EXPORT) tools/record_samples.py
PIPELINES := models.reference_pipelines
SMALL_PHOTOS := tests/data/cat.jpg $(addprefix tests/data/photos/gcompris_,monuments_IndiaGate.webp things_bucket.webp)
ANIMAL_PHOTOS := tests/data/cat.jpg $(addprefix tests/data/photos/gcompris_farm_,dog.webp chicken.webp)

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

setup: .venv/.installed $(if $(RUNTIME),.venv/.installed-$(RUNTIME)) ## install the service into .venv: make setup [RUNTIME=openvino]

run: .venv/.installed ## serve the default model at http://127.0.0.1:8000
	@exec $(SERVICE) main.py

test: .venv-dev/.installed-dev ## run the tests
	@PYTHONDONTWRITEBYTECODE= $(DEV) -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder -m "not slow"

CLIENTS := .clients/kserve/.installed .clients/perf-analyzer/.installed
CLIENT_TESTS := $(addprefix tests/e2e/,test_dialects.py open_inference)

e2e: .venv-dev/.installed-e2e $(CLIENTS) ## run the end-to-end tests (Debian packages they need: .ci/run)
	@$(DEV) -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder --client-table check tests/e2e \
		--ignore tests/e2e/test_exports.py --ignore tests/e2e/test_from_pytorch.py
	@$(DEV) -m pytest -q -n 3 --dist loadfile -m slow

cluster: .venv-ray/.installed .clients/kserve/.installed ## run the tests on a Ray cluster of three nodes, behind Serve's own proxy and behind HAProxy
	@for ha_proxy in 0 1; do RAY_SERVE_ENABLE_HA_PROXY=$$ha_proxy .venv-ray/bin/python -m pytest -q tests/cluster || exit; done

clients: .venv-dev/.installed-e2e $(CLIENTS) ## write the tables of docs/clients.md: what each call of each client does
	@$(DEV) -m pytest -q -n 2 --dist loadfile --client-table write $(CLIENT_TESTS)

exports: .venv/.installed .venv-dev/.installed-e2e .venv-exports/.installed ## compare the answers about exports with their frameworks' (torch, 5 GB): make exports [QUICK=1] [DOCS=1]
	@.venv-exports/bin/python -m tests.e2e.exports $(if $(QUICK),--quick)
	@.venv-exports/bin/python -m tests.e2e.exports.small .cache/exports/small
	@$(DEV) -m pytest -q -n 2 tests/e2e/test_exports.py tests/e2e/test_small_exports.py tests/e2e/test_from_pytorch.py $(if $(QUICK),-m quick); status=$$?; \
		$(if $(DOCS),$(DEV) -m tests.e2e.exports.table;) exit $$status

docs: .docs/.installed ## build the documents as a site in .docs/site; a broken link fails
	@rm -rf .docs/pages && mkdir .docs/pages
	@tar cf - *.md LICENSE docs deploy models/*.md models/*.py | tar xf - -C .docs/pages
	@.docs/bin/mkdocs build --strict -f docs/mkdocs.yml

client: .client/.installed ## generate a typed Python client from a running service: make client [URL=http://127.0.0.1:8000] [OUT=fovea_client]
	@PATH="$(CURDIR)/.client/bin:$$PATH" openapi-python-client generate --url $(or $(URL),http://127.0.0.1:8000)/openapi.json \
		--meta none --overwrite --fail-on-warning --output-path $(or $(OUT),fovea_client)

bench: .venv/.installed-quantize .bench/harness/.installed $(PEERS:%=.bench/%/.installed) ## compare with the bare loop and peers, 30 min: make bench [QUICK=1] [ROUNDS=3] [ONLY=names]
	@.bench/harness/bin/python -m benchmarks $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only '$(ONLY)')
	@$(if $(QUICK)$(ONLY),,$(SERVICE) -m benchmarks.folder)

bench-curves: .venv/.installed .bench/harness/.installed $(if $(QUICK),,.bench/litserve/.installed .bench/ray/.installed) ## cost as work grows, 15 min: make bench-curves [QUICK=1] [CURVES=names]
	@.bench/harness/bin/python -m benchmarks.curves $(if $(QUICK),--quick) $(if $(CURVES),--only '$(CURVES)')

tune: .venv/.installed ## measure the best thread counts and batch sizes of models: make tune [MODEL=name]
	@$(SERVICE) -m tools.tune $(MODEL)

quantize: .venv/.installed-quantize ## add an 8-bit version of a model: make quantize MODEL=name CALIBRATION=folder [OUT=folder]
	@test -n "$(MODEL)" -a -n "$(CALIBRATION)" || { echo "Usage: make quantize MODEL=name CALIBRATION=folder-of-pictures [OUT=folder]" >&2; exit 2; }
	@$(SERVICE) -m tools.quantize $(if $(OUT),--out '$(OUT)') -- '$(MODEL)' '$(CALIBRATION)'

inspect: .venv/.installed ## show how a model is understood: make inspect MODEL=path
	@test -n "$(MODEL)" || { echo "Usage: make inspect MODEL=path-of-a-model" >&2; exit 2; }
	@$(SERVICE) -m tools.inspect -- '$(MODEL)'

find-recipe: .venv/.installed ## find a classifier's preprocessing by measuring: make find-recipe MODEL=x.onnx PHOTOS=folder
	@test -n "$(MODEL)" -a -n "$(PHOTOS)" || { echo "Usage: make find-recipe MODEL=path-of-a-model PHOTOS=labelled-pictures" >&2; exit 2; }
	@$(SERVICE) -m tools.find_recipe --photos '$(PHOTOS)' -- '$(MODEL)'

samples: ## record the shipped models' samples again: make samples EXPORT=python-with-requirements/export.txt
	@test -n "$(EXPORT)" || { echo "Usage: make samples EXPORT=a-python-with-requirements/export.txt" >&2; exit 2; }
	@$(RECORD) models/efficientnet-lite0 $(SMALL_PHOTOS) --callable $(PIPELINES):efficientnet_lite0 --tolerance 0.01 \
		--framework 'efficientnet-lite-pytorch 0.1.0' --note 'float32; the model stores its weights as float16'
	@$(RECORD) models/efficientnet-lite0-embed $(SMALL_PHOTOS) --callable $(PIPELINES):efficientnet_lite0_embed --tolerance 0.2 \
		--framework 'efficientnet-lite-pytorch 0.1.0' --note 'float32; the model is 8-bit'
	@$(RECORD) models/picodet-s-416 $(ANIMAL_PHOTOS) --callable $(PIPELINES):picodet --threshold 0.4 --tolerance 0.02 \
		--framework 'ONNX Runtime, Pillow and NumPy' --note "PaddleDetection's steps, but with a bilinear antialiased resize"
	@$(RECORD) models/u2netp $(firstword $(ANIMAL_PHOTOS)) --callable $(PIPELINES):u2netp --tolerance 0.01 \
		--framework 'ONNX Runtime, Pillow and NumPy' --note "rembg's steps"

key: .venv/.installed ## make a random API key and print the setting for it
	@$(SERVICE) -m tools.make_key

audit: .audit/.installed ## look up known vulnerabilities of all packages (asks pypi.org and osv.dev)
	@.audit/bin/python deploy/audit.py

sbom: .audit/.installed ## write sbom.json: the service's packages as CycloneDX
	@.audit/bin/cyclonedx-py requirements --output-reproducible --spec-version 1.6 -o sbom.json requirements.lock

fuzz: .fuzz/.installed ## fuzz everything that reads bytes: make fuzz [SECONDS=600] [PARTS='wire picture']
	@.fuzz/bin/python -m tests.fuzz --seconds $(or $(SECONDS),600) $(PARTS)

soak: .venv-dev/.installed-e2e $(if $(PLOT),.bench/harness/.installed) ## mixed load, no growth allowed: make soak [MINUTES=30] [WORKERS=1] [PLOT=1]
	@$(DEV) -m tests.soak --minutes $(or $(MINUTES),30) --workers $(or $(WORKERS),1)
	@$(if $(PLOT),.bench/harness/bin/python -m tests.soak.plot)

chaos: .venv-dev/.installed-e2e ## random faults under load: make chaos [SECONDS=120] [SEED=n]
	@$(DEV) -m tests.chaos --seconds $(or $(SECONDS),120) $(if $(SEED),--seed $(SEED))

check: .venv-dev/.installed-e2e ## check format, lint and types
	@.venv-dev/bin/ruff format --check .
	@.venv-dev/bin/ruff check .
	@.venv-dev/bin/mypy

check-page: .check-page/.installed ## check format and lint of the page's JavaScript, CSS and HTML (npm): make check-page [FIX=1]
	@.check-page/node_modules/.bin/biome check $(if $(FIX),--write,--error-on-warnings) \
		--config-path requirements/page api/static

format: .venv-dev/.installed-dev ## format the code and fix lint errors
	@.venv-dev/bin/ruff format .
	@.venv-dev/bin/ruff check --fix .

COMPILE := .venv-dev/bin/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-emit-index-url \
	--custom-compile-command 'make lock'

lock: .venv-dev/.installed-dev ## write requirements.txt, requirements.lock and requirements/ from pyproject.toml
	@$(COMPILE) --no-deps pyproject.toml -o requirements.txt
	@$(COMPILE) --generate-hashes pyproject.toml -o requirements.lock
	@for extra in grpc heif openvino otel redis quantize; do \
		$(COMPILE) --generate-hashes -c requirements.lock pyproject.toml --extra $$extra -o requirements/$$extra.txt || exit; done
	@for group in dev e2e fuzz; do \
		$(COMPILE) --generate-hashes -c requirements.lock pyproject.toml --extra grpc --extra heif --extra otel --extra redis --group $$group \
			-o requirements/$$group.txt || exit; done
	@$(COMPILE) --generate-hashes -c requirements.lock --group gpu -o requirements/gpu.txt
	@$(COMPILE) --generate-hashes -c requirements/e2e.txt pyproject.toml --extra ray -o requirements/ray.lock
	@for group in audit docs client clients-kserve bench-harness bench-bentoml bench-litserve bench-ray; do \
		$(COMPILE) --generate-hashes -c requirements.txt --group $$group -o requirements/$$group.txt || exit; done
	@$(COMPILE) --no-deps --generate-hashes --group clients-perf-analyzer -o requirements/clients-perf-analyzer.txt
	@for group in onnxruntime-openvino export exports golden; do \
		$(COMPILE) --no-deps --no-strip-extras --group $$group -o requirements/$$group.txt || exit; done

clean: ## remove what was installed and the tools' caches
	rm -rf .venv .venv-dev .venv-ray .venv-exports .cache/exports .bench .audit .client .clients .docs .fuzz .proof .check-page .mypy_cache .ruff_cache .pytest_cache .hypothesis

.check-page/.installed: requirements/page/package-lock.json
	@mkdir -p $(@D) && cp requirements/page/package*.json $(@D)
	@npm ci --silent --no-fund --no-audit --prefix $(@D)
	@touch $@

.venv/.installed: requirements.lock | .venv/bin/python
	@echo "Installing the service into .venv ..."
	@$(SERVICE) $(PIP) -r $<
	@touch $@

.venv/.installed-%: requirements/%.txt .venv/.installed
	@$(SERVICE) $(PIP) -r $<
	@touch $@

.venv-dev/.installed-dev: requirements/dev.txt | .venv-dev/bin/python
	@echo "Installing the checks and tests into .venv-dev ..."
	@$(DEV) $(PIP) -r $<
	@touch $@

.venv-dev/.installed-e2e: requirements/e2e.txt .venv-dev/.installed-dev
	@$(DEV) $(PIP) -r $<
	@touch $@

.venv-ray/.installed: requirements/ray.lock requirements/e2e.txt .venv-dev/.installed-dev | .venv-ray/bin/python
	@echo "Installing the service, Ray and the tests into .venv-ray ..."
	@.venv-dev/bin/uv pip install --quiet --no-config --require-hashes --python .venv-ray/bin/python \
		-r requirements/ray.lock -r requirements/e2e.txt
	@touch $@

.venv-exports/.installed: requirements/exports.txt | .venv-exports/bin/python
	@echo "Installing PyTorch and the exporters into .venv-exports ..."
	@.venv-exports/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.fuzz/.installed: requirements/fuzz.txt | .fuzz/bin/python
	@echo "Installing the fuzzers into .fuzz ..."
	@.fuzz/bin/python $(PIP) -r $< || { echo "make fuzz needs atheris, which has packages for CPython on Linux x86-64" \
		"only; if atheris is what is missing, try make clean fuzz PYTHON=python3.11" >&2; exit 1; }
	@touch $@

.audit/.installed: requirements/audit.txt | .audit/bin/python
	@echo "Installing the audit tools into .audit ..."
	@.audit/bin/python $(PIP) -r $<
	@touch $@

.docs/.installed: requirements/docs.txt | .docs/bin/python
	@echo "Installing MkDocs into .docs ..."
	@.docs/bin/python $(PIP) -r $<
	@touch $@

.clients/%/.installed: requirements/clients-%.txt .venv-dev/.installed-dev | .clients/%/bin/python
	@echo "Installing a client into $(@D) ..."
	@.venv-dev/bin/uv pip install --quiet --no-config --no-deps --require-hashes --python $(@D)/bin/python -r $<
	@touch $@

.client/.installed: requirements/client.txt | .client/bin/python
	@echo "Installing openapi-python-client into .client ..."
	@.client/bin/python $(PIP) -r $<
	@touch $@

.bench/%/.installed: requirements/bench-%.txt | .bench/%/bin/python
	@echo "Installing a benchmark environment into $(@D) ..."
	@$(@D)/bin/python $(PIP) -r $<
	@touch $@

%/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later was not found on the PATH." >&2; exit 1; }
	@$(PYTHON) -m venv $* || { echo "Python's venv module is needed (on Debian: apt install python3-venv)." >&2; exit 1; }

.PRECIOUS: %/bin/python
