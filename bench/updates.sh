#!/usr/bin/env bash
# Time and memory of a running stream's snapshots: out of everything, and as an update after LATE accounts have changed,
# reading the state and writing the tables included; then the same without keeping the population in memory. Draws ACCOUNTS
# accounts and fills a state with them first, which takes most of the time. docs/benchmarks.md shows the figures.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
ACCOUNTS=${ACCOUNTS:-200000}
LATE=${LATE:-1000}
FOLDER=${FOLDER:-$(mktemp -d)}

scripts/setup-tests.sh
cargo build --release --locked --workspace --bin facering --example updates
export FACERING_TEST_BROKER_BIN=${FACERING_TEST_BROKER_BIN:-$CACHE/tansu-0.6.0/bin/tansu}
export FACERING_TEST_PYTHONPATH=${FACERING_TEST_PYTHONPATH:-$CACHE/python-$(sha256sum tests/requirements.txt | cut -c1-12)}
program=${CARGO_TARGET_DIR:-target}/release/examples/updates
echo "== kept in memory"
"$program" "$FOLDER" "$ACCOUNTS" "$LATE"
echo "== not kept"
"$program" "$FOLDER" "$ACCOUNTS" "$LATE" output.incremental_accounts=0
