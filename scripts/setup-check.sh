#!/usr/bin/env bash
# What only `make check` needs: cargo-deny, kept outside the clone.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

DENY=0.20.2
if [ ! -x "$CACHE/cargo-deny-$DENY/bin/cargo-deny" ]; then
    step "cargo-deny $DENY (4 to 6 minutes, once)"
    (cd "$CACHE" && CARGO_TARGET_DIR="$CACHE/build-deny" cargo install cargo-deny --version "=$DENY" --locked --quiet \
        --no-default-features --root "$CACHE/cargo-deny-$DENY") || fail "cargo-deny $DENY could not be built: see cargo's message above"
    rm -rf "$CACHE/build-deny"
fi
