# `make demo` and `make test` set up everything they need in .venv by themselves.
PYTHON ?= python3
BIN := .venv/bin
# a process per core, at most four: each takes up to 2 GB, and who is done takes over half of another's rest
PYTEST := $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist worksteal
# tests that also run without a GPU's threads or without a GPU's types
TWINS := tests/fusion/cuda tests/evaluation/cuda tests/fusion/steps/test_conformance.py::test_the_twin_answers_alike

# with pip's own progress: what is downloaded, and how large it is
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check
BIG = PyTorch, with its CUDA libraries on Linux, is 5 of the 6 GB that this takes on disk, and is downloaded once.

.PHONY: demo test slow lint docs links bench clean

demo: .venv/zoo
	PATH="$(CURDIR)/$(BIN):$$PATH" docs/main-job.sh demo

test: .venv/test
	$(PYTEST) -m 'not slow'
	NUMBA_ENABLE_CUDASIM=1 $(PYTEST) -m 'not slow' $(TWINS)
	QUORUM_ONE_THREAD=1 $(PYTEST) -m 'not slow' $(TWINS) tests/search/test_engine.py tests/search/test_device.py

slow: .venv/test
	$(PYTEST) -m slow
	QUORUM_ONE_THREAD=1 $(PYTEST) -m slow $(TWINS)

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# the site in build/docs: the how-tos, the notebook with what it prints, the reference from the docstrings
docs: .venv/docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -b html docs build/docs

# whether every link of the pages leads somewhere, and every docstring can be read
links: .venv/docs
	$(BIN)/python -m sphinx -q --fail-on-warning --keep-going -D nb_execution_mode=off -b dummy docs build/links

bench: .venv/peers
	$(BIN)/python benchmarks/start_up.py
	$(BIN)/python -m benchmarks.first_minute
	$(BIN)/python benchmarks/suppression.py
	$(BIN)/python benchmarks/slices.py
	$(BIN)/python benchmarks/clustering.py
	$(BIN)/python benchmarks/tables.py
	$(BIN)/python benchmarks/coco_evaluation.py
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python -m benchmarks.importing
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
	$(BIN)/python -m benchmarks.prediction
	$(BIN)/python -m benchmarks.zoo_torchvision
	$(BIN)/python benchmarks/gpu.py

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	@echo 'Making a virtual environment in .venv ...'
	$(PYTHON) -m venv .venv

.venv/zoo: .venv/bin/python pyproject.toml
	@echo 'Installing Quorum with what trains detectors into .venv. $(BIG)'
	$(INSTALL) --editable '.[zoo]'
	touch $@

.venv/test: .venv/bin/python pyproject.toml
	@echo 'Installing Quorum with what the tests need into .venv. $(BIG)'
	$(INSTALL) --editable '.[test,peers,zoo]'
	@# the official Open Images evaluator; what it asks for besides (TensorFlow, Beam) its metrics do not need
	$(INSTALL) --no-deps tf_models_research_object_detection==2.8.0.post1
	touch $@ .venv/zoo .venv/peers

.venv/peers: .venv/bin/python pyproject.toml
	@echo 'Installing Quorum with the packages that it is compared with into .venv. $(BIG)'
	$(INSTALL) --editable '.[peers,zoo]'
	touch $@ .venv/zoo

.venv/docs: .venv/test
	$(INSTALL) --editable '.[docs]'
	touch $@

.venv/dev: .venv/test
	$(INSTALL) --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv demo build dist .mypy_cache .pytest_cache .ruff_cache
