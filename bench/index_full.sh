#!/usr/bin/env bash
# The face index at its full shape, by the commands a user types: an empty block of IVF262144,PQ64 is trained, four blocks
# are filled apart and merged one after the other; disk and memory are looked at after each, then recall, speed and the
# search in little memory are measured. Takes about 20 minutes and 16 GB of disk.
# Environment: VECTORS, TRAIN, DIM, FACTORY, QUERIES, OUT (figures), KEEP=1 (leaves the index there).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

VECTORS=${VECTORS:-2000000} TRAIN=${TRAIN:-2000000} DIM=${DIM:-512} FACTORY=${FACTORY:-IVF262144,PQ64}
QUERIES=${QUERIES:-1000}
FACERING=$(realpath "${FACERING_BIN:-target/release/facering}")
DEPS=$CACHE/python-bench-$(sha256sum bench/requirements.txt | cut -c1-12)
[ -f "$DEPS/.complete" ] || fail "run bench/index.sh first, it brings in what this needs"
export PYTHONPATH=$DEPS
# Each program chooses kernels for this processor itself, as it does for users.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE OMP_WAIT_POLICY
OUT=$(realpath -m "${OUT:-index-full}")
mkdir -p "$OUT"
WORK=$OUT/work
mkdir -p "$WORK"
[ "${KEEP:-}" ] || trap 'rm -rf "$WORK"' EXIT

vectors() { OMP_WAIT_POLICY=passive python3 bench/index_vectors.py "$WORK/$1" "$2" "$DIM" "$3" "${@:4}"; }
index() { "$FACERING" index "$@"; }

step "$TRAIN vectors to train on, other identities than those to index"
vectors train.parquet "$TRAIN" 11
step "training $FACTORY"
started=$(date +%s)
index train --from "$WORK/train.parquet" --factory "$FACTORY" --sample "$TRAIN" --out "$WORK/empty" --json >"$OUT/train.json"
echo "trained in $(($(date +%s) - started)) s" | tee "$OUT/train_s.txt"
rm "$WORK/train.parquet"

for part in 1 2 3 4; do
    vectors "part-$part.parquet" "$((VECTORS / 4))" "2$part"
    step "filling block $part"
    index fill "$WORK/block-$part" --model "$WORK/empty" --from "$WORK/part-$part.parquet" --json >"$OUT/fill-$part.json"
    [ "$part" = 1 ] && vectors copies.parquet "$QUERIES" 31 "$WORK/part-1.parquet" 0.9
    rm "$WORK/part-$part.parquet"
    step "merging it"
    index merge --out "$WORK/merged" "$WORK/block-$part" --json >"$OUT/merge-$part.json"
    rm -rf "$WORK/block-$part"
    index compact --index "$WORK/merged" --json >"$OUT/info-$part.json"
    # In a process of its own, at the smallest and the largest size.
    case $part in 1 | 4) index search "$WORK/merged" --from "$WORK/copies.parquet" -k 1 --json >"$OUT/search-$part.json" ;; esac
done

step "recall, speed, assignment"
index bench --index "$WORK/merged" --queries "$QUERIES" --json >"$OUT/bench.json"

# Less memory than the index and its vectors take on disk. Needs to be root and a memory cgroup (version 1 or 2).
limit=${LIMIT_MB:-1500}
group=/sys/fs/cgroup/memory/facering-bench file=memory.limit_in_bytes
[ -d /sys/fs/cgroup/memory ] || { group=/sys/fs/cgroup/facering-bench file=memory.max; }
if mkdir "$group" 2>/dev/null; then
    step "searching with $limit MiB for everything, page cache included"
    echo $((limit * 1048576)) >"$group/$file"
    started=$(date +%s%N)
    # The files are read anew, not found in the cache of what ran before.
    sync
    for read in "$WORK"/merged/*; do dd if="$read" iflag=nocache count=0 status=none; done
    bash -c 'echo $$ >"$0/cgroup.procs"; exec "$@"' "$group" \
        "$FACERING" index search "$WORK/merged" --from "$WORK/copies.parquet" -k 1 --json >"$OUT/search-limited.json"
    echo "searched in $((($(date +%s%N) - started) / 1000000)) ms within $limit MiB" | tee "$OUT/limited.txt"
    rmdir "$group"
else
    echo "no memory cgroup can be made here: the search in little memory is left out" | tee "$OUT/limited.txt"
fi
du -sb "$WORK/merged" | cut -f1 >"$OUT/merged_bytes.txt"
python3 bench/index_full_table.py "$OUT"
