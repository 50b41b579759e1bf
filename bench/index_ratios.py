"""Prints the rounds of bench/index.sh as one table. Each figure is the best of the rounds; the ratio is the median of the
rounds' own ratios, in which both sides met the same machine.

usage: index_ratios.py FOLDER ROUNDS
"""

import json
import statistics
import sys


def main():
    folder, rounds = sys.argv[1], int(sys.argv[2])
    read = lambda who: [json.load(open(f"{folder}/{who}-{at + 1}.json")) for at in range(rounds)]
    peer, ours = read("faiss"), read("facering")
    print(f"faiss-cpu {peer[0]['faiss']} ({peer[0]['compiled_for']}); facering with {ours[0]['blas']}")
    print(f"{'':24}{'faiss-cpu':>12}{'facering':>12}{'times as fast':>16}  rounds")

    def row(name, of, better):
        a, b = [of(x) for x in peer], [of(x) for x in ours]
        ratios = [(y / x if better is max else x / y) for x, y in zip(a, b)]
        each = " ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{name:24}{better(a):12.1f}{better(b):12.1f}{statistics.median(ratios):16.2f}  {each}")

    row("train, seconds", lambda x: x["train_s"], min)
    row("add, vectors a second", lambda x: x["add_per_s"], max)
    for nprobe in peer[0]["search_qps"]:
        if nprobe in ours[0]["search_qps"]:
            row(f"search nprobe {nprobe}, 1/s", lambda x: x["search_qps"][nprobe], max)
    print(f"{'recall@1, nprobe':24}{'faiss-cpu':>12}{'facering':>12}{'re-ranked':>16}")
    for nprobe in peer[0]["raw_recall_at_1"]:
        if nprobe in ours[0]["raw_recall_at_1"]:
            raw = [x[-1]["raw_recall_at_1"][nprobe] for x in (peer, ours)]
            print(f"{nprobe:>24}{raw[0]:12.3f}{raw[1]:12.3f}{ours[-1]['recall_at_1'][nprobe]:16.3f}")


main()
