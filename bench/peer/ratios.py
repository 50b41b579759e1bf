#!/usr/bin/env python3
"""Compares two files of measured.py. Usage: ratios.py rows|pictures FACERING PEER"""
import json
import sys

what, ours, peer = sys.argv[1], json.load(open(sys.argv[2])), json.load(open(sys.argv[3]))
done = peer["result"][what]
print(f"{what}: {done}")
for name, run in (("facering", ours), ("peer", peer)):
    print(f"{name:>9}: {done / run['wall_s']:9.0f} {what}/s, {run['wall_s']:7.1f} s, {run['cpu_s']:7.1f} CPU s, "
          f"peak {run['peak_mib']} MiB")
print(f"    ratio: {peer['wall_s'] / ours['wall_s']:.2f} times the {what} a second, "
      f"{ours['peak_mib'] / peer['peak_mib']:.2f} of the peak memory")
print("  seconds:", json.dumps({"facering": ours["result"]["summary"]["seconds"],
                                "peer": peer["result"].get("seconds", peer["result"].get("total_s"))}))
