# Every check of this project, by name; `make` alone lists them. CI runs the same targets through .ci/run.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Prebuilt tools and an advisory database may lie in a folder beside the checkout, for machines without network.
SHARED ?= $(CURDIR)/../shared
ifneq ($(wildcard $(SHARED)/tools/bin),)
export PATH := $(SHARED)/tools/bin:$(PATH)
endif
# A folder with the RustSec advisories, for checking offline; empty: the live database is fetched.
ADVISORY_DB ?= $(wildcard $(SHARED)/advisory-db)

CARGO ?= cargo
# The binary that `interop` tries the foreign clients on.
YOTPO_TD_BIN ?= $(CURDIR)/target/debug/yotpo-td
# The promise of the documentation, in bytes.
MAX_BINARY_BYTES ?= 15000000
# Lines of src that the tests must reach, in percent.
COVERAGE_FLOOR ?= 90
# Mutated inputs for each fuzz target, of `fuzz-smoke`.
FUZZ_INPUTS ?= 100000
# Moments of `attempts`.
ATTEMPT_MOMENTS ?= 60
# What `fuzz` runs, and for how long each.
FUZZ_TARGETS ?= $(notdir $(wildcard fuzz/corpus/*))
FUZZ_SECONDS ?= 60
# rustc and the tools that read its coverage data must be of one LLVM generation.
LLVM_MAJOR ?= $(shell rustc -vV 2>/dev/null | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
# What `ci` runs, fast failures first.
CI_STEPS ?= lint deny test interop release-build instructions cov

TOOL_VERSIONS := \
	cargo-audit@0.22.2 \
	cargo-deny@0.20.2 \
	cargo-llvm-cov@0.9.1 \
	cargo-machete@0.9.2 \
	gungraun-runner@0.20.0 \
	typos-cli@1.52.0

export CARGO_INCREMENTAL ?= $(if $(CI),0,1)

# Not empty: `instructions` writes its numbers instead of comparing them. Only from the command line: CI must compare.
UPDATE =

.PHONY: help dev tools demo fmt lint test attempts model fuzz fuzz-smoke interop deny bench instructions cov build release-build ci

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

dev: tools ## prepare a machine for working on the project
	rustup component add clippy rustfmt || echo "no rustup: clippy and rustfmt must come with your toolchain"
	$(CARGO) fetch --locked

tools: ## install the cargo tools the checks use, where missing
	@.ci/install-tools $(TOOL_VERSIONS)

demo: ## load 10,000 made-up customers through look-alikes of both services
	$(CARGO) run --release --locked -- sync --sandbox

fmt: ## format the code
	$(CARGO) fmt --all
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml

lint: ## formatting, house rules, spelling, unused dependencies, clippy, documentation
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	.ci/check-repository
	typos
	cargo-machete
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

test: ## all tests; needs nothing but Rust
	$(CARGO) test --locked --all-targets
	$(CARGO) test --locked --doc

fuzz-smoke: ## the fuzz targets without a fuzzer: their corpus and FUZZ_INPUTS mutations of it each (part of `test`)
	YOTPO_TD_FUZZ_INPUTS=$(FUZZ_INPUTS) $(CARGO) test --locked --test it project::fuzz_corpora

# Stable Rust will do without a sanitizer, and there is no unsafe code to watch. What is found first goes to fuzz/target,
# so that the committed corpus stays small.
fuzz: ## look for inputs that break FUZZ_TARGETS, FUZZ_SECONDS each; needs cargo-fuzz and a C++ compiler
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p "fuzz/target/corpus/$$target"; \
		$(CARGO) fuzz run --sanitizer none "$$target" "fuzz/target/corpus/$$target" "fuzz/corpus/$$target" -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=10; \
	done

attempts: ## two attempts of one run id at ATTEMPT_MOMENTS moments each, with the real program; `test` tries 24
	YOTPO_TD_ATTEMPT_MOMENTS=$(ATTEMPT_MOMENTS) $(CARGO) test --locked --test it program::attempts -- --nocapture

model: ## the protocol of attempts, searched with the large bounds; `test` searches the small ones
	MODEL=full $(CARGO) test --locked --release --test model -- --nocapture

interop: build ## clients that other people wrote, against `yotpo-td sandbox`
	YOTPO_TD_BIN="$(YOTPO_TD_BIN)" tests/interop/run

deny: ## advisories, licences, banned crates and sources of the dependencies
	@ADVISORY_DB="$(ADVISORY_DB)" .ci/check-dependencies

bench: ## measure: each step (criterion), the whole program, and how much of the rate limit is used; about 5 minutes
	$(CARGO) bench --locked

instructions: ## instructions of the hot path, against the committed numbers; needs valgrind. UPDATE=1 writes them
	@CARGO="$(CARGO)" UPDATE="$(UPDATE)" .ci/instructions

cov: ## test coverage, with a floor
	@CARGO="$(CARGO)" LLVM_MAJOR="$(LLVM_MAJOR)" .ci/coverage "$(COVERAGE_FLOOR)"

build: ## the program, for developing
	$(CARGO) build --locked

release-build: ## the program, as it is given away; checks its size
	$(CARGO) build --release --locked
	@size=$$(wc -c < target/release/yotpo-td); \
	echo "target/release/yotpo-td: $$size bytes, at most $(MAX_BINARY_BYTES)"; \
	[ "$$size" -le "$(MAX_BINARY_BYTES)" ]

ci: ## everything that must pass before a change lands
	@MAKE="$(MAKE)" .ci/steps $(CI_STEPS)
