# SPDX-License-Identifier: MIT
"""A mediator with a store, its administrator, and programs of the user who runs the tests."""
import json
import os
import subprocess
import unittest

from harness import Mediator, PATIENCE, built


class Administered(unittest.TestCase):
    fault_limit = 0

    def setUp(self):
        self.mediator = Mediator(fault_limit=self.fault_limit)
        with open(self.mediator.config, "a", encoding="utf-8") as file:
            file.write(f"store={self.mediator.folder}/vgpu.db\n")
        self.addCleanup(self.stop)
        self.start_mediator()
        self.name = f"uid-{os.getuid()}"
        self.vm = f"--vm-name={self.name}"

    def start_mediator(self):
        self.mediator.start()

    def stop(self):
        self.mediator.stop()  # which may be another than at first

    def command(self, *words):
        return [built("admin", "vgpu-admin"), f"--socket={self.mediator.admin_socket}", *words]

    def admin(self, *words):
        """What vgpu-admin answers; None if that is nothing."""
        done = subprocess.run(self.command("--output=json", *words), check=True, text=True,
                              timeout=30 * PATIENCE, stdout=subprocess.PIPE)
        return json.loads(done.stdout or "null")

    def shown(self):
        return self.admin("show-vm", self.vm)

    def program(self, *words, **options):
        program = self.mediator.run(*words, **options)
        self.addCleanup(program.stdout.close)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        return program
