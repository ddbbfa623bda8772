# Every target sets itself up: a machine needs Python 3.11 or newer, and make.

.PHONY: help demo test prove bench check docs clean
.DEFAULT_GOAL := help

# The first interpreter that really runs, is new enough and can make an environment.
FIND_PYTHON = for name in python3.13 python3.12 python3.14 python3.11 python3 python; do \
	for path in $$(which -a $$name 2>/dev/null || command -v $$name); do \
	"$$path" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo "$$path"; exit; }; done; done
PYTHON ?= $(shell $(FIND_PYTHON))
VENV ?= .venv
BIN := $(VENV)/bin
PORT ?= 8000
PYTEST_ARGS ?=
QUICK ?=
PART ?=
PROFILE ?=

export PORT
export PYTHONUTF8 := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed 's/:.*##/ -/'

demo: $(VENV)/demo.stamp  ## a small shop on http://127.0.0.1:$PORT/, with everything it needs
	$(BIN)/python -m example_project.demo

# Three lanes side by side, because much of it is waiting: SQLite; PostgreSQL; and one with the demo shop and its
# browsers (on SQLite), then the faults on PostgreSQL. With PYTEST_ARGS, what they choose on both databases. The
# coverage on SQLite is judged.
SHOP := tests/browser tests/example tests/docs
SIDES := postgres $(if $(PYTEST_ARGS),,shop faults)
only.shop := $(SHOP)
only.faults := tests/faults
only.postgres := $(if $(PYTEST_ARGS),,--ignore=tests/faults)
only.sqlite := $(if $(PYTEST_ARGS),,$(SHOP:%=--ignore=%))
# The tracer is what takes the time, and the lanes on SQLite come by nearly every line.
COVERED := --cov=django_gatewaypay --cov-report= --cov-fail-under=0
suite = GATEWAYPAY_TEST_DB=$(if $(filter postgres faults,$(1)),postgres,sqlite) COVERAGE_FILE=.coverage.$(1) \
	$(BIN)/python -m pytest $(if $(filter sqlite shop,$(1)),$(COVERED)) $(only.$(1)) $(PYTEST_ARGS)
lane = (status=0; $(foreach side,$(1),$(call suite,$(side)) > .pytest-$(side).log 2>&1 || [ $$? = 5 ] || status=1;) exit $$status)

test: $(VENV)/test.stamp  ## the suite on SQLite and on PostgreSQL, with its coverage
	@rm -f .coverage .coverage.* .pytest-*.log
	@status=0; others=; trap 'kill $$others' INT TERM; \
	$(call lane,postgres) & others="$$others $$!"; \
	$(call lane,$(filter-out postgres,$(SIDES))) & others="$$others $$!"; \
	echo "== the suite on sqlite"; $(call suite,sqlite) || status=1; \
	for other in $$others; do wait $$other || status=1; done; \
	for side in $(SIDES); do echo "== $$side, which ran beside it"; cat .pytest-$$side.log; done; \
	$(BIN)/python -m coverage combine -q .coverage.* && $(BIN)/python -m coverage report || status=1; \
	exit $$status

prove: $(VENV)/prove.stamp  ## the long proof, resumable; QUICK=1 within minutes, PART="simulation storms" alone
	$(BIN)/python -m tests.proof $(if $(QUICK),--quick) $(PART)

bench: $(VENV)/bench.stamp  ## the performance page of the documentation; QUICK=1 within minutes, PART="callback status" alone
	$(BIN)/python -m tests.benchmarks $(if $(QUICK),--quick) $(if $(PROFILE),--profile $(PROFILE)) $(PART)

check: $(VENV)/check.stamp  ## lint, format, types, rooms, migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports
	PYTHONPATH=. $(BIN)/django-admin makemigrations --check --dry-run --settings tests.settings

docs: $(VENV)/docs.stamp  ## the documentation, in docs/_build/html
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

clean:  ## forget everything that was made
	rm -rf $(VENV) build dist docs/_build .coverage .coverage.* .pytest-*.log .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find django_gatewaypay example_project tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(VENV)/%.stamp: pyproject.toml | $(VENV)/made.stamp
	@echo "installing what 'make $*' needs"
	@$(BIN)/python -m pip install --quiet --editable ".[$*]"
	@touch $@

$(VENV)/made.stamp:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer with venv was found; name one: make PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -m venv --clear $(VENV)
	@touch $@
