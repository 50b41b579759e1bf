#!/usr/bin/env bash
# The detector against what a script with a graph library does, on populations that were not used in tuning, and what each
# of its parts is worth: docs/detection.md shows the tables and pictures that this leaves in target/bench/clusters.
#
#   bench/clusters.sh [ACCOUNTS [FIRST_SEED [SEEDS]]]        default: 50000 accounts, seeds 101 to 105
set -euo pipefail
cd "$(dirname "$0")/.."
accounts=${1:-50000} first=${2:-101} seeds=${3:-5}
out=target/bench/clusters
mkdir -p "$out"

cargo build --release --locked --workspace --example populations
program=${CARGO_TARGET_DIR:-target}/release/examples/populations
"$program" --accounts "$accounts" --seeds "$first..$((first + seeds))" --baselines --json >"$out/populations.json"
"$program" --accounts "$((accounts / 2))" --seeds "$first..$((first + 2))" --ablation --json >"$out/ablation.json"

# Other mixes, other knowledge, other sizes: the detector is not told which.
: >"$out/robustness.txt"
variant() {
    printf '%s\n' "## $1" >>"$out/robustness.txt"
    "$program" --accounts $((accounts / 5)) --seeds "$first..$((first + 2))" "${@:2}" 2>/dev/null | tail -1 >>"$out/robustness.txt"
}
variant 'as in the table above'
variant '1% bots' --options '{"bots":0.01}'
variant '20% bots' --options '{"bots":0.2}'
variant 'rings of 4 to 12' --options '{"smallest_ring":4,"largest_ring":12}'
variant 'rings of 100 to 2,000, 10% bots' --options '{"smallest_ring":100,"largest_ring":2000,"bots":0.1}'
variant '70% of bots have ordinary profiles' --options '{"bots_in_disguise":0.7}'
variant 'every victim has an account' --options '{"victims_present":1.0}'
variant 'one year' --options '{"days":365}'
variant 'a larger network (512 dimensions)' --space 512
variant 'no perceptual hashes' --known nopdq
variant 'no hashes at all' --known nohash
variant 'no profiles' --known noprofile
variant 'no creation dates' --known nocreated
variant 'no times' --known notime
variant 'nothing but cosines' --known nohash,noprofile,notime

python3 bench/clusters.py "$out"
cat "$out/tables.md" "$out/robustness.txt"
