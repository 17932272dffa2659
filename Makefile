# All checks of this project; `make` without a target lists them. CI runs the same targets through .ci/run.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Prebuilt tools and an advisory database may be in a directory next to the checkout, for machines without network access.
SHARED ?= $(CURDIR)/../shared
ifneq ($(wildcard $(SHARED)/tools/bin),)
export PATH := $(SHARED)/tools/bin:$(PATH)
endif
# A directory with the RustSec advisories, for offline checks. If empty, the live database is fetched.
ADVISORY_DB ?= $(wildcard $(SHARED)/advisory-db)

CARGO ?= cargo
# The binary that `interop` tests with third-party clients.
YOTPO_TD_BIN ?= $(CURDIR)/target/debug/yotpo-td
# Maximum size of the release binary, in bytes, as documented.
MAX_BINARY_BYTES ?= 15000000
# Mutated inputs per fuzz target in `fuzz-smoke`.
FUZZ_INPUTS ?= 100000
# Customers that `scale` loads.
SCALE_CUSTOMERS ?= 1000000
# Parts of the names of tests that try every moment, fault or order. They take as long as all others, so `sweeps` runs them.
SWEEPS := $(shell cat .ci/sweeps.txt)
# Number of moments tried by `attempts`.
ATTEMPT_MOMENTS ?= 60
# Targets that `fuzz` runs, and the duration of each.
FUZZ_TARGETS ?= $(notdir $(wildcard fuzz/corpus/*))
FUZZ_SECONDS ?= 60
# Modules that `mutants` and `mutants-shard` change; all if empty.
MODULE ?=
# A file with the names of the mutants that `mutants` tries; all if empty.
ONLY ?=
# How many random mutants `mutants-shard` tries, and the seed of the draw (random if empty).
SAMPLE ?= 20
SEED ?=
# `mutants-diff` changes the lines that differ from where the branch left this commit.
BASE ?= origin/main
# If non-empty, the results are recorded in tests/mutants.tsv.
RECORD ?=
# If non-empty, `mutants-at-once` tries changes again that a test has noticed in an earlier call.
AFRESH ?=
# rustc and the tools that read its coverage data must have the same LLVM major version.
LLVM_MAJOR ?= $(shell rustc -vV 2>/dev/null | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
# Steps of `ci`, fastest failures first.
CI_STEPS ?= workflows secrets commits lint deny test test-as-root sweeps site manual report-check interop monitoring otel optimized scale package cov

# Cargo tools, crate@version.
TOOL_VERSIONS := $(shell cat .ci/tools.txt)
# What `tools` installs: those that are named, or all that `ci` uses.
TOOLS = $(filter-out cargo-mutants,$(foreach tool,$(TOOL_VERSIONS),$(firstword $(subst @, ,$(tool)))))
# `commits` checks the commits since SINCE, or since it exists.
SINCE ?=

export CARGO_INCREMENTAL ?= $(if $(CI),0,1)

# If non-empty, `instructions`, `licenses` and `dependencies` write their files instead of comparing them. Command line only: CI must compare.
UPDATE =

.PHONY: help dev tools demo fmt workflows secrets commits lint test test-as-root sweeps site manual report-check attempts model mutants mutants-at-once mutants-diff mutants-shard mutants-status fuzz fuzz-smoke interop examples monitoring otel digdag deny bench instructions cov build release-build optimized scale ci

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

dev: tools ## prepare a machine for development
	rustup component add clippy rustfmt || echo "no rustup: clippy and rustfmt must come with your toolchain"
	$(CARGO) fetch --locked

tools: ## install missing cargo tools used by the checks
	@.ci/install-tools $(foreach tool,$(TOOLS),$(or $(filter $(tool)@%,$(TOOL_VERSIONS)),$(error no version of $(tool) is known)))

demo: ## load 10,000 generated customers through mock servers for both services
	$(CARGO) run --release --locked -- sync --sandbox

fmt: ## format the code
	$(CARGO) fmt --all
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml
	$(CARGO) fmt --manifest-path .ci/switches/Cargo.toml

target/check-tools/python/installed.txt: .ci/requirements.txt .ci/install-check-tools
	.ci/install-check-tools python

target/check-tools/go/installed.txt: .ci/go-tools/go.mod .ci/go-tools/go.sum .ci/install-check-tools
	.ci/install-check-tools go

workflows: target/check-tools/python/installed.txt target/check-tools/go/installed.txt ## check .github: rules, actionlint, zizmor, schemas
	.ci/check-workflows
	.ci/test-checks workflows

secrets: target/check-tools/go/installed.txt ## search for secrets in the history and the files; needs Go
	.ci/check-secrets
	.ci/test-checks secrets

commits: target/check-tools/python/installed.txt ## check that the messages of commits since SINCE are Conventional Commits
	.ci/check-commits $(SINCE)
	.ci/test-checks commits

lint: ## check formatting, repository rules, spelling, unused dependencies, clippy, documentation, the tools of mutants
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) fmt --manifest-path .ci/switches/Cargo.toml --check
	.ci/check-repository
	.ci/test-checks recipes
	.ci/test-checks mutants
	typos
	cargo-machete
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --no-default-features --lib --bins --tests -- -D warnings
	$(CARGO) test --quiet --locked --manifest-path .ci/switches/Cargo.toml --target-dir target/switches
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

# Joined with &&, because the make of macOS does not know .SHELLFLAGS, so a failure would not end a recipe there.
test: ## run the tests, without those of `sweeps`; needs only Rust
	@directory=$$(.ci/test-directory) && echo "TMPDIR=$$directory $(CARGO) test --locked -- $(SWEEPS:%=--skip %)" && \
	TMPDIR=$$directory $(CARGO) test --locked -- $(SWEEPS:%=--skip %)

sweeps: ## run the tests that try every moment, fault or order of calls; needs only Rust
	@directory=$$(.ci/test-directory) && echo "TMPDIR=$$directory $(CARGO) test --locked --test it --test model -- $(SWEEPS)" && \
	TMPDIR=$$directory $(CARGO) test --locked --test it --test model -- $(SWEEPS)
	$(CARGO) test --locked --lib run::decide::tests::termination -- --ignored

test-as-root: ## run the tests that need root, which `test` skips for another user; needs sudo without a password
	@CARGO="$(CARGO)" .ci/test-as-root

fuzz-smoke: ## run the fuzz targets without a fuzzer: the corpus and FUZZ_INPUTS mutations each (part of `test`)
	YOTPO_TD_FUZZ_INPUTS=$(FUZZ_INPUTS) $(CARGO) test --locked --test it project::fuzz_corpora

# Stable Rust works without a sanitizer, and there is no unsafe code to check. New inputs go to fuzz/target first, so that
# the committed corpus stays small.
fuzz: ## search for inputs that break FUZZ_TARGETS, FUZZ_SECONDS each; needs cargo-fuzz and a C++ compiler
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p "fuzz/target/corpus/$$target"; \
		$(CARGO) fuzz run --sanitizer none "$$target" "fuzz/target/corpus/$$target" "fuzz/corpus/$$target" -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=10; \
	done

attempts: ## run two attempts of one run id at ATTEMPT_MOMENTS moments each, with the real program; `sweeps` tries 24
	YOTPO_TD_ATTEMPT_MOMENTS=$(ATTEMPT_MOMENTS) $(CARGO) test --locked --test it program::attempts -- --nocapture

model: ## search the protocol of attempts with large bounds; `test` and `sweeps` use small ones
	MODEL=full $(CARGO) test --locked --release --test model -- --nocapture

mutants: ## check that tests fail for every change of MODULE; for all modules, use mutants-at-once. Needs cargo-mutants and Python
	@CARGO="$(CARGO)" .ci/mutants $(MODULE) $(if $(ONLY),--only $(ONLY)) $(if $(RECORD),--record)

mutants-at-once: ## check that tests fail for every change of MODULE, or of all modules, in one build; takes about an hour
	@CARGO="$(CARGO)" .ci/mutants-at-once $(MODULE) $(if $(RECORD),--record) $(if $(AFRESH),--afresh)

mutants-diff: ## check that tests fail for every change of the lines that differ from BASE
	@CARGO="$(CARGO)" .ci/mutants --base "$(BASE)" $(if $(RECORD),--record)

mutants-shard: ## check that tests fail for SAMPLE random changes of src, or of MODULE
	@CARGO="$(CARGO)" .ci/mutants $(MODULE) --sample $(SAMPLE) $(if $(SEED),--seed $(SEED)) $(if $(RECORD),--record)

mutants-status: ## print the recorded results of each module
	@.ci/mutants --status

interop: build ## run third-party clients against `yotpo-td sandbox`
	YOTPO_TD_BIN="$(YOTPO_TD_BIN)" tests/interop/run

examples: build ## run the examples for schedulers, and check them with cron, systemd and kubeconform (part of `interop`)
	YOTPO_TD_BIN="$(YOTPO_TD_BIN)" tests/interop/run test_cron.py test_systemd.py test_kubernetes.py test_digdag.py

monitoring: build ## check metrics, alerts, dashboard and runbook with Prometheus, node_exporter, Pushgateway and tsc
	YOTPO_TD_BIN="$(YOTPO_TD_BIN)" .ci/monitoring

otel: build ## run the program against a real OpenTelemetry Collector; needs Go and Python
	@YOTPO_TD_BIN="$(YOTPO_TD_BIN)" .ci/otel

# Not part of `ci`: Digdag cannot be installed from a package registry.
digdag: build ## run the workflows of examples/digdag with the digdag on PATH against mock servers
	YOTPO_TD_BIN="$(YOTPO_TD_BIN)" .ci/digdag

manual: build ## check the manual pages and completions that the program prints; needs mandoc, bash, zsh and fish
	.ci/check-manual target/debug/yotpo-td

report-check: build ## look at reports in headless Chromium: contrast, overlaps, overflow, requests; needs chromium
	.ci/check-report target/debug/yotpo-td

site: ## build the documentation site in target/site, and check its links and its look; needs mdbook, Python and chromium
	@.ci/site

deny: ## check advisories, licences, banned crates and sources of the dependencies
	@CARGO="$(CARGO)" .ci/dependencies
	@ADVISORY_DB="$(ADVISORY_DB)" .ci/check-dependencies

bench: ## measure each step (criterion), the whole program, and rate limit usage; about 5 minutes
	$(CARGO) bench --locked

instructions: ## compare the instructions of the hot path with the committed numbers; needs valgrind. UPDATE=1 writes them
	@CARGO="$(CARGO)" UPDATE="$(UPDATE)" .ci/instructions

cov: ## check the test coverage
	@CARGO="$(CARGO)" LLVM_MAJOR="$(LLVM_MAJOR)" .ci/coverage

build: ## build the program for development
	$(CARGO) build --locked

release-build: ## build the release binary and check its size
	$(CARGO) build --release --locked
	@size=$$(wc -c < target/release/yotpo-td); \
	echo "target/release/yotpo-td: $$size bytes, maximum $(MAX_BINARY_BYTES)"; \
	[ "$$size" -le "$(MAX_BINARY_BYTES)" ]

# Linking takes one processor, so two builds take hardly longer than one.
optimized: ## release-build and instructions, at the same time
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target release-build instructions

scale: ## load SCALE_CUSTOMERS customers with the release binary, directly and through an export, within the memory bound
	$(CARGO) build --release --locked
	.ci/check-scale target/release/yotpo-td $(SCALE_CUSTOMERS)

.PHONY: licenses package checksums package-archive package-wheel package-musl package-deb package-image package-sbom image-root check-dockerfile auditable reproducible dependencies

licenses: ## compare THIRD-PARTY-LICENSES with the crates that are linked. UPDATE=1 writes it
	@mkdir -p target
	CARGO="$(CARGO)" .ci/licenses > target/THIRD-PARTY-LICENSES
	$(if $(UPDATE),cp target/THIRD-PARTY-LICENSES THIRD-PARTY-LICENSES,@diff -u THIRD-PARTY-LICENSES target/THIRD-PARTY-LICENSES \
		|| { echo "make licenses: the licences have changed; run 'make licenses UPDATE=1'" >&2; exit 1; })

target/package-tools/installed.txt: packaging/requirements.txt
	rm -rf target/package-tools
	python3 -m venv target/package-tools
	target/package-tools/bin/pip install --quiet --disable-pip-version-check --only-binary :all: -r packaging/requirements.txt
	cp packaging/requirements.txt $@

# The packages need it, also in the Dockerfile, where there are no other tools.
auditable:
	@.ci/install-tools $(filter cargo-auditable@%,$(TOOL_VERSIONS))

package-wheel: target/package-tools/installed.txt auditable ## build the wheel for hosted Treasure Workflow, and check it in a fresh virtual environment
	CARGO="$(CARGO)" .ci/package wheel
	ADVISORY_DB="$(ADVISORY_DB)" .ci/check-package wheel

package-musl: target/package-tools/installed.txt auditable ## build the archive with the static program, and check it in an empty root directory
	CARGO="$(CARGO)" .ci/package musl
	ADVISORY_DB="$(ADVISORY_DB)" .ci/check-package musl

package-deb: package-wheel ## build the Debian package with the program of the wheel, and check it in a fresh Debian
	CARGO="$(CARGO)" .ci/package deb
	ADVISORY_DB="$(ADVISORY_DB)" .ci/check-package deb

# The archive for Linux has the program of the wheel, which runs with old versions of glibc. The wheel is not for macOS.
package-archive: auditable $(if $(filter Linux,$(shell uname)),package-wheel) ## build the archive with the program for this system, and check it
	CARGO="$(CARGO)" .ci/package archive
	ADVISORY_DB="$(ADVISORY_DB)" .ci/check-package archive

# Both build the static program: `package` lets one wait, so that the wheel is built at the same time.
image-root: $(IMAGE_AFTER) auditable ## build the files of the container (the Dockerfile runs this)
	CARGO="$(CARGO)" .ci/package image

package-image: image-root target/package-tools/installed.txt ## run the files of the container as its user; needs no Docker
	ADVISORY_DB="$(ADVISORY_DB)" .ci/check-package image

package-sbom: target/package-tools/installed.txt ## write the software bill of materials, and check it against the schema of CycloneDX
	@mkdir -p target/packages
	.ci/package sbom
	target/package-tools/bin/python .ci/check-sbom target/packages/*.cdx.json

check-dockerfile: target/package-tools/installed.txt image-root ## check the Dockerfile with hadolint, and that `package` runs what it runs
	.ci/check-dockerfile

package: ## build and check all packages, with checksums, in target/packages
	rm -rf target/packages
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target \
		licenses package-sbom package-wheel package-archive package-musl package-deb package-image check-dockerfile IMAGE_AFTER=package-musl
	$(MAKE) --no-print-directory checksums
	.ci/reproducible packed

checksums: ## write target/packages/SHA256SUMS, for what is in that directory
	cd target/packages && rm -f SHA256SUMS && sums=$$(sha256sum -- *) && echo "$$sums" > SHA256SUMS
	cd target/packages && sha256sum --check --strict SHA256SUMS

reproducible: target/package-tools/installed.txt auditable ## build PACKAGES (default: wheel musl) twice, in other directories, and compare the bytes
	CARGO="$(CARGO)" .ci/reproducible built $(PACKAGES)

.PHONY: release bench-peers

release: target/package-tools/installed.txt ## rehearse the release of VERSION (default: that of Cargo.toml); changes nothing. SKIP_PACKAGES=1 builds no packages
	@CARGO="$(CARGO)" MAKE="$(MAKE)" SKIP_PACKAGES="$(SKIP_PACKAGES)" .ci/release $(VERSION)

bench-peers: ## compare with dlt and faucet on the same source, and print the ratios; needs Python, and compiles faucet once
	$(CARGO) build --release --locked
	benches/peers/run target/release/yotpo-td

dependencies: ## compare docs/dependencies.md with the direct dependencies. UPDATE=1 writes what can be computed
	@CARGO="$(CARGO)" UPDATE="$(UPDATE)" .ci/dependencies

ci: ## run everything that must pass before a change is merged
	@MAKE="$(MAKE)" .ci/steps $(CI_STEPS)
