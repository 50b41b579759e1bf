"""Prints the figures of bench/index_full.sh as tables. usage: index_full_table.py FOLDER"""

import json
import sys


def main():
    folder = sys.argv[1]
    read = lambda name: json.load(open(f"{folder}/{name}.json"))
    text = lambda name: open(f"{folder}/{name}.txt").read().strip()
    train, bench = read("train"), read("bench")
    infos = [read(f"info-{part}") for part in range(1, 5)]
    searches = [read("search-1"), read("search-4")]
    model = train["model"]
    print(f"{train['factory']}: {text('train_s')} on {model['trained_on']} vectors")
    print(f"warning: {model['warning']}")
    print(f"calibration: {model['calibration']}; nprobe {train['nprobe']}")
    rates = [read(f"fill-{part}")["added_per_s"] for part in range(1, 5)]
    print("added a second, by block: " + " ".join(f"{rate:.0f}" for rate in rates))
    print(f"\n{'vectors':>9}{'bytes/vector':>14}{'imbalance':>11}{'counted MB':>12}{'info anon MB':>14}")
    for info in infos:
        disk = (info["bytes_of_segments"] + info["bytes_of_ordinals"]) / info["vectors"]
        print(f"{info['vectors']:9}{disk:14.2f}{info['imbalance']:11.2f}{info['bytes_in_memory'] / 2**20:12.2f}"
              f"{info['anonymous_mb']:14.1f}")
    first, last = infos[0], infos[-1]
    more = last["vectors"] - first["vectors"]
    slope = lambda a, b: (b - a) / more
    print(f"slope, bytes a vector: counted {slope(first['bytes_in_memory'], last['bytes_in_memory']):.3f}, "
          f"info {slope(first['anonymous_mb'], last['anonymous_mb']) * 2**20:.3f}, "
          f"search {slope(searches[0]['anonymous_mb'], searches[-1]['anonymous_mb']) * 2**20:.3f}")
    print(f"searching, anon MB: {searches[0]['anonymous_mb']:.1f} and {searches[-1]['anonymous_mb']:.1f}")
    print(f"shipped nprobe {bench['nprobe']}: recall@1 of copies {bench['recall_at_nprobe']:.3f}")
    nprobes = sorted(map(int, bench["recall_at_1"]))
    print(f"\n{'nprobe':>8}{'queries/s':>11}{'raw .9':>8}" + "".join(f"{'cos ' + c:>9}" for c in bench["curve"]))
    for nprobe in map(str, nprobes):
        cells = "".join(f"{curve[nprobe]:9.3f}" for curve in bench["curve"].values())
        print(f"{nprobe:>8}{bench['search_qps'][nprobe]:11.0f}{bench['raw_recall_at_1'][nprobe]:8.3f}{cells}")
    print(f"\nassignment: {json.dumps(bench['assignment'])}")
    print(text("limited"), "of", text("merged_bytes"), "bytes")


main()
