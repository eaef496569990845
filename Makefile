# `make demo` and `make test` are all that a fresh clone needs: both set up what they use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export OMP_WAIT_POLICY ?= PASSIVE
# What is installed beside the package: CI adds every extra, so that no test is skipped there.
EXTRAS ?= dev

.PHONY: demo test test-slow fix docs review-bundle bench torture fuzz error-paths clean setup

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$(EXTRAS)]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/transect demo

test: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -rs --hypothesis-profile=ci

test-slow: $(STAMP)
	$(BIN)/pytest -m slow

fix: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The site is written to site/; `make docs EXTRAS=dev,docs` installs what builds it.
docs: $(STAMP)
	$(BIN)/python docs/build_reference.py
	$(BIN)/python -m mkdocs build --quiet

# What is uploaded: a wheel and an sdist, looked into before anybody installs them.
package: $(STAMP)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(BIN)/python -m zipfile -l dist/transect-*.whl | grep -q "transect/py.typed"

# The page of `transect review`, from its source in web/review; needs Node 20 or newer.
review-bundle:
	cd web/review && npm ci --no-audit --no-fund && npm run check && npm run build

bench: $(STAMP)
	$(BIN)/python -m benchmarks.hot_paths

torture: $(STAMP)
	$(BIN)/python -m benchmarks.torture

fuzz: $(STAMP)
	$(BIN)/python -m benchmarks.fuzz

error-paths: $(STAMP)
	$(BIN)/python -m tests.error_paths

clean:
	rm -rf $(VENV) build dist runs .pytest_cache .mypy_cache .ruff_cache
