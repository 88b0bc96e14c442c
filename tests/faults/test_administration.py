#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What programs notice of an administrator: a quarantine, and a quota that shrinks."""
import os
import subprocess
import unittest

from harness import Mediator, PATIENCE, built, wait_until

DRIVER_API = built("demo", "driver_api")


class Administration(unittest.TestCase):
    def setUp(self):
        self.mediator = Mediator()
        with open(self.mediator.config, "a", encoding="utf-8") as file:
            file.write(f"store={self.mediator.folder}/vgpu.db\n")
        self.mediator.start()
        self.addCleanup(self.mediator.stop)
        self.vm = f"--vm-name=uid-{os.getuid()}"

    def admin(self, *words):
        subprocess.run([built("admin", "vgpu-admin"), f"--socket={self.mediator.admin_socket}",
                        *words], check=True, timeout=30 * PATIENCE, stdout=subprocess.DEVNULL)

    def program(self, *words):
        program = self.mediator.run(DRIVER_API, *words)
        self.addCleanup(program.stdout.close)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        return program

    def outcome(self, *words):
        program = self.program(*words)
        output, _ = program.communicate(timeout=60 * PATIENCE)
        return program.returncode, output

    def test_quarantine_ends_programs_and_keeps_others_out(self):
        running = self.program("loop", "60")
        running.stdout.readline()
        self.assertIn("PASS", running.stdout.readline())
        self.admin("quarantine", self.vm, "--reason=it mines")
        output, _ = running.communicate(timeout=10 * PATIENCE)
        self.assertEqual(running.returncode, 2, output)
        self.assertIn("CUDA_ERROR_DEVICE_UNAVAILABLE", output)
        wait_until(lambda: not self.mediator.workers() and self.mediator.idle(), 5, "all is gone")
        status, output = self.outcome()
        self.assertEqual(status, 2, output)
        self.assertIn("CUDA_ERROR_SYSTEM_NOT_READY", output)
        self.assertIn("is quarantined (it mines)", output)
        self.admin("clear-quarantine", self.vm)
        status, output = self.outcome()
        self.assertEqual(status, 0, output + self.mediator.log())

    def test_a_quota_holds_from_the_moment_it_is_set(self):
        status, output = self.outcome()
        self.assertEqual(status, 0, output)
        self.admin("register-vm", self.vm, "--memory=4096")
        status, output = self.outcome()
        self.assertNotEqual(status, 0, output)
        self.assertIn("CUDA_ERROR_OUT_OF_MEMORY", output)
        self.admin("set-memory", self.vm, "--memory=default")
        status, output = self.outcome()
        self.assertEqual(status, 0, output)


if __name__ == "__main__":
    unittest.main()
