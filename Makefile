# make quick   lint, types and all tests that need no trainer, in a minute, in an environment that seconds make
# make demo    fine-tune, score and merge a tiny model on this machine's CPU (BACKEND=unsloth for the other trainer)
# make docs    the site, in build/site; make references makes its generated pages and shown outputs again
# make test    all tests but the slow ones; both targets make .venv when it is not there
PYTHON  ?= python3
VENV    ?= .venv
BACKEND ?= axolotl
BIN     := $(VENV)/bin
# The environment of `make quick`: without torch, trainers, a browser and the tools of the docs.
QUICK   ?= .venv-quick
# Two compiles of bytecode cost more than the training of the demo: do it once, at installation.
STAMP   := $(VENV)/.installed
QUICK_STAMP := $(QUICK)/.installed

.PHONY: quick demo test docs references check lint test-slow lock schemas clean

demo: $(STAMP)
	$(BIN)/ql launch --preset cpu-tiny --data examples/tickets.jsonl --golden examples/golden.jsonl \
	  --gate "exact_match>=0.8" --backend $(BACKEND)

quick: $(QUICK_STAMP)
	$(QUICK)/bin/python scripts/quick.py

test: $(STAMP)
	$(BIN)/python scripts/run_tests.py

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# SLOW=--slow also runs the blocks that train the tiny model.
references: $(STAMP)
	$(BIN)/python scripts/make_rules_doc.py
	$(BIN)/python scripts/make_references.py $(SLOW)

check: lint test

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Proofs that take too long for every push; the result is committed: a record of each test in docs/test-slow/, and the
# page docs/test-slow.md made from them. TESTS="tests/acceptance/test_x.py -k name" runs a part again.
test-slow: $(STAMP)
	$(BIN)/python scripts/test_slow.py $(TESTS)

$(STAMP): pyproject.toml requirements/lock.txt requirements/torch.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$$(grep '^uv==' requirements/lock.txt)"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --compile-bytecode -r requirements/lock.txt
	$(BIN)/python -m pip install --quiet -c requirements/lock.txt -r requirements/torch.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $(STAMP)

$(QUICK_STAMP): pyproject.toml requirements/lock.txt requirements/quick.txt
	$(PYTHON) -m venv $(QUICK)
	$(QUICK)/bin/python -m pip install --quiet "$$(grep '^uv==' requirements/lock.txt)"
	$(QUICK)/bin/uv pip install --quiet --python $(QUICK)/bin/python --compile-bytecode -c requirements/lock.txt \
	  -r requirements/quick.txt
	$(QUICK)/bin/uv pip install --quiet --python $(QUICK)/bin/python --no-deps --no-build-isolation -e .
	touch $(QUICK_STAMP)

# Resolve requirements/lock.in again: the newest versions that both trainers accept, on Debian 12's Python too.
lock: $(STAMP)
	mkdir -p build
	$(BIN)/uv pip compile requirements/lock.in --override requirements/overrides.txt \
	  --python-version 3.11.2 --no-annotate --no-header --quiet --output-file build/lock.txt
	{ sed -n "/^#/p" requirements/lock.txt; cat build/lock.txt; } > build/lock.new
	mv build/lock.new requirements/lock.txt

clean:
	rm -rf $(VENV) $(QUICK) build dist
