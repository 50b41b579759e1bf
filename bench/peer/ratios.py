#!/usr/bin/env python3
"""Compares files of measured.py, as many of facering as of the peer, measured in turns. The ratio is the median of the turns.

Usage: ratios.py rows|pictures FACERING… PEER…"""
import json
import statistics
import sys

what, files = sys.argv[1], [json.load(open(path)) for path in sys.argv[2:]]
turns = list(zip(files[: len(files) // 2], files[len(files) // 2 :]))
print(f"{what}: {turns[0][1]['result'][what]}")
for ours, peer in turns:
    done = peer["result"][what]
    for name, run in (("facering", ours), ("peer", peer)):
        print(f"{name:>9}: {done / run['wall_s']:9.0f} {what}/s, {run['wall_s']:7.1f} s, {run['cpu_s']:7.1f} CPU s, "
              f"peak {run['peak_mib']} MiB")
    print("  seconds:", json.dumps({"facering": ours["result"]["summary"]["seconds"],
                                    "peer": peer["result"].get("seconds", peer["result"].get("total_s"))}))
speed = [peer["wall_s"] / ours["wall_s"] for ours, peer in turns]
memory = [ours["peak_mib"] / peer["peak_mib"] for ours, peer in turns]
spread = f" ({min(speed):.2f} to {max(speed):.2f} in {len(speed)} turns)" if len(speed) > 1 else ""
print(f"    ratio: {statistics.median(speed):.2f} times the {what} a second{spread}, "
      f"{statistics.median(memory):.2f} of the peak memory")
