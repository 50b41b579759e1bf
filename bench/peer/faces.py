#!/usr/bin/env python3
"""The peer for embedded faces: what a data scientist would write in an afternoon with pyarrow, faiss and networkx.

Reads a `faces` Parquet file, builds the index, asks it for the neighbours of every face, links accounts whose faces are
alike, takes connected components and writes them as Parquet. No profiles, no resuming, no exact second look, no state.

It is written to be quick and sparing: rows are read into one array, searched in large batches, and everything uses all
cores. Prints one JSON object: rows, seconds by step, peak memory.
"""
import argparse
import json
import os
import resource
import time

import faiss
import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def read(path):
    """Accounts and embeddings of all rows that have a face."""
    file = pq.ParquetFile(path)
    total = file.metadata.num_rows
    accounts, vectors, filled = [], None, 0
    for batch in file.iter_batches(batch_size=16384, columns=["account_id", "photo_id", "observed_at", "embedding"]):
        column = batch.column("embedding")
        if column.null_count:
            batch = batch.filter(column.is_valid())
            column = batch.column("embedding")
        dimension = column.type.list_size
        if vectors is None:
            vectors = np.empty((total, dimension), np.float32)
        vectors[filled : filled + len(batch)] = column.flatten().to_numpy().reshape(-1, dimension)
        accounts.extend(batch.column("account_id").to_pylist())
        filled += len(batch)
    return accounts, vectors[:filled]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("faces")
    arguments.add_argument("out")
    arguments.add_argument("--factory", required=True)
    arguments.add_argument("--nprobe", type=int, required=True)
    arguments.add_argument("--train", type=int, required=True, help="vectors to train on")
    arguments.add_argument("--threshold", type=float, default=0.5)
    arguments.add_argument("--k", type=int, default=32)
    options = arguments.parse_args()
    seconds, start = {}, time.time()

    def step(name):
        nonlocal start
        seconds[name] = round(time.time() - start, 2)
        start = time.time()

    accounts, vectors = read(options.faces)
    faiss.normalize_L2(vectors)
    step("read")

    index = faiss.index_factory(vectors.shape[1], options.factory, faiss.METRIC_INNER_PRODUCT)
    if not index.is_trained:
        sample = np.random.default_rng(1).choice(len(vectors), min(options.train, len(vectors)), replace=False)
        index.train(vectors[np.sort(sample)])
    step("train")
    index.add(vectors)
    step("add")

    if hasattr(index, "nprobe"):
        index.nprobe = options.nprobe
    edges = set()
    for first in range(0, len(vectors), 32768):
        scores, rows = index.search(vectors[first : first + 32768], options.k)
        query, rank = np.nonzero((scores >= options.threshold) & (rows >= 0))
        for one, other in zip((first + query).tolist(), rows[query, rank].tolist()):
            a, b = accounts[one], accounts[other]
            if a != b:
                edges.add((a, b) if a < b else (b, a))
    step("search")

    graph = nx.Graph()
    graph.add_edges_from(edges)
    clusters = [sorted(members) for members in nx.connected_components(graph)]
    step("components")

    names = [name for name, members in enumerate(clusters) for _ in members]
    table = pa.table({"cluster_id": names, "account_id": [account for members in clusters for account in members]})
    pq.write_table(table, options.out, compression="zstd")
    step("write")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"rows": len(vectors), "edges": len(edges), "clusters": len(clusters), "seconds": seconds,
                      "total_s": round(sum(seconds.values()), 2), "peak_mib": peak // 1024, "threads": os.cpu_count()}))


if __name__ == "__main__":
    main()
