# Commands for users (demo, test) and for development (build, runtime, lint).
PYTHON ?= $(firstword $(wildcard $(CURDIR)/.venv/bin/python) python3)
BASE_PYTHON ?= python3
TOOLS := $(dir $(shell command -v $(PYTHON)))
CMAKE ?= $(firstword $(wildcard $(TOOLS)cmake) cmake)
NINJA ?= $(firstword $(wildcard $(TOOLS)ninja) ninja)
JOBS ?= 2
VENV ?= .venv
SOURCES := $(shell find csrc openxpu pyproject.toml CMakeLists.txt -type f -not -name '*.so' -not -name '*.pyc' 2>/dev/null)
CONFIGURE = $(CMAKE) -S . -G Ninja -DCMAKE_MAKE_PROGRAM="$(NINJA)" -DPython_EXECUTABLE="$(PYTHON)" \
	-DPython3_EXECUTABLE="$(PYTHON)" -DOPENXPU_IN_PLACE=ON --log-level=WARNING
# Tests that start groups of processes, look at all of /dev/shm or wait for each other: one at a time.
ALONE := tests/certify tests/collectives tests/distributed tests/paddle/test_interruption.py tests/runtime

.PHONY: demo test build runtime lint format clean

demo: $(VENV)/installed-demo  ## trains, exports and serves a model on xpu, beside Paddle's CPU
	$(VENV)/bin/openxpu demo

test: $(VENV)/installed-test  ## all tests but the slow sweeps
	$(VENV)/bin/pytest -n $(JOBS) --dist worksteal $(ALONE:%=--ignore=%)
	$(VENV)/bin/pytest $(ALONE)

$(VENV)/bin/python:
	@$(BASE_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "OpenXPU needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Give another one: make BASE_PYTHON=python3.11 ...")'
	@command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || \
		{ echo "OpenXPU is compiled at installation and found no C++ compiler; install g++ (on Debian: apt install g++)."; exit 1; }
	$(BASE_PYTHON) -m venv $(VENV)

# Built and installed once; the extras of what is installed come without building again.
$(VENV)/installed: $(VENV)/bin/python $(SOURCES)
	CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) $(VENV)/bin/python -m pip install --disable-pip-version-check .
	@touch $@

$(VENV)/installed-%: $(VENV)/installed
	$(VENV)/bin/python -m pip install --disable-pip-version-check "openxpu[$*]"
	@touch $@

build:  ## native libraries, in place, for development
	@$(CONFIGURE) -B build/cmake
	@$(CMAKE) --build build/cmake -j $(JOBS)

runtime:  ## the run time alone, in place: everything but the Paddle plug-in
	@$(CONFIGURE) -B build/runtime -DOPENXPU_PADDLE=OFF
	@$(CMAKE) --build build/runtime -j $(JOBS)

lint:  ## style, types, formatting of C++
	$(TOOLS)ruff check openxpu tests benchmarks
	$(TOOLS)ruff format --check openxpu tests benchmarks
	$(TOOLS)mypy
	git ls-files 'csrc/*.cc' 'csrc/*.h' | xargs $(TOOLS)clang-format --dry-run --Werror

format:  ## rewrites Python and C++ in the house style
	$(TOOLS)ruff check --fix openxpu tests benchmarks
	$(TOOLS)ruff format openxpu tests benchmarks
	git ls-files 'csrc/*.cc' 'csrc/*.h' | xargs $(TOOLS)clang-format -i

clean:  ## what builds leave behind
	rm -rf build openxpu/lib openxpu/_runtime*.so
