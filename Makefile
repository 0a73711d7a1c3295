# Everything runs in .venv, which each target makes for itself. `make help` lists the targets.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

# ORACLE=1 also installs PyTorch, against which the tests then compare. WERROR=1: warnings are errors.
ORACLE ?=
WERROR ?=
# The CUDA backend: ON, OFF, EMULATED; by default where a GPU answers.
CUDA   ?=
ARGS   ?=
# Of make fuzz: how long, and which inputs.
SECONDS ?= 600
SEED    ?= 0

SOURCES := $(shell find csrc python -name '*.cpp' -o -name '*.cu' -o -name '*.h' -o -name '*.py' -o -name '*.pyi') CMakeLists.txt cmake/cuda.cmake pyproject.toml
PIP     := $(BIN)/python -m pip --disable-pip-version-check -q
# The build runs in .venv itself instead of an isolated environment, so that a second build is incremental. pip hides
# what CMake says of CUDA, so the module says it.
define INSTALL
$(PIP) install --no-build-isolation $(if $(WERROR),-C cmake.define.WEFT_WERROR=ON) $(if $(CUDA),-C cmake.define.WEFT_CUDA=$(CUDA)) "$(1)"
@$(BIN)/python -c "import weft; print('weft:', weft.config()['cuda_unavailable'] or 'built with the CUDA backend', '(with make: CUDA=ON, CUDA=OFF)')"
endef

.PHONY: help docs lenet test sanitize isas emulated emulated-checked emulated-checker emulated-sanitizers check-all cuda-build test-gpu coverage fuzz fuzz-sanitized lint format stubs bench tables clean FORCE

help:
	@echo "make lenet     build, install, train LeNet-5 on what data can be had; pictures in runs/lenet"
	@echo "make test      build, install, run the whole test suite (ORACLE=1: beside PyTorch too)"
	@echo "make sanitize  the test suite under the address and undefined-behaviour sanitizers"
	@echo "make isas      the test suite on the other instruction sets, baseline and AVX2"
	@echo "make emulated  the test suite on the CUDA backend, emulated on the CPU: no GPU is needed"
	@echo "make emulated-checked  the same, each access of a kernel checked, and under the sanitizers"
	@echo "make check-all  all that lands is checked by (.ci/run), and what is too slow for that: the sanitizers"
	@echo "make cuda-build  the CUDA backend with nvcc: no warning, no spilled register; no GPU is needed"
	@echo "make test-gpu  on a machine with a GPU: suite, benchmarks, compute-sanitizer (PYTHON=one with PyTorch, ARGS='--only suite')"
	@echo "make coverage  which lines of the CPU's kernels the test suite never reaches"
	@echo "make fuzz      no input kills, hangs or goes by half: hostile calls, programs, files, kills, forks (SECONDS=600 SEED=0)"
	@echo "make fuzz-sanitized  the same under the sanitizers"
	@echo "make lint      formatting, ruff, mypy, the stub of weft.kernels"
	@echo "make format    put C++ and Python into the house's format"
	@echo "make stubs     write python/weft/kernels.pyi anew"
	@echo "make docs      the documentation's site, build/docs/index.html; a warning is an error"
	@echo "make bench     time weft beside PyTorch (ARGS='models --quick')"
	@echo "make tables    write the README's and docs' tables from bench/results"
	@echo "make clean     remove .venv and build"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.build: $(BIN)/python
	$(PIP) install --upgrade pip
	$(PIP) install "scikit-build-core>=0.10" "pybind11>=2.13" cmake ninja
	@touch $@

# Another CUDA=... than the last one is a reason to build; without any, CMake keeps the last one.
$(VENV)/.cuda: $(BIN)/python FORCE
	@{ test -e $@ && test -z "$(CUDA)"; } || echo "$(CUDA)" | cmp -s - $@ || echo "$(CUDA)" > $@

$(VENV)/.examples: $(VENV)/.build $(VENV)/.cuda $(SOURCES)
	$(call INSTALL,.[examples])
	@touch $@

$(VENV)/.test: $(VENV)/.build $(VENV)/.cuda $(SOURCES)
	$(call INSTALL,.[test])
	@touch $@

# Exactly this version: a bare `torch` brings gigabytes of GPU libraries, and the tests know this one.
$(VENV)/.oracle: $(VENV)/.build
	$(PIP) install torch==2.13.0
	@touch $@

$(VENV)/.dev: $(VENV)/.build $(VENV)/.cuda $(SOURCES)
	$(call INSTALL,.[dev])
	@touch $@

$(VENV)/.docs: $(VENV)/.build $(VENV)/.cuda $(SOURCES)
	$(call INSTALL,.[docs])
	@touch $@

lenet: $(VENV)/.examples
	$(BIN)/python examples/train_lenet.py --output runs/lenet $(ARGS)

test: $(VENV)/.test $(if $(ORACLE),$(VENV)/.oracle)
	$(BIN)/python -m pytest $(ARGS)

sanitize: $(VENV)/.test
	$(BIN)/python scripts/check/sanitize.py $(ARGS)

emulated: $(VENV)/.test
	$(BIN)/python scripts/check/emulate_cuda.py plain $(ARGS)

emulated-checked: emulated-checker emulated-sanitizers

emulated-checker: $(VENV)/.test
	$(BIN)/python scripts/check/emulate_cuda.py checker $(ARGS)

emulated-sanitizers: $(VENV)/.test
	$(BIN)/python scripts/check/emulate_cuda.py sanitizers $(ARGS)

check-all:
	.ci/run all

cuda-build: $(VENV)/.test
	$(BIN)/python scripts/check/check_cuda_build.py $(ARGS)

# With what is installed: such machines often have no network. Results: runs/gpu.
test-gpu:
	$(PYTHON) scripts/check/test_gpu.py $(ARGS)

isas: $(VENV)/.test
	for isa in baseline avx2; do WEFT_ISA=$$isa $(BIN)/python -m pytest $(ARGS) || exit 1; done

coverage: $(VENV)/.dev
	$(BIN)/python scripts/check/coverage.py $(ARGS)

fuzz: $(VENV)/.test
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --seed $(SEED) $(ARGS)

fuzz-sanitized: $(VENV)/.test
	$(BIN)/python scripts/check/sanitize.py fuzz --seconds $(SECONDS) --seed $(SEED) $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/clang-format --dry-run -Werror $$(find csrc tests -name '*.h' -o -name '*.cpp' -o -name '*.cu')
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python scripts/generate/make_stubs.py --check
	$(BIN)/python scripts/check/check_isa_symbols.py

format: $(VENV)/.dev
	$(BIN)/clang-format -i $$(find csrc tests -name '*.h' -o -name '*.cpp' -o -name '*.cu')
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The pages' code runs too, so this is a test of them.
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -b html -W --keep-going -q -j auto -d build/docs-cache docs build/docs $(ARGS)

stubs: $(VENV)/.dev
	$(BIN)/python scripts/generate/make_stubs.py

bench: $(VENV)/.test $(VENV)/.oracle
	$(BIN)/python -m bench $(ARGS)

tables: $(VENV)/.test
	$(BIN)/python -m bench.report.tables

clean:
	rm -rf $(VENV) build
