#!/usr/bin/env python3
"""Runs a command whose last line on standard output is a JSON object; writes that, its wall time, processor time and peak
memory into a file. Usage: measured.py OUT COMMAND…"""
import json
import resource
import subprocess
import sys
import time

start = time.time()
done = subprocess.run(sys.argv[2:], stdout=subprocess.PIPE, text=True)
wall = time.time() - start
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
if done.returncode != 0:
    sys.exit(f"{sys.argv[2]} failed ({done.returncode})")
facts = {
    "wall_s": round(wall, 2),
    "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
    "peak_mib": usage.ru_maxrss // 1024,
    "result": json.loads(done.stdout.strip().splitlines()[-1]),
}
with open(sys.argv[1], "w") as file:
    json.dump(facts, file)
print(json.dumps(facts), file=sys.stderr)
