#!/usr/bin/env bash
# What only the tests need: a browser, a durable Kafka broker (tansu) and Python readers of Parquet, kept outside the
# clone.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

# bindgen, which its SQLite binding uses, needs libclang.
need_packages libclang-dev
# The review pages are tested in a real browser.
need_packages chromium chromium-driver
# The program is started on an emulated processor that is too old for it.
need_packages qemu-user
TANSU=0.6.0
if [ -z "${FACERING_TEST_BROKERS:-}" ] && [ ! -x "$CACHE/tansu-$TANSU/bin/tansu" ]; then
    step "the broker of the integration tests, tansu $TANSU (8 to 14 minutes, once)"
    # Built outside the clone, so that neither its lock file nor its build folder mixes with ours.
    (cd "$CACHE" && CARGO_TARGET_DIR="$CACHE/build-tansu" cargo install tansu --version "=$TANSU" --locked \
        --no-default-features --features libsql,dynostore --root "$CACHE/tansu-$TANSU" --quiet) ||
        fail "tansu $TANSU could not be built: see cargo's message above"
    rm -rf "$CACHE/build-tansu"
fi

PYTHON_DEPS=$CACHE/python-$(sha256sum tests/requirements.txt | cut -c1-12)
if [ ! -f "$PYTHON_DEPS/.complete" ]; then
    step "Python readers of Parquet for the tests"
    rm -rf "$PYTHON_DEPS"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --only-binary=:all: \
        --target "$PYTHON_DEPS" -r tests/requirements.txt || fail "pip could not install tests/requirements.txt"
    touch "$PYTHON_DEPS/.complete"
fi
