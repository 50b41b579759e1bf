#!/usr/bin/env bash
# Pictures a second from a server on this machine, with decoding off and on; server and client share the cores.
#   bench/fetch.sh [FOLDER OF JPEGS]
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --locked --workspace --example fetch_bench
exec "${CARGO_TARGET_DIR:-target}/release/examples/fetch_bench" "$@"
