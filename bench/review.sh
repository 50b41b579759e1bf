#!/usr/bin/env bash
# How long the review pages take with CLUSTERS clusters (default 100,000): a demo's snapshot, copied under other names, is
# served, and the pages an analyst opens are asked for. Needs pyarrow (scripts/setup-tests.sh) and curl.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
CLUSTERS=${CLUSTERS:-100000}
FOLDER=${FOLDER:-$(mktemp -d)}
LISTEN=127.0.0.1:${PORT:-18322}
PYTHONPATH=$CACHE/python-$(sha256sum tests/requirements.txt | cut -c1-12)
export PYTHONPATH

cargo build --release --locked --workspace --bin facering
[ -d "$FOLDER/demo" ] || ${CARGO_TARGET_DIR:-target}/release/facering demo --accounts 400 --seed 7 --out "$FOLDER/demo" >/dev/null
python3 - "$FOLDER" "$CLUSTERS" <<'PY'
import json, pathlib, shutil, sys
import pyarrow as pa, pyarrow.compute as pc, pyarrow.parquet as pq
folder, wanted = pathlib.Path(sys.argv[1]), int(sys.argv[2])
source = folder / "demo" / "clusters"
source = source / (source / "LATEST").read_text().strip()
target = folder / "many" / "clusters" / source.name
shutil.rmtree(target, ignore_errors=True)
target.mkdir(parents=True)
tables = {name: pq.read_table(source / f"{name}.parquet") for name in ("clusters", "members", "evidence", "accounts")}
copies = -(-wanted // tables["clusters"].num_rows)
for name, table in tables.items():
    parts = []
    for copy in range(copies):
        part = table
        for column in ("cluster_id", "account_id", "account_a", "account_b"):
            if column in table.column_names:
                at = table.column_names.index(column)
                named = pc.binary_join_element_wise(table.column(at), f"{copy:05d}", "-")
                part = part.set_column(at, table.schema.field(at), named)
        parts.append(part)
    whole = pa.concat_tables(parts).replace_schema_metadata(table.schema.metadata)
    pq.write_table(whole, target / f"{name}.parquet")
    print(f"{whole.num_rows} {name}", end=", ")
shutil.copy(source / "run.json", target)
(folder / "many" / "clusters" / "LATEST").write_text(source.name + "\n")
print()
PY
settings=(--set "state.path=$FOLDER/demo/state" --set "output.path=$FOLDER/many" --set output.every_s=86400)
${CARGO_TARGET_DIR:-target}/release/facering serve "${settings[@]}" --set serve.listen="$LISTEN" >"$FOLDER/log" 2>&1 &
server=$!
trap 'kill $server; wait $server || true' EXIT
until curl -s -o /dev/null "http://$LISTEN/v1/health"; do sleep 0.2; done
took() { printf '%8.0f ms  %s\n' "$(curl -s -o "$FOLDER/page" -w '%{time_total}' "http://$LISTEN$1" | awk '{print $1 * 1000}')" "$2"; }
took / "the first page, with the snapshot read for it"
id=$(grep -o 'data-id="[^"]*"' "$FOLDER/page" | head -1 | cut -d'"' -f2)
for again in 1 2 3; do took / "the queue"; done
took "/?sort=accounts&dir=asc&page=1500" "sorted another way, page 1500"
took "/?q=$id" "found by id"
took "/?q=$(grep -o 'data-id="[^"]*"' "$FOLDER/page" | head -1 | cut -d'"' -f2 | cut -c1-4)&kind=same_bytes&min_score=0.9" "filtered"
took "/clusters/$id" "one cluster"
took "/v1/clusters?limit=500" "500 clusters as JSON"
curl -s -o /dev/null -X POST -H 'content-type: application/json' -d "{\"deed\":\"confirm\",\"cluster_id\":\"$id\"}" "http://$LISTEN/v1/decisions"
took / "the queue after a decision"
took / "the queue"
took /report "the report, drawn for it"
grep VmHWM /proc/$server/status
