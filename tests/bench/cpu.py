"""Runs commands in turns and says how many seconds of processor time each took, round by round.

    cpu.py ROUNDS COMMANDS    COMMANDS is JSON: a list of argument vectors

Each is run once before, so that what it reads lies in memory.
"""

import json
import resource
import subprocess
import sys


def run(argv):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{argv} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}")
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return seconds, done.stdout.decode(errors="replace")[-2000:]


rounds, commands = int(sys.argv[1]), json.loads(sys.argv[2])
said = [run(argv)[1] for argv in commands]
seconds = [[] for _ in commands]
for _ in range(rounds):
    for argv, own in zip(commands, seconds):
        own.append(run(argv)[0])
json.dump({"seconds": seconds, "said": said}, sys.stdout)
