# make book | downloads | test | lab | serve | check NB=03 | fix | new NB=28_topic TITLE="…" | bench
# make matrix ONLY=py312-lowest | same NB="03 07" | colab-check NB=03 | lock | clean
# Every target first sets up .venv from requirements.lock, when that is missing or out of date.

PYTHON ?= python3
BOOK_PORT ?= 8000
VENV   := .venv
ifeq ($(OS),Windows_NT)
BIN    := $(VENV)/Scripts
else
BIN    := $(VENV)/bin
endif
READY  := $(VENV)/.ready
SITE   := _build/html/index.html
export PYTHONUTF8 := 1
export PYTHONUNBUFFERED := 1

.PHONY: book downloads test lab serve check fix new bench matrix same colab-check lock clean
.DEFAULT_GOAL := book

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c "import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else 'This book needs Python 3.11 or newer; $(PYTHON) is %d.%d. Install a newer one, or say which to use: make book PYTHON=python3.12' % v)"
	@echo "setting up $(VENV) (once; PyTorch is large: several GB on Linux)"
	@rm -f $(READY)
	@test -x $(BIN)/python || { rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv || { echo "The packages can't be downloaded. Check the network, then run make again; it goes on where it stopped."; exit 1; }
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip sync --quiet --compile-bytecode requirements.lock || { echo "The packages can't be installed (see above). Check the network and the disk space, then run make again; it goes on where it stopped."; exit 1; }
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet uv setuptools
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	@touch $(READY)

book: $(READY)
	@$(BIN)/python -m tools.build

downloads: book
	@$(BIN)/python -m tools.downloads

test: $(READY)
	@$(BIN)/python -m tools.test

lab: $(READY)
	@$(BIN)/jupyter lab --notebook-dir=notebooks

serve: $(READY)
	@$(BIN)/python -m tools.serve --port $(BOOK_PORT)

check: $(READY)
	@$(BIN)/python -m tools.check $(NB)

fix: $(READY)
	@$(BIN)/python -m tools.notebooks fix
	@$(BIN)/ruff check --quiet --fix helpers tools tests benchmarks book/_ext
	@$(BIN)/ruff format --quiet helpers tools tests benchmarks book/_ext

new: $(READY)
	@$(BIN)/python -m tools.notebooks new $(NB) "$(TITLE)"

bench: $(READY)
	@$(BIN)/python -m benchmarks

matrix: $(READY)
	@$(BIN)/python -m tools.matrix $(if $(ONLY),--only $(ONLY))

same: $(READY)
	@$(BIN)/python -m tools.same $(NB)

colab-check: $(READY)
	@$(BIN)/python -m tools.colab_check $(NB)

lock: $(READY)
	@$(BIN)/uv pip compile requirements.txt --quiet --universal --python-version 3.11 --upgrade --no-annotate \
	    --no-emit-package deep-learning-worked-out \
	    --custom-compile-command "make lock" -o requirements.lock
	@echo "requirements.lock is renewed; run make test before you commit it"

clean:
	rm -rf _build .pytest_cache .ruff_cache .hypothesis
