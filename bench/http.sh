#!/usr/bin/env bash
# p50 and p99 of a vector search through HTTP, at FACES faces (default one million) of 512 numbers, on this machine.
# Writes a state of its own into FOLDER (default a temporary one, about 3 GB), lets facering build and promote its index as
# a running stream would, then asks over one and over two connections.
set -euo pipefail
cd "$(dirname "$0")/.."
FACES=${FACES:-1000000}
QUERIES=${QUERIES:-2000}
FOLDER=${FOLDER:-$(mktemp -d)}
LISTEN=127.0.0.1:${PORT:-18321}

cargo build --release --locked --workspace --bin facering --example search_latency
release=${CARGO_TARGET_DIR:-target}/release
bench=$release/examples/search_latency
"$bench" fill "$FOLDER/state" "$FACES"
settings=(--set "state.path=$FOLDER/state" --set "output.path=$FOLDER/output")
$release/facering serve "${settings[@]}" --set serve.listen="$LISTEN" --set serve.search_enabled=true \
    --set serve.audit_path="$FOLDER/audit.jsonl" --set serve.queries_per_minute=100000000 --set output.every_s=86400 >"$FOLDER/log" 2>&1 &
server=$!
trap 'kill $server; wait $server || true' EXIT

printf 'the index is opened and promoted'
until grep -q "the face index was promoted" "$FOLDER/log"; do
    kill -0 $server || { cat "$FOLDER/log"; exit 1; }
    sleep 2
    printf .
done
printf '\n'
$release/facering index info "${settings[@]}"
"$bench" ask "$LISTEN" 200 1 >/dev/null # the first questions read the lists from disk
"$bench" ask "$LISTEN" "$QUERIES" 1
"$bench" ask "$LISTEN" "$QUERIES" 2
