"""Asks for a page again and again and says, as JSON, what that cost whoever serves it.

    scrape.py PID PORT COUNT PAUSE_S

Processor time is that of all threads of PID, in nanoseconds, as the scheduler counts it.
"""

import glob
import json
import sys
import time
import urllib.request

pid, port, count, pause_s = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])


def cpu_ns():
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path) as file:
            total += int(file.read().split()[0])
    return total


def page():
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return answer.read().decode()


def pss_kb():
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))


text = page()
before = cpu_ns()
for _ in range(count):
    page()
    time.sleep(pause_s)
used = cpu_ns() - before
series = sum(1 for line in text.splitlines() if line and not line.startswith("#"))
json.dump({"cpu_ns": used, "series": series, "pss_kb": pss_kb()}, sys.stdout)
