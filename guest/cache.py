"""Where the guest tests keep what is dear to make: outside the repository, shared by every clone.

An entry is a directory that appears complete or not at all.  Tests that run at the same time
wait for the one that builds it.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from pathlib import Path


def directory():
    """The cache's directory, made when absent."""
    if named := os.environ.get("OUTBOARD_CACHE"):
        path = Path(named)
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        path = Path(base) / "outboard"
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


def key(*parts):
    """A short name for everything an entry is made from (strings, bytes, paths of files)."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            part = part.read_bytes()
        elif isinstance(part, str):
            part = part.encode()
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def locked(name):
    """Hold the lock of one entry; the file stays, an empty one costs nothing."""
    with open(directory() / f"{name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def entry(name, build):
    """Return the directory of entry `name`; build(directory) fills a new one first if there is none."""
    path = directory() / name
    if path.exists():
        return path
    with locked(name):
        if path.exists():
            return path
        fresh = directory() / f".{name}.new"     # under the lock it can only be a dead builder's
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        try:
            build(fresh)
            fresh.rename(path)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return path


def forget_old(prefix, keep, days=14):
    """Delete entries that no clone used for long, so that the cache does not grow for ever."""
    os.utime(directory() / keep)
    for path in directory().glob(f"{prefix}-*"):
        if path.is_dir() and time.time() - path.stat().st_mtime > days * 86400:
            shutil.rmtree(path, ignore_errors=True)
