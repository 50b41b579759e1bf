#!/usr/bin/env bash
# Brings in what building and running facering needs and what this machine lacks: Debian packages, and ONNX Runtime from
# its PyPI wheel at a pinned version and hash, into .deps/ (ignored by git). A second run does none of it again.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

PACKAGES=(build-essential cmake pkg-config libopenblas-dev libssl-dev zlib1g-dev unzip ca-certificates)
ORT_VERSION=1.31.1
ORT_SHA256=5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f
ORT_LIB=.deps/onnxruntime/lib/libonnxruntime.so.$ORT_VERSION

need_command cargo "install Rust from https://rustup.rs, then run this again"
need_command python3 "install Python 3 with pip (Debian: apt-get install python3 python3-pip), then run this again"
[ "$(uname -m)" = x86_64 ] || fail "facering is built for x86-64, and this machine is $(uname -m)"
need_packages "${PACKAGES[@]}"

if [ ! -f "$ORT_LIB" ]; then
    step "ONNX Runtime $ORT_VERSION from PyPI"
    wheel_dir=$CACHE/onnxruntime-$ORT_VERSION
    mkdir -p "$wheel_dir"
    printf 'onnxruntime==%s --hash=sha256:%s\n' "$ORT_VERSION" "$ORT_SHA256" >"$wheel_dir/requirements.txt"
    ls "$wheel_dir"/*.whl >/dev/null 2>&1 || python3 -m pip download --quiet --disable-pip-version-check --no-deps \
        --require-hashes --only-binary=:all: --python-version 3.11 --implementation cp --abi cp311 \
        --platform manylinux_2_28_x86_64 --dest "$wheel_dir" -r "$wheel_dir/requirements.txt" ||
        fail "could not download onnxruntime $ORT_VERSION from PyPI: check the network and run this again"
    echo "$ORT_SHA256  $(ls "$wheel_dir"/*.whl)" | sha256sum --check --quiet ||
        fail "the wheel in $wheel_dir is not the pinned one: delete it and run this again"
    rm -rf .deps/onnxruntime.new && mkdir -p .deps/onnxruntime.new/lib
    unzip -q -j "$wheel_dir"/*.whl "onnxruntime/capi/libonnxruntime.so.$ORT_VERSION" -d .deps/onnxruntime.new/lib
    unzip -q -j "$wheel_dir"/*.whl 'onnxruntime/LICENSE' 'onnxruntime/ThirdPartyNotices.txt' -d .deps/onnxruntime.new
    rm -rf .deps/onnxruntime && mv .deps/onnxruntime.new .deps/onnxruntime
fi
