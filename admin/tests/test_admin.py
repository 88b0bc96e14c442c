# SPDX-License-Identifier: MIT
"""vgpu-admin as its users meet it: commands, forms of output, exit statuses."""
import csv
import io
import json
import os
import subprocess
import unittest

from fixture import ADMIN, UUID, Case


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
        for verb in ("list-vms", "show-health", "events", "list-pools", "show-audit"):
            rows = self.json(verb)
            rows = rows if isinstance(rows, list) else [rows]
            table = list(csv.DictReader(io.StringIO(self.done(verb, "--output=csv"))))
            self.assertEqual([list(row) for row in table], [list(row) for row in rows])
            self.assertGreater(len(self.done(verb).splitlines()), len(rows))
        for verb in ("show-queue", "show-connections", "show-usage", "show-faults"):
            self.assertEqual((self.json(verb), self.done(verb, "--output=csv")), ([], ""))
        self.assertEqual(self.done("show-metrics", "--output=csv"), "")

    def test_names_of_options_may_be_shortened_and_come_before_the_command(self):
        self.assertEqual(json.loads(self.done("--out=json", "list-vms")), [])

    def test_an_answer_that_cannot_be_written_is_no_success(self):
        with open("/dev/full", "w") as full:
            result = subprocess.run([ADMIN, f"--socket={self.mediator.socket}", "list-pools"],
                                    stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("cannot write the answer", result.stderr)

    def test_top_looks_as_often_as_told(self):
        self.done("top", "--interval=0.1", "--count=2", "--output=json")


class Configured(Case):
    settings = ("store={folder}/vgpu.db\n[vm web]\nweight=80\nshare-cap=60\nrate=1000\n"
                "queue-depth=16\npriority=high\nmemory-quota=512M")
    expected = {"weight": 80, "share_cap_percent": 60, "rate": 1000, "queue_depth": 16,
                "priority": "high", "memory_quota_bytes": 512 << 20}

    def test_registration_begins_with_what_the_configuration_says(self):
        self.done("register-vm", "--vm-name=web")
        vm = self.json("show-vm", "--vm-name=web")
        self.assertEqual({key: vm[key] for key in self.expected}, self.expected)
        self.done("unregister-vm", "--vm-name=web")
        self.done("register-vm", "--vm-name=web", "--weight=3", "--memory=1G")
        vm = self.json("show-vm", "--vm-name=web")
        self.assertEqual({key: vm[key] for key in self.expected},
                         {**self.expected, "weight": 3, "memory_quota_bytes": 1 << 30})


class WithoutStore(Case):
    settings = ""

    def test_status_says_that_there_is_no_store(self):
        self.fails(6, "set store= in [mediator]", "register-vm", "--vm-name=web")
        self.assertEqual(self.json("list-vms"), [])


if __name__ == "__main__":
    unittest.main()
