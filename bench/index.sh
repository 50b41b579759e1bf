#!/usr/bin/env bash
# The face index beside PyPI's faiss-cpu: the same vectors, queries, factory and threads, one after the other in rounds;
# prints both and the ratios. Environment: ROUNDS, VECTORS, QUERIES, DIM, THREADS, FACTORY.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

ROUNDS=${ROUNDS:-3} VECTORS=${VECTORS:-200000} QUERIES=${QUERIES:-10000} DIM=${DIM:-512} THREADS=${THREADS:-0}
FACTORY=${FACTORY:-IVF1024,PQ64np}
FACERING=${FACERING_BIN:-target/release/facering}
[ -x "$FACERING" ] || fail "$FACERING is missing: run make build"

DEPS=$CACHE/python-bench-$(sha256sum bench/requirements.txt | cut -c1-12)
if [ ! -f "$DEPS/.complete" ]; then
    step "faiss-cpu from PyPI"
    rm -rf "$DEPS"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --only-binary=:all: \
        --target "$DEPS" -r bench/requirements.txt || fail "pip could not install bench/requirements.txt"
    touch "$DEPS/.complete"
fi
# Each program chooses kernels for this processor itself, as it does for users; waiting threads do not spin in either.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
export PYTHONPATH=$DEPS OMP_WAIT_POLICY=passive

WORK=$(mktemp -d "${TMPDIR:-/tmp}/facering-index-bench.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
step "$VECTORS vectors of $DIM dimensions and $QUERIES copies at cosine .9"
python3 bench/index_vectors.py "$WORK/base.parquet" "$VECTORS" "$DIM" 1
python3 bench/index_vectors.py "$WORK/queries.parquet" "$QUERIES" "$DIM" 2 "$WORK/base.parquet" 0.9

for round in $(seq "$ROUNDS"); do
    step "round $round of $ROUNDS"
    python3 bench/index_faiss.py "$WORK/base.parquet" "$WORK/queries.parquet" "$FACTORY" "$THREADS" >"$WORK/faiss-$round.json"
    # Unset, since facering sets it itself, together with the kernels for this processor.
    env -u OMP_WAIT_POLICY "$FACERING" index bench --from "$WORK/base.parquet" --queries-from "$WORK/queries.parquet" \
        --factory "$FACTORY" --threads "$THREADS" --json >"$WORK/facering-$round.json" 2>"$WORK/log" || fail "$(cat "$WORK/log")"
done
python3 bench/index_ratios.py "$WORK" "$ROUNDS"
