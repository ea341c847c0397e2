"""Says what some processes cost over a time, as JSON.

    rest.py SECONDS PID…

Processor time is that of all threads that there were, in nanoseconds, by the kernel's clock of a process. Memory is the
proportional share (PSS), in kilobytes, summed: at the beginning, at the end, and its trend in kilobytes per hour by
the line that fits the samples best.
"""

import json
import sys
import time

SAMPLE_S = 2.0
seconds, pids = float(sys.argv[1]), [int(pid) for pid in sys.argv[2:]]


def cpu_ns():
    # The clock of another process's processor time has a number that is made of its own.
    return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in pids)


def pss_kb():
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total


def slope(samples):
    n = len(samples)
    at, kb = sum(x for x, _ in samples) / n, sum(y for _, y in samples) / n
    spread = sum((x - at) ** 2 for x, _ in samples)
    return sum((x - at) * (y - kb) for x, y in samples) / spread if spread else 0.0


began, used = time.monotonic(), cpu_ns()
samples = [(0.0, pss_kb())]
while (passed := time.monotonic() - began) < seconds:
    time.sleep(min(SAMPLE_S, seconds - passed))
    if time.monotonic() - began - samples[-1][0] >= SAMPLE_S * 0.9:
        samples.append((time.monotonic() - began, pss_kb()))
used = cpu_ns() - used
passed = time.monotonic() - began
json.dump(
    {
        "cpu_percent": used / passed / 1e7,
        "pss_kb": samples[-1][1],
        "pss_kb_first": samples[0][1],
        "pss_kb_per_hour": slope(samples) * 3600,
    },
    sys.stdout,
)
