#!/usr/bin/env bash
# A stream for MINUTES (default 30) at the highest rate the machine holds, a tenth of the pictures failing in every way an
# HTTP server can. Prints the report of docs/benchmarks.md; exits 1 if an event is lost or counted wrongly.
#   bench/soak.sh [MINUTES] [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

minutes=${1:-30}
out=${2:-$(mktemp -d)/soak}
cargo build --release --locked --workspace --bin facering --example soak
export FACERING_TEST_BROKER_BIN=${FACERING_TEST_BROKER_BIN:-$CACHE/tansu-0.6.0/bin/tansu}
exec "${CARGO_TARGET_DIR:-target}/release/examples/soak" --minutes "$minutes" --out "$out"
