#!/usr/bin/env bash
# A backfill beside a peer in plain Python (bench/peer), on the same files in one run: rows and pictures a second, peak
# memory, and what a face costs as the state grows. Takes about 20 minutes on two cores.
#   bench/peer.sh [faces|pictures|growth]…     all three without an argument
# FACES, PICTURES and GROWTH set the sizes, POPULATIONS the files of the last part, ROUNDS how often pictures are measured.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

FACES=${FACES:-1000000}
PICTURES=${PICTURES:-1500}
GROWTH=${GROWTH:-2000000}
NPROBE=${NPROBE:-16}
ROUNDS=${ROUNDS:-3}
WORK=${WORK:-$(mktemp -d)}
trap 'rm -rf "$WORK"' EXIT
PROGRAM=${FACERING_BIN:-target/release/facering}

PEER=$CACHE/peer-$(sha256sum bench/peer/requirements.txt | cut -c1-12)
if [ ! -f "$PEER/.complete" ]; then
    step "the peer's packages"
    rm -rf "$PEER"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --only-binary=:all: \
        --target "$PEER" -r bench/peer/requirements.txt || fail "pip could not install bench/peer/requirements.txt"
    touch "$PEER/.complete"
fi
# Threads that wait do not spin; without it the peer is slower on a busy machine.
export OMP_WAIT_POLICY=passive
# Each side takes the matrix kernels that it thinks best.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE

# About 5.2 faces an account.
accounts() { echo $(($1 * 10 / 52)); }
backfill() {
    "$PROGRAM" run pipelines/backfill.toml --json --set source.path="$1" --set state.path="$2/state" \
        --set output.path="$2/output" "${@:3}"
}
measured() { python3 bench/peer/measured.py "$@"; }

faces() {
    step "$FACES faces: facering, then the peer"
    "$PROGRAM" simulate --accounts "$(accounts "$FACES")" --seed 6 --out "$WORK/faces" >&2
    local lists factory
    lists=$([ "$FACES" -ge 500000 ] && echo 4096 || echo 1024)
    factory=IVF$lists,PQ64np
    measured "$WORK/facering.json" "$PROGRAM" run pipelines/backfill.toml --json \
        --set source.path="$WORK/faces/faces.parquet" --set state.path="$WORK/state" --set output.path="$WORK/output" \
        --set index.factory="$factory" --set index.nprobe="$NPROBE"
    rm -rf "$WORK/state" "$WORK/output"
    PYTHONPATH=$PEER measured "$WORK/peer.json" python3 bench/peer/faces.py "$WORK/faces/faces.parquet" \
        "$WORK/peer.parquet" --factory "$factory" --nprobe "$NPROBE" --train $((lists * 48))
    python3 bench/peer/ratios.py rows "$WORK/facering.json" "$WORK/peer.json"
    rm -rf "$WORK/faces"
}

pictures() {
    local models=${FACERING_SHARED:-../shared}/models
    [ -d "$models" ] || fail "the ONNX files of yunet-mobilefacenet are not in $models: set FACERING_SHARED"
    step "$PICTURES accounts with pictures inline: facering, then the peer"
    "$PROGRAM" simulate --images --inline --accounts "$PICTURES" --seed 6 --out "$WORK/pictures" >&2
    "$PROGRAM" models install yunet-mobilefacenet --from "$models" --set models.path="$WORK/models" >&2
    # In turns: on a machine shared with others either side is a quarter slower at times.
    local round
    for round in $(seq "$ROUNDS"); do
        measured "$WORK/facering$round.json" "$PROGRAM" run pipelines/backfill.toml --json \
            --set source.path="$WORK/pictures/profiles.parquet" --set state.path="$WORK/state" \
            --set output.path="$WORK/output" --set models.path="$WORK/models" --set models.pack=yunet-mobilefacenet
        rm -rf "$WORK/state" "$WORK/output"
        PYTHONPATH=$PEER measured "$WORK/peer$round.json" python3 bench/peer/pictures.py \
            "$WORK/pictures/profiles.parquet" "$models" "$WORK/peer.parquet"
    done
    python3 bench/peer/ratios.py pictures "$WORK"/facering[0-9]*.json "$WORK"/peer[0-9]*.json
    rm -rf "$WORK/pictures"
}

# In files of 50,000 faces, each a population of its own: in one large one a face has the more neighbours the later it
# comes, since its ring is there by then, and that would be measured instead. `POPULATIONS=1` shows it.
growth() {
    step "$GROWTH faces: what a face costs as the state grows"
    local part parts=${POPULATIONS:-$((GROWTH / 50000))}
    mkdir -p "$WORK/growth"
    for part in $(seq -f %03g "$parts"); do
        # Rows that repeat a picture make no face: 1.15 rows a stored face.
        "$PROGRAM" simulate --accounts "$(accounts $((GROWTH * 115 / 100 / parts)))" --seed "$((1000 + 10#$part))" \
            --out "$WORK/part" >/dev/null 2>&1
        mv "$WORK/part/faces.parquet" "$WORK/growth/$part.parquet"
    done
    backfill "$WORK/growth" "$WORK" --set index.factory=IVF16384,PQ64np --set index.nprobe="$NPROBE" \
        --set output.path="$WORK/output" >"$WORK/growth.json" 2>"$WORK/growth.log"
    python3 bench/peer/growth.py "$WORK/growth.log"
    rm -rf "$WORK/state" "$WORK/output" "$WORK/growth"
}

for part in "${@:-faces pictures growth}"; do
    for name in $part; do "$name"; done
done
