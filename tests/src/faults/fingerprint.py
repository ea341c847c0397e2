"""Prints, as JSON, the state of what the arguments name: {"what": "state", ...}. Reads only."""
import hashlib
import json
import os
import stat
import subprocess
import sys

seen = {}
try:
    before = json.load(sys.stdin)
except ValueError:
    before = {}


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


def written():
    """The files that some process holds open for writing."""
    names = set()
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            for number in os.listdir("/proc/%s/fd" % process):
                with open("/proc/%s/fdinfo/%s" % (process, number)) as info:
                    flags = int(info.read().split("flags:", 1)[1].split()[0], 8)
                if flags & os.O_ACCMODE:
                    names.add(os.readlink("/proc/%s/fd/%s" % (process, number)))
        except OSError:
            continue
    return names


def touched(path, open_files):
    """As path_state, but a file to which its owner has only added since counts as what it was before."""
    key = "touched " + path
    seen[key] = path_state(path, True)
    was = before.get(key)
    if not was or was == seen[key] or path not in open_files or key + " size" not in before:
        return
    size, content = before[key + " size"], hashlib.sha256()
    with open(path, "rb") as file:
        content.update(file.read(int(size)))
    if os.stat(path).st_size > int(size) and content.hexdigest() in was.split():
        seen[key] = was


def touched_tree(top, open_files):
    paths = [top]
    for folder, folders, files in os.walk(top):
        paths.extend(os.path.join(folder, name) for name in folders + files)
    for path in paths:
        touched(path, open_files)
        if os.path.isfile(path) and not os.path.islink(path):
            key = "touched " + path + " size"
            kept = before.get("touched " + path) == seen["touched " + path]
            seen[key] = before[key] if kept and key in before else str(os.stat(path).st_size)


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
    elif kind == "touched":
        touched_tree(what, written())
    elif kind == "pid":
        # That a process is gone is for its unit to tell: it may rightly be another one by now.
        key = "nice of " + what
        try:
            with open("/proc/%s/stat" % what) as stat_file:
                seen[key] = stat_file.read().rsplit(")", 1)[1].split()[16]
        except (FileNotFoundError, ProcessLookupError):
            seen[key] = before.get(key, "gone")
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
