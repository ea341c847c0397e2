"""Prints, as JSON, the state of what the arguments name: {"what": "state", ...}. Reads only."""
import hashlib
import json
import os
import stat
import subprocess
import sys

seen = {}


def ask(*argv):
    done = subprocess.run(argv, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "error " + done.stderr.strip()


def path_state(path, with_time):
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return "absent"
    parts = ["%o %d:%d" % (info.st_mode, info.st_uid, info.st_gid)]
    if stat.S_ISREG(info.st_mode):
        with open(path, "rb") as file:
            parts.append(hashlib.sha256(file.read()).hexdigest())
    if stat.S_ISLNK(info.st_mode):
        parts.append("-> " + os.readlink(path))
    # A folder's time changes with every temporary name inside it, also when all is put back.
    if with_time and not stat.S_ISDIR(info.st_mode):
        parts.append(str(info.st_mtime_ns))
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        parts.append(name + "=" + os.getxattr(path, name, follow_symlinks=False).hex())
    return " ".join(parts)


def tree(top):
    seen[top] = path_state(top, True)
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            path = os.path.join(folder, name)
            seen[path] = path_state(path, True)


for argument in sys.argv[1:]:
    kind, _, what = argument.partition(":")
    if kind == "file":
        seen[what] = path_state(what, True)
    elif kind == "tree":
        tree(what)
    elif kind == "unit":
        for name in ("ActiveState", "UnitFileState"):
            seen[what + " " + name] = ask("systemctl", "show", "-p", name, "--value", what)
    elif kind == "process":
        seen[what + " MainPID"] = ask("systemctl", "show", "-p", "MainPID", "--value", what)
    elif kind == "mount":
        seen["mount " + what] = ask("findmnt", "-no", "FSTYPE,OPTIONS", what)
    elif kind == "link":
        with open("/sys/class/net/%s/mtu" % os.path.basename(what)) as mtu:
            seen["link " + what] = mtu.read().strip()
    elif kind == "sysctl":
        seen["sysctl " + what] = ask("sysctl", "-n", what)
    elif kind == "nft":
        seen["nft ruleset"] = ask("nft", "-s", "list", "ruleset")
print(json.dumps(seen))
