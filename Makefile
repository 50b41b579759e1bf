# make demo    set up, build, and run the whole pipeline on a synthetic network; leaves demo/report.html
# make test    set up, build, and pass every test
# make check   formatting, lints, licences, documentation
# make bench   the benchmarks of docs/benchmarks.md
# make soak    a stream for 30 minutes with faults; exits 1 if an event is lost
# make setup   only bring in what is missing

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(FACERING_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/facering)
BUILD := $(or $(CARGO_TARGET_DIR),target)
TOOLS := $(CACHE)/cargo-deny-0.20.2/bin
# Test programs may lie outside the clone (CARGO_TARGET_DIR), where they would not find these by themselves.
TEST_ENV = ORT_DYLIB_PATH="$(CURDIR)/.deps/onnxruntime/lib/libonnxruntime.so.1.31.1" \
	FACERING_TEST_BROKER_BIN="$(CACHE)/tansu-0.6.0/bin/tansu" \
	FACERING_TEST_PYTHONPATH="$(CACHE)/python-$(shell sha256sum tests/requirements.txt | cut -c1-12)" \
	OMP_WAIT_POLICY=passive

# Scripts and people look for the program in target/release, wherever it was built.
PUT_IN_PLACE = [ "$(BUILD)" = target ] || install -D "$(BUILD)/release/facering" target/release/facering

.PHONY: help setup build demo test check bench soak

help:
	@sed -n '/^#/!q;s/^# //p' Makefile

setup:
	@scripts/setup.sh

build: setup
	cargo build --release --locked --bin facering
	@$(PUT_IN_PLACE)

demo: build
	target/release/facering demo --out demo $(DEMO_FLAGS)

# One selection of packages for everything: another one would mean other features, and all dependencies once more.
# Quick tests first, the end-to-end tests with their processes and brokers last.
test: setup
	@scripts/setup-tests.sh
	cargo build --release --locked --workspace --all-targets
	@$(PUT_IN_PLACE)
	$(TEST_ENV) cargo test --release --locked --workspace --lib --bins
	$(TEST_ENV) cargo test --release --locked --workspace --test '*'

check: setup
	@scripts/setup-check.sh
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	PATH="$(TOOLS):$$PATH" cargo deny --locked --offline check --hide-inclusion-graph bans licenses sources
	cargo test --release --locked --workspace --doc
	RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --workspace --no-deps
	scripts/check-files.sh

# Each script prints ratios of one run; docs/benchmarks.md says which longer ones there are.
bench: build
	target/release/facering models bench
	bench/index.sh
	bench/clusters.sh
	bench/peer.sh
	bench/review.sh

soak: setup
	@scripts/setup-tests.sh
	bench/soak.sh
