# SPDX-License-Identifier: MIT
"""vgpu-admin as its users meet it: commands, forms of output, exit statuses, completion, manual."""
import csv
import io
import json
import os
import re
import socket
import subprocess
import tempfile
import time
import unittest

ADMIN = os.environ["VGPU_ADMIN"]
UUID = "6f1d2c3e-8f4a-5b6c-9d7e-0a1b2c3d4e5f"


class Mediator:
    def __init__(self, settings=""):
        self.folder = tempfile.TemporaryDirectory(prefix="vgpu-admin-")
        folder = self.folder.name
        self.socket = f"{folder}/admin.sock"
        self.config = f"{folder}/vgpu.ini"
        with open(self.config, "w") as file:
            file.write(f"[mediator]\ndriver=soft\nsoft-library=/nowhere/libvgpu-soft.so\n"
                       f"worker={os.environ['FAKE_WORKER']}\nspare-workers=0\n"
                       f"device-socket={folder}/device.sock\n"
                       f"process-socket={folder}/process.sock\nadmin-socket={self.socket}\n"
                       f"image-cache=none\n{settings.format(folder=folder)}\n")
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(f"{folder}/notify")
        notify.settimeout(30)
        self.log = open(f"{folder}/log", "w")
        self.process = subprocess.Popen(
            [os.environ["VGPU_MEDIATOR"], "--config", self.config], stderr=self.log,
            env={**os.environ, "NOTIFY_SOCKET": f"{folder}/notify"})
        notify.recv(64)
        notify.close()

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.close()
        self.folder.cleanup()


class Case(unittest.TestCase):
    settings = "store={folder}/vgpu.db"

    def setUp(self):
        self.mediator = Mediator(self.settings)
        self.addCleanup(self.mediator.close)

    def run_admin(self, *words):
        return subprocess.run([ADMIN, f"--socket={self.mediator.socket}", *words],
                              capture_output=True, text=True, timeout=30)

    def done(self, *words):
        result = self.run_admin(*words)
        self.assertEqual(result.returncode, 0, (words, result.stderr))
        return result.stdout

    def json(self, *words):
        return json.loads(self.done(*words, "--output=json"))

    def fails(self, status, text, *words):
        result = self.run_admin(*words)
        self.assertEqual(result.returncode, status, (words, result.stderr))
        self.assertEqual(result.stdout, "")
        self.assertIn(text, result.stderr)


class Administration(Case):
    def test_life_of_a_vm(self):
        self.done("create-pool", "--pool=B", "--weight=70")
        self.done("register-vm", "--vm-name=web", f"--vm-uuid={UUID.upper()}", "--pool=A",
                  "--priority=high")
        self.done("set-pool", "--vm-name=web", "--pool=B")
        self.done("set-priority", f"--vm-uuid={UUID}", "--priority=low")
        self.done("set-weight", "--vm-name=web", "--weight=80")
        self.done("set-rate-limit", "--vm-name=web", "--rate=1000", "--queue-depth=16")
        self.done("set-memory", "--vm-name=web", "--memory=512M")
        self.done("set-share-cap", "--vm-name=web", "--share-cap=60")
        self.done("set-watchdog", "--vm-name=web", "--watchdog=5")
        vm = self.json("show-vm", f"--vm-uuid={UUID}")
        expected = {"vm": "web", "uuid": UUID, "state": "never seen", "registered": True,
                    "pool": "B", "priority": "low", "weight": 80, "share_cap_percent": 60,
                    "rate": 1000, "queue_depth": 16, "watchdog_seconds": 5,
                    "memory_quota_bytes": 512 << 20, "quarantine": ""}
        self.assertEqual({key: vm[key] for key in expected}, expected)
        self.assertEqual([pool["registered_vms"] for pool in self.json("list-pools")], [0, 1])
        self.fails(5, "has members", "delete-pool", "--pool=B")
        self.done("quarantine", "--vm-name=web", "--reason=it mines")
        self.assertEqual(self.json("show-vm", "--vm-name=web")["quarantine"], "it mines")
        self.done("clear-quarantine", "--vm-name=web")
        self.done("unregister-vm", "--vm-name=web")
        self.done("set-pool-weight", "--pool=B", "--weight=10")
        self.done("delete-pool", "--pool=B")
        self.assertEqual(self.json("list-vms"), [])
        audit = self.json("show-audit", "--last=3")
        self.assertEqual([action["verb"] for action in audit],
                         ["delete-pool", "set-pool-weight", "unregister-vm"])
        self.assertEqual(audit[0]["user"], os.getuid())

    def test_a_limit_that_is_not_enforced_is_named(self):
        self.done("register-vm", "--vm-name=web")
        self.assertIn("not yet enforced",
                      self.run_admin("set-watchdog", "--vm-name=web", "--watchdog=3").stderr)
        self.assertEqual(self.run_admin("set-memory", "--vm-name=web", "--memory=1M").stderr, "")

    def test_forms_of_output(self):
        self.done("register-vm", "--vm-name=web", "--memory=512M")
        self.done("register-vm", "--vm-name=db")
        self.done("quarantine", "--vm-name=db", '--reason=first, "second"')
        head, *lines = self.done("list-vms").splitlines()
        self.assertTrue(head.startswith("VM"), head)
        self.assertRegex(lines[1], r"^web +never seen +A +medium .* 512M ")
        rows = list(csv.DictReader(io.StringIO(self.done("list-vms", "--output=csv"))))
        self.assertEqual([row["vm"] for row in rows], ["db", "web"])
        self.assertEqual(rows[0]["quarantine"], 'first, "second"')
        self.assertEqual(rows[1]["memory_quota_bytes"], str(512 << 20))
        self.assertIn("WEIGHT", self.done("show-vm", "--vm-name=web"))
        for verb in ("show-metrics", "show-health", "show-queue", "show-connections", "events",
                     "list-pools"):
            for form in ("table", "json", "csv"):
                self.done(verb, f"--output={form}")
        self.assertEqual(self.done("show-metrics", "--output=csv"), "")

    def test_wrong_words_have_their_statuses(self):
        self.fails(2, "there is no command", "frobnicate")
        self.fails(2, "unexpected", "list-vms", "now")
        self.fails(2, "unrecognized option", "list-vms", "--loud")
        self.fails(2, "--output=xml is not table|json|csv", "list-vms", "--output=xml")
        self.fails(2, "weight=0 is not a number from 1 to 100", "register-vm", "--vm-name=web",
                   "--weight=0")
        self.fails(2, "rate=-1 is not", "register-vm", "--vm-name=web", "--rate=-1")
        self.fails(4, "is not registered", "set-weight", "--vm-name=web", "--weight=1")
        self.fails(4, "create-pool --pool=Z", "register-vm", "--vm-name=web", "--pool=Z")
        self.fails(2, "which VM?", "show-vm")
        self.done("register-vm", "--vm-name=web")
        self.fails(5, "registered already", "register-vm", "--vm-name=web")
        self.mediator.process.terminate()
        self.mediator.process.wait(10)
        self.fails(3, "is vgpu-mediator running?", "list-vms")

    def test_events_are_followed(self):
        with subprocess.Popen([ADMIN, f"--socket={self.mediator.socket}", "events", "--follow",
                               "--output=json"], stdout=subprocess.PIPE, text=True) as follower:
            self.addCleanup(follower.kill)
            end = time.monotonic() + 10
            event = None
            while time.monotonic() < end and not event:  # until it follows
                self.run_admin("register-vm", "--vm-name=web")
                self.done("unregister-vm", "--vm-name=web")
                event = json.loads(follower.stdout.readline())
            self.assertEqual(event["kind"], "administration")
            self.mediator.process.terminate()
            self.assertEqual(follower.wait(10), 0)

    def test_top_looks_as_often_as_told(self):
        self.done("top", "--interval=0.1", "--count=2", "--output=json")
        self.fails(2, "--interval=0 is not", "top", "--interval=0")


class WithoutStore(Case):
    settings = ""

    def test_status_says_that_there_is_no_store(self):
        self.fails(6, "set store= in [mediator]", "register-vm", "--vm-name=web")
        self.assertEqual(self.json("list-vms"), [])


class Documents(unittest.TestCase):
    def words(self, *verb):
        return subprocess.run([ADMIN, "--complete", *verb], capture_output=True, text=True,
                              check=True).stdout.split()

    def test_manual_has_every_command_and_option(self):
        with open(os.environ["VGPU_ADMIN_PAGE"]) as file:
            page = file.read().replace("\\", "")
        for verb in self.words():
            self.assertIn(verb.rstrip("="), page)
            for option in self.words(verb) if not verb.startswith("--") else ():
                self.assertIn(option.rstrip("="), page, verb)

    def test_help_has_every_command(self):
        for verb in self.words():
            if not verb.startswith("--"):
                text = subprocess.run([ADMIN, verb, "--help"], capture_output=True, text=True,
                                      check=True).stdout
                self.assertTrue(text.startswith(f"Usage: vgpu-admin {verb} "), text)

    def complete(self, *line):
        script = (f"source {os.environ['VGPU_ADMIN_COMPLETION']}; compopt() {{ :; }}; "
                  f"COMP_WORDS=({' '.join(line)} '{''}'); COMP_CWORD={len(line)}; _vgpu_admin; "
                  "printf '%s\\n' \"${COMPREPLY[@]}\"")
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True,
                              check=True).stdout.split()

    def test_completion_knows_words_and_values(self):
        self.assertIn("register-vm", self.complete(ADMIN))
        self.assertEqual(self.complete(ADMIN, "set-weight"),
                         ["--vm-name=", "--vm-uuid=", "--weight=", "--socket=", "--output=",
                          "--help"])
        self.assertEqual(self.complete(ADMIN, "set-priority", "--priority", "="),
                         ["low", "medium", "high"])


if __name__ == "__main__":
    unittest.main()
