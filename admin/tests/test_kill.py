# SPDX-License-Identifier: MIT
"""A mediator that is killed at any moment has, when it is started again, all that it acknowledged to an
administrator: the setting and the audit's entry for it, both or neither of the one under way."""
import json
import os
import random
import signal
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


if __name__ == "__main__":
    unittest.main()
