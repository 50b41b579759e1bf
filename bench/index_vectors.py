"""Embeddings with a stated spectrum as Parquet: a Gaussian whose variance along axis i of d is exp(-i / (0.2275 d)),
rotated at random so that no axis is special, normalised, rounded to half precision (what facering keeps of a vector, so
that every reader works on the same numbers).

usage: index_vectors.py OUT.parquet ROWS DIMENSION SEED [COPIES_OF.parquet COSINE]
With a file of originals, row r is a copy of its row r: at the given cosine, in a direction of the same spectrum.
"""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BLOCK = 16_384


def rotation(d):
    return np.linalg.qr(np.random.default_rng(7).standard_normal((d, d)))[0].astype(np.float32)


def normalised(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def main():
    out, rows, d, seed = sys.argv[1], *map(int, sys.argv[2:5])
    originals, cosine = (sys.argv[5], float(sys.argv[6])) if len(sys.argv) > 6 else (None, 0.0)
    turn = np.exp(-0.5 * np.arange(d) / (0.2275 * d)).astype(np.float32)[:, None] * rotation(d)
    rng = np.random.default_rng(seed)
    kind = pa.list_(pa.float32(), d)
    batches = pq.ParquetFile(originals).iter_batches(BLOCK, columns=["embedding"]) if originals else None
    with pq.ParquetWriter(out, pa.schema([("embedding", kind)]), compression="none", use_dictionary=False) as writer:
        for first in range(0, rows, BLOCK):
            count = min(BLOCK, rows - first)
            x = normalised(rng.standard_normal((count, d), dtype=np.float32) @ turn)
            if batches:
                base = next(batches).column(0).flatten().to_numpy().reshape(-1, d)[:count]
                across = normalised(x - (x * base).sum(1, keepdims=True) * base)
                x = cosine * base + np.sqrt(1 - cosine * cosine) * across
            x = x.astype(np.float16).astype(np.float32)
            writer.write_batch(pa.record_batch([pa.FixedSizeListArray.from_arrays(x.ravel(), d)], ["embedding"]))


main()
