#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The units as systemd's own tools see them. Exit status 77 where these are not installed."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from harness import built

UNITS = os.path.join(os.environ["VGPU_SOURCE"], "integrations", "systemd")
EXPOSURE_MOST = 2.5  # of 10; systemd calls less than 5 "OK"


class Units(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        for name in os.listdir(UNITS):
            if name.endswith((".socket", ".service")):
                shutil.copy(os.path.join(UNITS, name), self.folder.name)
        with open(os.path.join(UNITS, "vgpu-mediator.service.in"), encoding="utf-8") as file:
            self.text = file.read().replace("@BINDIR@", built("mediator"))
        self.service = os.path.join(self.folder.name, "vgpu-mediator.service")
        with open(self.service, "w", encoding="utf-8") as file:
            file.write(self.text)

    def tool(self, *words):
        environment = dict(os.environ, SYSTEMD_UNIT_PATH=f"{self.folder.name}:", SYSTEMD_COLORS="0")
        return subprocess.run(words, env=environment, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, timeout=60)

    def test_systemd_understands_every_line(self):
        names = [os.path.join(self.folder.name, name) for name in os.listdir(self.folder.name)]
        result = self.tool("systemd-analyze", "verify", "--man=no", "--generators=no", *names)
        ours = [line for line in result.stdout.splitlines() if "vgpu" in line
                and "nvidia-modprobe is not executable" not in line]  # it comes with a driver
        self.assertEqual(ours, [])

    def test_exposure(self):
        result = self.tool("systemd-analyze", "security", "--offline=true", "--no-pager",
                           self.service)
        found = re.search(r"Overall exposure level.*: ([0-9.]+)", result.stdout)
        self.assertIsNotNone(found, result.stdout)
        print(f"exposure {found[1]} of 10", file=sys.stderr)
        self.assertLessEqual(float(found[1]), EXPOSURE_MOST, result.stdout)

    def test_what_workers_need_is_allowed(self):
        filter_of = re.search(r"SystemCallFilter=(\S+)", self.text)[1]
        allowed = self.tool("systemd-analyze", "syscall-filter", filter_of).stdout
        self.assertRegex(allowed, r"(?m)^ *personality$")
        for forbidden in ("PrivateDevices=yes", "LockPersonality=yes", "PrivateUsers=yes",
                          "MemoryDenyWriteExecute=yes", "RestrictNamespaces=yes"):
            self.assertNotIn(f"\n{forbidden}", self.text)

    def test_users_groups_and_folders(self):
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.join(root, "etc"))
            result = self.tool("systemd-sysusers", f"--root={root}",
                               os.path.join(UNITS, "vgpu.sysusers"))
            self.assertEqual(result.returncode, 0, result.stdout)
            with open(os.path.join(root, "etc", "group"), encoding="utf-8") as file:
                groups = [line.split(":")[0] for line in file]
            self.assertIn("vgpu", groups)
            with open(os.path.join(root, "etc", "passwd"), encoding="utf-8") as file:
                users = [line.split(":")[0] for line in file]
            self.assertIn("vgpu-mediator", users)
            source = os.path.join(root, "usr", "share", "vgpu")
            os.makedirs(source)
            shutil.copy(os.path.join(UNITS, "mediator.conf"), source)
            lines = os.path.join(self.folder.name, "vgpu.conf")
            with open(os.path.join(UNITS, "vgpu.tmpfiles.in"), encoding="utf-8") as file:
                text = file.read().replace("@DATADIR@", "/usr/share")
            with open(lines, "w", encoding="utf-8") as file:
                file.write(text)
            result = self.tool("systemd-tmpfiles", "--create", f"--root={root}", lines)
            self.assertTrue(os.path.isdir(os.path.join(root, "run", "vgpu")), result.stdout)
            self.assertTrue(os.path.exists(os.path.join(root, "etc", "vgpu", "mediator.conf")),
                            result.stdout)

    def test_the_configuration_that_comes_with_them_is_good(self):
        result = self.tool(built("mediator", "vgpu-mediator"), "--check-config", "--config",
                           os.path.join(UNITS, "mediator.conf"))
        self.assertEqual(result.returncode, 0, result.stdout)


if __name__ == "__main__":
    for program in ("systemd-analyze", "systemd-sysusers", "systemd-tmpfiles"):
        if not shutil.which(program):
            print(f"{program} is not installed", file=sys.stderr)
            sys.exit(77)
    unittest.main()
