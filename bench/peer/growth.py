#!/usr/bin/env python3
"""What a face costs at 200,000 and at the end, from the log of a backfill. Usage: growth.py LOG"""
import datetime
import re
import sys

points = []
for line in open(sys.argv[1]):
    found = re.match(r"(\S+Z).*? (\d+) of (\d+) rows .*?, (\d+) faces", line)
    if found:
        at = datetime.datetime.fromisoformat(found[1]).timestamp()
        points.append((at, int(found[4])))


def cost(around, width):
    """Seconds a face between the log lines that enclose the window."""
    inside = [p for p in points if around - width <= p[1] <= around + width]
    if len(inside) < 2:
        return None
    (start, first), (end, last) = inside[0], inside[-1]
    return (end - start) / max(1, last - first)


last = points[-1][1]
early, late = cost(200_000, 130_000), cost(last - 150_000, 150_000)
print(f"faces: {last}")
for name, value in (("at 200,000", early), (f"at {last}", late)):
    print(f"{name:>14}: " + (f"{value * 1e6:.1f} µs a face" if value else "too few log lines"))
if early and late:
    print(f"         ratio: {late / early:.2f}")
