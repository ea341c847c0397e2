"""Does one thing to this host and says, in nanoseconds of the wall clock, when, and when it had been answered.

    measure.py kill PIDFILE AFTER_S    SIGKILL to the process in the file; answered: it names another one that lives
    measure.py line LOG TEXT MARK AFTER_S    appends a dated line; answered: the file MARK is there
    measure.py spooled LOG TEXT DB AFTER_S   the same; answered: the spool holds a signal with the line's last word
    measure.py found LOG TEXT FILE AFTER_S   the same; answered: the last word is in what was added to FILE

Waits AFTER_S first, so that rounds begin at any phase of whoever polls. Looks at least once a millisecond.
"""

import json
import os
import signal
import sqlite3
import sys
import time

LOOK_S = 0.0004
LIMIT_S = 30


def pid_in(path):
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def lives(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait(answered):
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        if answered():
            return time.time_ns()
        time.sleep(LOOK_S)
    return None


def kill(pidfile, after_s):
    old = pid_in(pidfile)
    if not lives(old):
        sys.exit(f"{pidfile} names no living process")
    time.sleep(float(after_s))

    def answered():
        new = pid_in(pidfile)
        return new not in (0, old) and lives(new)

    began = time.time_ns()
    os.kill(old, signal.SIGKILL)
    return began, wait(answered)


def line(log, text, mark, after_s):
    return append(log, text, after_s, lambda: os.path.exists(mark))


def spooled(log, text, db, after_s):
    spool = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    last = spool.execute("SELECT coalesce(max(seq), 0) FROM item").fetchone()[0]
    query = "SELECT count(*) FROM item WHERE seq > ? AND instr(body, ?)"
    word = text.split()[-1]
    return append(log, text, after_s, lambda: spool.execute(query, (last, word)).fetchone()[0] > 0)


def found(log, text, path, after_s):
    file = open(path)
    file.seek(0, os.SEEK_END)
    word = text.split()[-1]
    return append(log, text, after_s, lambda: word in file.read())


def append(log, text, after_s, answered):
    time.sleep(float(after_s))
    entry = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n".encode()
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    began = time.time_ns()
    os.write(descriptor, entry)
    return began, wait(answered)


began, done = {"kill": kill, "line": line, "spooled": spooled, "found": found}[sys.argv[1]](*sys.argv[2:])
json.dump({"began_ns": began, "done_ns": done}, sys.stdout)
