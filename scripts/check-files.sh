#!/usr/bin/env bash
# Checks what no compiler checks: compose and TOML files parse, no file has grown past 500 lines, nothing large is in git,
# and stage crates do not import each other.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

bad=0
complain() { printf 'error: %s\n' "$*" >&2; bad=1; }

while read -r file; do
    lines=$(wc -l <"$file")
    [ "$lines" -le 500 ] || complain "$file has $lines lines: split it at 500"
done < <(git ls-files -- '*.rs' '*.py' '*.sh' '*.cpp' '*.h')

while read -r file; do
    [ "$(stat -c %s "$file")" -le 4194304 ] || complain "$file is larger than 4 MiB"
done < <(git ls-files)

# A stage knows the records (and `inference` where it needs the networks), never another stage.
stages='ingest|fetch|embed|store|index|clusters|report|serve|simulate'
for crate in records ingest fetch inference embed store index clusters report serve simulate; do
    if sed -n '/^\[dependencies\]/,/^\[dev/p' "crates/$crate/Cargo.toml" | grep -E "^($stages)(\.|[[:space:]]*=)" >&2; then
        complain "crates/$crate imports another stage: only the binary knows their order"
    fi
done

python3 - <<'PY' || bad=1
import pathlib, subprocess, sys
files = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.split()
bad = False
try:
    import tomllib
except ImportError:  # Python older than 3.11: cargo has read the ones that matter most already.
    sys.exit(0)
for name in files:
    if name.endswith(".toml"):
        try:
            tomllib.loads(pathlib.Path(name).read_text())
        except ValueError as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            bad = True
sys.exit(bad)
PY
exit "$bad"
