#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A real virtual machine whose kernels hang, until it is quarantined and let in again, and whose
mediator is then stopped and started as a service is."""
import os
import subprocess
import tempfile
import time
import unittest

from harness import PATIENCE, Mediator, built
from test_vm_faults import LIBRARY, VM, Guest

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest-service")
NAME = "gamma"


class VmService(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        initramfs = os.path.join(self.folder.name, "initramfs")
        subprocess.run([os.path.join(VM, "make-initramfs"), initramfs, SCRIPT,
                        built("guest", "vgpu-mailbox") + "=/usr/bin/vgpu-mailbox",
                        built("guest", "lib", "libcuda.so.1") + "=" + LIBRARY,
                        built("tests", "faults", "long_work") + "=/usr/bin/long_work",
                        built("demo", "driver_api") + "=/usr/bin/driver_api"], check=True)
        self.mediator = Mediator(
            f"stop-timeout=1\n[vm {NAME}]\nwatchdog=2\nfault-limit=2\n").start()
        self.addCleanup(self.mediator.stop)
        environment = dict(os.environ, VGPU_DEVICE_DIR=built("device"), VGPU_GUEST_TIMEOUT="400")
        self.guest = Guest(NAME, initramfs, self.mediator, environment)
        self.addCleanup(self.guest.close)

    def test_hangs_quarantine_and_a_restart(self):
        for count in (1, 2):
            self.guest.wait_for(f"hung program {count} ended with 2", 120)
            self.guest.wait_for("CUDA_ERROR_LAUNCH_TIMEOUT", 5)
        self.guest.wait_for(f"VM {NAME} is quarantined \\(2 faults, the last: work on the GPU", 30)
        self.guest.wait_for("CUDA_ERROR_SYSTEM_NOT_READY", 5)
        self.guest.wait_for("program in quarantine ended with 2", 5)
        subprocess.run([built("admin", "vgpu-admin"), f"--socket={self.mediator.admin_socket}",
                        "clear-quarantine", f"--vm-name={NAME}"], check=True, timeout=30 * PATIENCE)
        self.guest.wait_for("works after the quarantine", 60)

        self.guest.wait_for("computing, until the mediator stops", 60)
        self.mediator.process.terminate()
        self.assertEqual(self.mediator.process.wait(timeout=30 * PATIENCE), 0)
        self.guest.wait_for("program ended with 2", 15)
        self.guest.wait_for("CUDA_ERROR_DEVICE_UNAVAILABLE", 5)
        self.guest.wait_for("identify ended with [1-9]", 15)
        time.sleep(1)
        self.mediator.start()
        self.guest.wait_for("works again", 60)


if __name__ == "__main__":
    unittest.main()
