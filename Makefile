# Start with `make demo`; `make help` lists all targets.
# All targets share one environment in .venv. A stamp file there tells whether it matches requirements.lock.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-all test-elasticsearch test-docker durations pin-images check format docs bench bench-peers bench-scale bench-gpu bench-elasticsearch bench-reliability bench-jobs bench-demo bench-documents evaluate soak clean
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
TORCH := 2.13.0
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu
# GPU=1: install the CUDA builds of torch and FAISS, for an NVIDIA GPU.
GPU ?=
BUILD := $(if $(filter-out 0 no false,$(GPU)),gpu,cpu)
OTHER_BUILD := $(if $(filter gpu,$(BUILD)),cpu,gpu)
STAMP := $(VENV)/.installed-$(BUILD)
# Disk space for an environment and for unpacking its packages, in gigabytes.
NEEDS_cpu := 4
NEEDS_gpu := 12

export HAYSTACK_TELEMETRY_ENABLED := False
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## create the environment in .venv (GPU=1: with CUDA)

demo: $(STAMP) ## index Python's documentation and open a search page for it; Ctrl-C stops it
	@exec $(BIN)/search-app demo --home .demo $(ARGS)

# WORKERS: number of test processes; auto depends on the cores, 0 runs all tests in one process.
WORKERS ?= auto
PYTEST := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n $(WORKERS)

test-fast: $(STAMP) ## run the unit tests: no servers, browsers or long processes (under two minutes)
	$(PYTEST) -m "not integration" --timeout 10 -o timeout_func_only=true $(ARGS)

test: $(STAMP) ## run every test that takes seconds, without Docker (under ten minutes); ARGS="tests/contracts -k filter" for a part
	$(PYTEST) -m "not slow and not docker" $(ARGS)

test-all: $(STAMP) ## run every test, Elasticsearch and Docker included, with a summary (as root; over an hour)
	$(PYTEST) --summary $(ARGS)

test-elasticsearch: $(STAMP) ## run all tests of the Elasticsearch store, on ELASTICSEARCH_URL or on servers that it starts
	$(PYTEST) tests/elasticsearch tests/contracts $(ARGS)

durations: $(STAMP) ## run `make test` and record durations in tests/durations.json, which decides what test-fast leaves out
	$(PYTEST) -m "not slow and not docker" --record-durations $(ARGS)

soak: $(STAMP) ## kill jobs and damage files of indexes in use, ROUNDS=1000 times, into .bench/soak; resumes after a stop
	PYTHONPATH=.:tests $(BIN)/python tests/reliability/soak.py $(PARTS) --rounds $(or $(ROUNDS),1000) $(if $(SEED),--seed $(SEED)) $(ARGS)

test-docker: $(STAMP) ## build the images and test docker-compose, default and Elasticsearch profile (as root; ten minutes)
	$(PYTEST) -n 0 -m docker tests/docker $(ARGS)

pin-images: ## write today's digests of the registry images of docker-compose.yml into .env
	python3 docker/pin_images.py

check: $(STAMP) ## check style, types, import rules and the links of the documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --site-dir .bench/site

format: $(STAMP) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP) ## build the documentation as a site into site/
	PYTHONPATH=. $(BIN)/python docs/formats.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "open site/index.html"

evaluate: $(STAMP) ## measure quality on SQUAD=FILE, into docs/evaluation.md (an hour)
	$(BIN)/python -m benchmarks.evaluation $(if $(SQUAD),--data $(SQUAD)) $(ARGS)

bench: $(STAMP) ## measure speed and quality of answers on this machine
	$(BIN)/python -m benchmarks.peers --systems ours $(if $(SQUAD),--data $(SQUAD)) $(ARGS)

bench-peers: .bench/venv/.installed ## compare with Haystack and txtai on the same weights, into docs/benchmarks.md
	.bench/venv/bin/python -m benchmarks.peers $(if $(SQUAD),--data $(SQUAD)) $(ARGS)

bench-scale: .bench/venv/.installed ## compare the embedded store with FTS5, bm25s and tantivy up to a million passages, into docs/benchmarks.md
	.bench/venv/bin/python -m benchmarks.scale $(if $(SQUAD),--data $(SQUAD)) $(ARGS)

bench-gpu: $(STAMP) ## compare vector search on GPU and CPU, up to ten million vectors (GPU=1), into docs/benchmarks.md
	$(BIN)/python -m benchmarks.gpu $(ARGS)

bench-elasticsearch: .bench/venv/.installed ## measure PART=bulk|answers|quality|scale on a real server, into docs/benchmarks-elasticsearch.md
	.bench/venv/bin/python -m benchmarks.elasticsearch $(PART) $(if $(SQUAD),--data $(SQUAD)) $(ARGS)

bench-reliability: .bench/venv/.faiss-haystack ## damage the files of this store and of Haystack's FAISS store, into docs/reliability.md
	.bench/venv/bin/python -m benchmarks.reliability $(ARGS)

bench-documents: $(if $(PEERS),.bench/venv/.installed,$(STAMP)) ## ask the suite of documents, and with PEERS=1 Haystack's converters on the same files
	PYTHONPATH=.:tests $(if $(PEERS),.bench/venv/bin/python -m documents.peers,$(BIN)/python -m documents.run) $(ARGS)

bench-demo: $(STAMP) ## ask 130 questions about the demo's documents, into docs/evaluation.md (ten minutes)
	$(BIN)/python -m benchmarks.demo $(ARGS)

bench-jobs: .bench/venv/.installed ## measure PART=throughput|memory|resume of indexing beside Haystack's pipeline, into docs/benchmarks.md
	.bench/venv/bin/python -m benchmarks.jobs $(PART) $(ARGS)

clean: ## remove environments, caches and the demo's index
	rm -rf $(VENV) .bench .demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

requirements.lock requirements-peers.lock:
	@echo "error: $@ is missing; it lists the exact versions to install. Restore it: git checkout $@" >&2; exit 1

# $(call new_environment,FOLDER): create an environment with the first suitable Python on PATH, unless it exists.
define new_environment
	@test -x $(1)/bin/python || { \
	  for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14 python; do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; python=; \
	  done; \
	  test -n "$$python" || { echo "error: no Python 3.11 or newer on PATH. Install one (Debian: apt install python3 python3-venv)" >&2; exit 1; }; \
	  "$$python" -c 'import venv, ensurepip' 2>/dev/null || { echo "error: $$python cannot create environments: its venv module is missing. Install it (Debian: apt install python3-venv)" >&2; exit 1; }; \
	  free=$$(df -Pk . | awk 'NR == 2 { print int($$4 / 1048576) }'); \
	  test "$$free" -ge $(NEEDS_$(BUILD)) || { echo "error: not enough disk space: $(NEEDS_$(BUILD)) GB needed, $$free GB free" >&2; exit 1; }; \
	  mkdir -p $(dir $(1)) && echo "creating $(1) with $$("$$python" --version)" && "$$python" -m venv $(1); }
endef

# $(call install_torch_cpu,FOLDER): install torch first, so that no other package pulls in the CUDA build.
define install_torch_cpu
	@$(1)/bin/python -c 'import sys, importlib.metadata as m; sys.exit(m.version("torch").split("+")[0] != "$(TORCH)")' 2>/dev/null || { \
	  case $$(uname -s) in Darwin) $(1)/bin/pip install --quiet torch==$(TORCH);; *) \
	    $(1)/bin/pip install --quiet --no-index --no-deps torch==$(TORCH) 2>/dev/null || \
	    $(1)/bin/pip install --quiet --no-deps --index-url $(TORCH_CPU_INDEX) torch==$(TORCH);; esac; } || \
	  { echo "error: cannot install the CPU build of torch $(TORCH): no local wheel (PIP_FIND_LINKS=FOLDER), and $(TORCH_CPU_INDEX) failed" >&2; exit 1; }
endef
define install_torch_gpu
	@$(1)/bin/pip install --quiet -c requirements.lock torch==$(TORCH) faiss-gpu==$$(sed -n 's/^faiss-cpu==//p' requirements.lock)
	@$(1)/bin/python -c 'import sys, torch; sys.exit(torch.version.cuda is None)' || \
	  { echo "error: pip installed a CPU build of torch. Unset PIP_FIND_LINKS, and find-links in pip's configuration" >&2; exit 1; }
endef

$(STAMP): requirements.lock pyproject.toml
	$(call new_environment,$(VENV))
	@test -e $@ || test ! -e $(VENV)/.installed-$(OTHER_BUILD) || $(BIN)/pip uninstall --quiet --yes torch faiss-$(OTHER_BUILD)
	@rm -f $(VENV)/.installed-*
	@echo "installing the packages of requirements.lock; the first time takes a few minutes"
	$(call install_torch_$(BUILD),$(VENV))
	@grep -v $(if $(filter gpu,$(BUILD)),'^faiss-cpu==','^#') requirements.lock > $(VENV)/requirements.txt
	@$(BIN)/pip install --quiet -r $(VENV)/requirements.txt
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.bench/venv/.installed: requirements.lock requirements-peers.lock pyproject.toml
	$(call new_environment,.bench/venv)
	$(call install_torch_cpu,.bench/venv)
	@.bench/venv/bin/pip install --quiet -c requirements.lock -r requirements-peers.lock -r requirements.lock
	@.bench/venv/bin/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# Without its dependencies: it requires numpy<2 on Python before 3.13 but works with the locked version.
.bench/venv/.faiss-haystack: .bench/venv/.installed
	@.bench/venv/bin/pip install --quiet --no-deps faiss-haystack==3.0.0
	@touch $@
