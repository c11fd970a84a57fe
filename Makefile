# make demo    grow an aluminium crystal with EMT as the oracle (arguments for growth/run.py in ARGS="...")
# make test    run the tests, two at a time (JOBS=8: eight, JOBS=0: here; arguments for pytest in ARGS="...")
# make lint    ruff, ruff format, mypy
# make peers   the environment of SchNet, PaiNN and MACE, for scripts/benchmark_surrogates.py
# Each sets up .venv first, where that has not been done: locked packages, GPAW built for this machine, Kossel itself.

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.kossel-ready

export RAY_USAGE_STATS_ENABLED := 0

.PHONY: demo test lint setup peers clean

demo: $(READY)
	$(BIN)/python growth/run.py growth/configs/al_emt.yaml $(ARGS)

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(READY)
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy

setup: $(READY)

# schnetpack asks for older packages than the others can use, so it comes without its own.
peers: .venv-peers/.ready

.venv-peers/.ready: scripts/surrogates/peers.txt
	$(PYTHON) -m venv --clear .venv-peers
	.venv-peers/bin/python -m pip install --quiet -r scripts/surrogates/peers.txt
	.venv-peers/bin/python -m pip install --quiet --no-deps schnetpack==2.1.1
	touch $@

$(READY): requirements.lock pyproject.toml scripts/build_gpaw.py scripts/set_up.sh
	scripts/set_up.sh "$(PYTHON)" $(VENV)
	touch $@

clean:
	rm -rf $(VENV) .venv-peers build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find growth learner oracle scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
