# Two commands: `make demo` shows the whole system, `make test` runs every test. Both set up .venv first.

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.ready
PYTHON ?=

.PHONY: demo test setup full lint clean

demo: $(STAMP)
	$(VENV)/bin/storm demo $(DEMO)

# What needs no clock runs on every core, a file on one of them, the longest first; nodes have the machine to themselves.
# TESTS: only these.
test: $(STAMP)
ifeq ($(strip $(TESTS)),)
	$(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile test/test_readme.py test/unit test/test_architecture.py
	$(PY) -m pytest test/ros test/integration
else
	$(PY) -m pytest $(TESTS)
endif

setup: $(STAMP)

# The learned stages as well; this torch needs no GPU. A CUDA machine: torch from the index that fits its driver, then '.[gpu]'.
full: $(STAMP)
	$(PY) -m pip install torch==2.13.0
	$(PY) -m pip install -e '.[full]'

lint: $(STAMP)
	$(VENV)/bin/ruff check .

# Again whenever the list of dependencies changes. The message types are built once and found afterwards.
$(STAMP): pyproject.toml setup.py
	@sh scripts/make_venv.sh $(VENV) '$(PYTHON)'
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[ros,dev]'
	$(PY) -m storm_ros.interfaces
	@echo "compiling kernels (about a minute, once)"
	$(PY) -m storm_core.pipeline.warmup
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis
