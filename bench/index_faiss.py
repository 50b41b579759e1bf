"""faiss-cpu on the same vectors, queries and threads as `facering index bench`; prints one JSON object.

usage: index_faiss.py BASE.parquet QUERIES.parquet FACTORY THREADS
"""

import json
import os
import sys
import time

import numpy as np
import pyarrow.parquet as pq


def load(path):
    column = pq.read_table(path, columns=["embedding"]).column(0)
    d = column.type.list_size
    x = np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks]).reshape(-1, d)
    return np.ascontiguousarray(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)


def main():
    base_file, query_file, factory, threads = sys.argv[1:5]
    import faiss

    faiss.omp_set_num_threads(int(threads) or os.cpu_count())
    base, queries = load(base_file), load(query_file)
    exact = faiss.IndexFlatIP(base.shape[1])
    exact.add(base)
    truth = exact.search(queries, 1)[1][:, 0]
    del exact

    index = faiss.index_factory(base.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    started = time.time()
    index.train(base)
    train_s = time.time() - started
    started = time.time()
    for first in range(0, len(base), 16_384):
        index.add(base[first : first + 16_384])
    add_s = time.time() - started
    qps, recall = {}, {}
    for nprobe in (1, 4, 16, 64, 256):
        index.nprobe = nprobe
        best, spent = 1e9, 0.0
        for _ in range(5):
            started = time.time()
            found = index.search(queries, 10)[1]
            seconds = time.time() - started
            best, spent = min(best, seconds), spent + seconds
            if spent >= 0.5:
                break
        qps[nprobe] = len(queries) / best
        recall[nprobe] = float((found[:, 0] == truth).mean())
    print(json.dumps({
        "faiss": faiss.__version__,
        "compiled_for": faiss.get_compile_options().strip(),
        "train_s": train_s,
        "add_per_s": len(base) / add_s,
        "search_qps": qps,
        "raw_recall_at_1": recall,
    }))


main()
