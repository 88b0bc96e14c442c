# SPDX-License-Identifier: MIT
"""A mediator that is killed at any moment has, when it is started again, all that it acknowledged to an
administrator: the setting and the audit's entry for it, both or neither of the one under way."""
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
import unittest

from fixture import Case

ROUNDS = 20


class Kill(Case):
    def change(self, acknowledged):
        """Sets one rate after the other, until nobody answers any more."""
        try:
            with self.mediator.connect() as client:
                while True:
                    rate = acknowledged[-1] + 1
                    client.sendall(json.dumps({"verb": "set-rate-limit", "vm-name": "web",
                                               "rate": rate}).encode() + b"\n")
                    text = b""
                    while not text.endswith(b"\n"):
                        piece = client.recv(65536)
                        if not piece:
                            return
                        text += piece
                    if json.loads(text)["ok"]:
                        acknowledged.append(rate)
        except OSError:
            pass

    def test_what_was_acknowledged_is_there_after_a_kill(self):
        seed = int.from_bytes(os.urandom(4), "little")
        chance = random.Random(seed)
        self.done("register-vm", "--vm-name=web")
        rate = 0
        for _ in range(ROUNDS):
            with self.subTest(seed=seed):
                acknowledged = [rate]
                changes = threading.Thread(target=self.change, args=(acknowledged,))
                changes.start()
                time.sleep(chance.random() / 20)
                self.mediator.process.send_signal(signal.SIGKILL)
                self.mediator.process.wait()
                changes.join()
                self.mediator.start()
                rate = self.json("show-vm", "--vm-name=web")["rate"]
                self.assertIn(rate, (acknowledged[-1], acknowledged[-1] + 1))
                action = self.json("show-audit", "--last=1")[0]
                if rate:
                    self.assertEqual(json.loads(action["arguments"])["rate"], str(rate))
        self.assertGreater(rate, ROUNDS / 2)

    def check_store(self):
        return subprocess.run([os.environ["VGPU_MEDIATOR"], "--check-store", "--config",
                               self.mediator.config], capture_output=True, text=True, check=False)

    @unittest.skipUnless(shutil.which("sqlite3"), "sqlite3 is not installed")
    def test_a_damaged_store_is_saved_as_its_check_says(self):
        self.done("create-pool", "--pool=B", "--weight=70")
        self.done("register-vm", "--vm-name=web", "--pool=B", "--weight=80")
        self.mediator.process.terminate()
        self.mediator.process.wait()
        with contextlib.closing(sqlite3.connect(self.mediator.store)) as store:
            page, = store.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'pools'").fetchone()
        with open(self.mediator.store, "r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(b"x" * 4096)
        checked = self.check_store()
        self.assertEqual(checked.returncode, 1, checked)
        commands = "\n".join(line for line in checked.stdout.splitlines() if line.startswith("  "))
        saved = subprocess.run(["sh", "-ec", commands], capture_output=True, text=True, check=False)
        self.assertEqual(saved.returncode, 0, (commands, saved.stderr))
        checked = self.check_store()
        self.assertEqual(checked.returncode, 0, checked)
        self.mediator.start()
        vm = self.json("show-vm", "--vm-name=web")
        self.assertEqual((vm["pool"], vm["weight"]), ("B", 80))
        self.assertEqual([pool["pool"] for pool in self.json("list-pools")], ["A", "B"])
        self.done("set-pool-weight", "--pool=B", "--weight=70")  # which was in the page that is lost


if __name__ == "__main__":
    unittest.main()
