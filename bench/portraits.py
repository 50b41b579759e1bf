"""Pictures of a folder as a Parquet file of profiles with the pictures inside, one account a picture, for
`facering run pipelines/backfill.toml`. usage: portraits.py FOLDER OUT.parquet
"""

import datetime
import pathlib
import sys

import pyarrow as pa
import pyarrow.parquet as pq

files = sorted(p for p in pathlib.Path(sys.argv[1]).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
photo = pa.struct([("photo_id", pa.string()), ("url", pa.string()), ("image", pa.binary())])
when = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
rows = [[{"photo_id": "1", "url": file.name, "image": file.read_bytes()}] for file in files]
pq.write_table(pa.table({
    "account_id": pa.array([f"{file.parent.name}-{file.stem}" for file in files]),
    "observed_at": pa.array([when] * len(files), pa.timestamp("us", "UTC")),
    "photos": pa.array(rows, pa.list_(photo)),
}), sys.argv[2])
