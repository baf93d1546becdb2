# make demo is all that a newcomer needs; `make help` lists the rest.
# One environment in .venv for everything, installed once: stamps there say which pins it holds.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-all test-elasticsearch test-docker durations pin-images check format docs bench bench-peers bench-scale bench-gpu bench-elasticsearch bench-reliability bench-jobs evaluate soak clean
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
TORCH := 2.13.0
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu
# make … GPU=1 on a machine with an NVIDIA GPU: CUDA builds of torch and FAISS.
GPU ?=
BUILD := $(if $(filter-out 0 no false,$(GPU)),gpu,cpu)
OTHER_BUILD := $(if $(filter gpu,$(BUILD)),cpu,gpu)
STAMP := $(VENV)/.installed-$(BUILD)
# Gigabytes that an environment takes, with room for the unpacking of it.
NEEDS_cpu := 4
NEEDS_gpu := 12

export HAYSTACK_TELEMETRY_ENABLED := False
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## the environment in .venv (GPU=1: with CUDA)

demo: $(STAMP) ## index Python's own documentation and ask it questions in the browser; Ctrl-C stops it
	@exec $(BIN)/search-app demo --home .demo $(ARGS)

# WORKERS=N: test processes, 0 for one without any parallel work; auto goes by the cores.
WORKERS ?= auto
PYTEST := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

test-fast: $(STAMP) ## unit tests without servers, browsers and long processes (under two minutes)
	$(PYTEST) -m "not integration" --timeout 10 -o timeout_func_only=true $(ARGS)

test: $(STAMP) ## every test except those that take minutes each (under ten minutes); ARGS="tests/contracts -k filter": some
	$(PYTEST) -m "not slow and not docker" $(ARGS)

test-all: $(STAMP) ## every test, Elasticsearch and Docker included, with a summary (as root; over an hour)
	$(PYTEST) --summary $(ARGS)

test-elasticsearch: $(STAMP) ## all tests of the Elasticsearch store: on ELASTICSEARCH_URL, else on servers of its own
	$(PYTEST) tests/elasticsearch tests/contracts $(ARGS)

durations: $(STAMP) ## measure every test of `make test` into tests/durations.json, which decides what test-fast leaves out
	$(PYTEST) -m "not slow and not docker" --record-durations $(ARGS)

soak: $(STAMP) ## ROUNDS=1000 kills and as many damaged files on living indexes, into .bench/soak; goes on where it stopped
	PYTHONPATH=.:tests $(BIN)/python tests/reliability/soak.py $(PARTS) --rounds $(or $(ROUNDS),1000) $(if $(SEED),--seed $(SEED)) $(ARGS)

test-docker: $(STAMP) ## docker-compose for real: images, default and Elasticsearch profile (root; ten minutes)
	$(PYTEST) -n 0 -m docker tests/docker $(ARGS)

pin-images: ## today's digests of the images that docker-compose.yml takes from registries, into .env
	python3 docker/pin_images.py

check: $(STAMP) ## style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP) ## the documentation as a site, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "open site/index.html"

evaluate: $(STAMP) ## quality on SQUAD=FILE into docs/evaluation.md (an hour)
	$(BIN)/python -m benchmarks.evaluation $(if $(SQUAD),--data $(SQUAD)) $(ARGS)

bench: $(STAMP) ## speed and quality of answering on this machine
	$(BIN)/python -m benchmarks.peers --systems ours $(if $(SQUAD),--data $(SQUAD)) $(ARGS)

bench-peers: .bench/venv/.installed ## us beside Haystack and txtai, same weights, into docs/benchmarks.md
	.bench/venv/bin/python -m benchmarks.peers $(if $(SQUAD),--data $(SQUAD)) $(ARGS)

bench-scale: .bench/venv/.installed ## the embedded store up to a million passages beside FTS5, bm25s and tantivy, into docs/benchmarks.md
	.bench/venv/bin/python -m benchmarks.scale $(if $(SQUAD),--data $(SQUAD)) $(ARGS)

bench-gpu: $(STAMP) ## vectors on a GPU beside the CPU, a million and ten (GPU=1), into docs/benchmarks.md
	$(BIN)/python -m benchmarks.gpu $(ARGS)

bench-elasticsearch: .bench/venv/.installed ## PART=bulk|answers|quality|scale on a real server into docs/benchmarks-elasticsearch.md
	.bench/venv/bin/python -m benchmarks.elasticsearch $(PART) $(if $(SQUAD),--data $(SQUAD)) $(ARGS)

bench-reliability: .bench/venv/.faiss-haystack ## the same damage to our files and Haystack's FAISS store's, into docs/reliability.md
	.bench/venv/bin/python -m benchmarks.reliability $(ARGS)

bench-jobs: .bench/venv/.installed ## PART=throughput|memory|resume of the indexing job, beside Haystack's pipeline, into docs/benchmarks.md
	.bench/venv/bin/python -m benchmarks.jobs $(PART) $(ARGS)

clean: ## remove environments, caches and the demo's index
	rm -rf $(VENV) .bench .demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

requirements.lock requirements-peers.lock:
	@echo "error: $@ is missing: it holds the exact versions to install; restore it with: git checkout $@" >&2; exit 1

# $(call new_environment,FOLDER): made by the first Python on PATH that is new enough; kept if it is there.
define new_environment
	@test -x $(1)/bin/python || { \
	  for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14 python; do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; python=; \
	  done; \
	  test -n "$$python" || { echo "error: no Python 3.11 or newer on PATH; install one (Debian: apt install python3 python3-venv)" >&2; exit 1; }; \
	  "$$python" -c 'import venv, ensurepip' 2>/dev/null || { echo "error: $$python cannot make environments: its venv module is missing; install it (Debian: apt install python3-venv)" >&2; exit 1; }; \
	  free=$$(df -Pk . | awk 'NR == 2 { print int($$4 / 1048576) }'); \
	  test "$$free" -ge $(NEEDS_$(BUILD)) || { echo "error: the disk is nearly full: $(NEEDS_$(BUILD)) GB are needed here, $$free GB are free" >&2; exit 1; }; \
	  mkdir -p $(dir $(1)) && echo "making $(1) with $$("$$python" --version)" && "$$python" -m venv $(1); }
endef

# $(call install_torch_cpu,FOLDER): before the rest, so that no other package drags in a build with CUDA.
define install_torch_cpu
	@$(1)/bin/python -c 'import sys, importlib.metadata as m; sys.exit(m.version("torch").split("+")[0] != "$(TORCH)")' 2>/dev/null || { \
	  case $$(uname -s) in Darwin) $(1)/bin/pip install --quiet torch==$(TORCH);; *) \
	    $(1)/bin/pip install --quiet --no-index --no-deps torch==$(TORCH) 2>/dev/null || \
	    $(1)/bin/pip install --quiet --no-deps --index-url $(TORCH_CPU_INDEX) torch==$(TORCH);; esac; } || \
	  { echo "error: no CPU build of torch $(TORCH): no wheel at hand (PIP_FIND_LINKS=FOLDER), and $(TORCH_CPU_INDEX) did not give one" >&2; exit 1; }
endef
define install_torch_gpu
	@$(1)/bin/pip install --quiet -c requirements.lock torch==$(TORCH) faiss-gpu==$$(sed -n 's/^faiss-cpu==//p' requirements.lock)
	@$(1)/bin/python -c 'import sys, torch; sys.exit(torch.version.cuda is None)' || \
	  { echo "error: pip took a CPU build of torch: unset PIP_FIND_LINKS and any find-links of pip's configuration" >&2; exit 1; }
endef

$(STAMP): requirements.lock pyproject.toml
	$(call new_environment,$(VENV))
	@test -e $@ || test ! -e $(VENV)/.installed-$(OTHER_BUILD) || $(BIN)/pip uninstall --quiet --yes torch faiss-$(OTHER_BUILD)
	@rm -f $(VENV)/.installed-*
	@echo "installing what requirements.lock names; the first time takes a few minutes"
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

# It asks for numpy<2 on Python before 3.13, and runs with the one of requirements.lock: so without its dependencies.
.bench/venv/.faiss-haystack: .bench/venv/.installed
	@.bench/venv/bin/pip install --quiet --no-deps faiss-haystack==3.0.0
	@touch $@
