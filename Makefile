# `make demo` and `make test` set up everything they need in .venv by themselves.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint bench clean

demo: .venv/base
	$(BIN)/quorum demo demo

test: .venv/test
	$(BIN)/python -m pytest -q
	NUMBA_ENABLE_CUDASIM=1 $(BIN)/python -m pytest -q tests/fusion/cuda

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/peers
	$(BIN)/python benchmarks/suppression.py
	$(BIN)/python benchmarks/clustering.py
	$(BIN)/python benchmarks/tables.py
	$(BIN)/python benchmarks/coco_evaluation.py
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/rescoring.py
	$(BIN)/python benchmarks/open_images_evaluation.py
	$(BIN)/python benchmarks/bootstrap.py
	$(BIN)/python benchmarks/analysis.py
	$(BIN)/python benchmarks/calibration.py
	$(BIN)/python benchmarks/relations.py
	$(BIN)/python benchmarks/masks.py
	$(BIN)/python benchmarks/other_operators.py
	$(BIN)/python benchmarks/submissions.py
	$(BIN)/python -m benchmarks.search_throughput
	$(BIN)/python -m benchmarks.search_peers
	$(BIN)/python benchmarks/gpu.py

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv .venv

.venv/base: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/test: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test,peers]'
	@# the official Open Images evaluator; what it asks for besides (TensorFlow, Beam) its metrics do not need
	$(BIN)/python -m pip install --quiet --no-deps tf_models_research_object_detection==2.8.0.post1
	touch $@ .venv/base

.venv/peers: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[peers]'
	touch $@ .venv/base

.venv/dev: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev,test,peers]'
	touch $@ .venv/base .venv/test .venv/peers

clean:
	rm -rf .venv demo build dist .mypy_cache .pytest_cache .ruff_cache
