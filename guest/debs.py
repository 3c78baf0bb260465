"""Debian packages without installing them: fetched by an apt of our own and unpacked by dpkg-deb.

apt gets private directories, an empty package status and sources made here, so that neither
root nor the host's own package lists are needed, and a suite can be another one than the host's.
The mirror is whatever the host's apt uses for Debian.
"""

import os
import subprocess
from pathlib import Path

DEFAULT_MIRROR = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class DebError(Exception):
    """A package could not be had; the text says which and why."""


def _run(argv, what, **more):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, **more)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.strip().splitlines()[-15:])
        raise DebError(f"{what}: {argv[0]} exited with {done.returncode}\n{tail}")
    return done.stdout


def mirror():
    """The URI of the host's Debian mirror, without the suites for security updates."""
    try:
        rows = _run(["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI) $(CODENAME)"],
                    "asking apt for its mirror")
    except (DebError, OSError):
        return DEFAULT_MIRROR
    for row in rows.splitlines():
        fields = row.split()
        if len(fields) >= 2 and "security" not in row and fields[-2].rstrip("/").endswith("/debian"):
            return fields[-2].rstrip("/")
    return DEFAULT_MIRROR


class Apt:
    """An apt of our own below `work`, on the given suites."""

    def __init__(self, work, suites):
        self.work = Path(work)
        for name in ("lists/partial", "archives/partial", "etc", "log"):
            (self.work / name).mkdir(parents=True, exist_ok=True)
        (self.work / "status").touch()
        if not os.path.exists(KEYRING):
            raise DebError(f"{KEYRING} is missing: install debian-archive-keyring")
        uri = mirror()
        lines = [f"deb [signed-by={KEYRING}] {uri} {suite} main\n" for suite in suites]
        (self.work / "etc/sources.list").write_text("".join(lines), encoding="ascii")
        self.options = [part for name, value in {
            "Dir::State": self.work,
            "Dir::State::lists": self.work / "lists",
            "Dir::State::status": self.work / "status",
            "Dir::Cache": self.work,
            "Dir::Cache::archives": self.work / "archives",
            "Dir::Log": self.work / "log",
            "Dir::Etc::sourcelist": self.work / "etc/sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "APT::Architecture": "amd64",
            "APT::Architectures": "amd64",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false",
        }.items() for part in ("-o", f"{name}={value}")]
        self._apt("update", what=f"fetching the package lists of {' '.join(suites)} from {uri}")

    def _apt(self, *args, what, tool="apt-get"):
        env = dict(os.environ, LC_ALL="C", DEBIAN_FRONTEND="noninteractive")
        return _run([tool, *self.options, *args], what, env=env, cwd=self.work / "archives")

    def with_dependencies(self, packages, release=None):
        """Download packages and all they depend on; return the files."""
        extra = ["-t", release] if release else []
        self._apt("install", "-y", "-q", "--no-install-recommends", "--download-only", *extra,
                  *packages, what=f"fetching {' '.join(packages)}")
        return sorted((self.work / "archives").glob("*.deb"))

    def alone(self, package):
        """Download one package without its dependencies; return its file."""
        before = set((self.work / "archives").glob("*.deb"))
        self._apt("download", "-q", package, what=f"fetching {package}")
        files = set((self.work / "archives").glob("*.deb")) - before
        if len(files) != 1:
            raise DebError(f"fetching {package}: expected one new file, got {len(files)}")
        return files.pop()

    def depends(self, package):
        """The names a package depends on."""
        rows = self._apt("depends", package, tool="apt-cache", what=f"dependencies of {package}")
        return [row.split()[-1] for row in rows.splitlines() if row.strip().startswith("Depends:")]


def unpack(files, tree):
    """Unpack packages over each other below `tree`."""
    # Debian's own layout since 12: without these links two packages disagree about /lib.
    for name in ("bin", "sbin", "lib", "lib64"):
        (tree / "usr" / name).mkdir(parents=True, exist_ok=True)
        link = tree / name
        if not link.is_symlink():
            link.symlink_to(f"usr/{name}")
    for file in files:
        fields = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(file)], stdout=subprocess.PIPE)
        try:
            _run_tar(fields, tree, file)
        finally:
            fields.stdout.close()
            if fields.wait() != 0:
                raise DebError(f"{file.name}: dpkg-deb cannot unpack it")


def _run_tar(source, tree, file):
    done = subprocess.run(["tar", "-x", "-f", "-", "-C", str(tree), "--keep-directory-symlink",
                           "--no-same-owner", "--no-same-permissions", "--exclude=./dev/*"],
                          stdin=source.stdout, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise DebError(f"{file.name}: tar: {done.stderr.strip()}")


def versions(files):
    """`name version` of each package file, one a line: what a cache entry was made from."""
    return "".join(sorted(
        _run(["dpkg-deb", "--show", "--showformat", "${Package} ${Version}\\n", str(file)],
             f"reading {file.name}") for file in files))
