# Each target sets up what it needs: `make demo`, `make test` and `make lint` work on a fresh checkout.

PYTHON ?= python3
VENV ?= .venv
# Of the driver: 13 wants 580 or newer, 12 wants 525 or newer and a torch for CUDA 12 (README.md).
CUDA ?= 13
READY := $(VENV)/.ready

.PHONY: demo test test-all lint audit gpu-check clean
.DELETE_ON_ERROR:

demo: $(READY)
	launch/demo.sh

test: $(READY)
	$(VENV)/bin/pytest -n 3 -m 'not slow'

# Before a release, and after a change to launchers, faults or clusters.
test-all: $(READY)
	$(VENV)/bin/pytest -n 3

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

audit: $(VENV)-audit/.ready
	$(VENV)-audit/bin/python .ci/audit.py

# Of its own: what pip-audit needs is no business of constraints.txt.
$(VENV)-audit/.ready:
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install --quiet pip-audit==2.10.1
	touch $@

# With the checkout's environment where there is one, else with whatever packages PYTHON has: it says what it skipped.
gpu-check:
	$(if $(wildcard $(READY)),$(VENV)/bin/python,$(PYTHON)) benchmarks/gpu_check.py

clean:
	rm -rf demo runs .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11; name another with: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev,cuda$(CUDA)]'
	# On all cores, which pip does not. Not left to the first import: where PYTHONDONTWRITEBYTECODE is set, every process
	# would compile torch anew. Some wheels hold files for newer Pythons, which do not compile.
	@$(VENV)/bin/python -m compileall -qq -j 0 $(VENV)/lib || true
	touch $@
