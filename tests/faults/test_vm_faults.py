#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Two real virtual machines compute while the mediator, a program and a machine are killed."""
import os
import re
import signal
import subprocess
import tempfile
import threading
import unittest

from harness import Mediator, built, wait_until

VM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vm")
GUEST_SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest")
LIBRARY = "/lib/x86_64-linux-gnu/libcuda.so.1"


class Guest:
    def __init__(self, name, initramfs, mediator, environment):
        self.name = name
        self.mark = f"vgpu,chardev=vgpu,vm={name}"
        self.socket = mediator.device_socket
        self.lines = []
        self.process = subprocess.Popen(
            [os.path.join(VM, "run-guest"), initramfs, "-chardev",
             f"socket,id=vgpu,path={self.socket},reconnect=1", "-device", self.mark],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", start_new_session=True)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def wait_for(self, pattern, seconds):
        def seen():
            return any(re.search(pattern, line) for line in self.lines)
        try:
            return wait_until(seen, seconds, pattern)
        except AssertionError as error:
            raise AssertionError(f"{self.name}: {error}\n" + "\n".join(self.lines)) from None

    def kill_machine(self):
        """kill -9 of QEMU itself, as the host's out-of-memory killer would."""
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                program = os.path.basename(os.readlink(f"/proc/{entry}/exe"))
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    words = file.read().decode(errors="replace").split("\0")
            except OSError:
                continue
            # not the shell and the timeout around it; a bundle's QEMU is started by its own loader
            if (program.startswith(("qemu-system", "ld-linux")) and self.mark in words
                    and any(self.socket in word for word in words)):
                os.kill(int(entry), signal.SIGKILL)

    def close(self):
        self.kill_machine()
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()


class VmFaults(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        # A machine that cannot make an initramfs (no busybox, no cpio) may bring one.
        self.initramfs = os.environ.get("VGPU_FAULTS_INITRAMFS")
        if not self.initramfs:
            self.make_initramfs()
        self.mediator = Mediator().start()
        environment = dict(os.environ, VGPU_DEVICE_DIR=built("device"), VGPU_GUEST_TIMEOUT="400")
        self.guests = [Guest(name, self.initramfs, self.mediator, environment)
                       for name in ("alpha", "beta")]

    def make_initramfs(self):
        self.initramfs = os.path.join(self.folder.name, "initramfs")
        subprocess.run([os.path.join(VM, "make-initramfs"), self.initramfs, GUEST_SCRIPT,
                        built("guest", "vgpu-mailbox") + "=/usr/bin/vgpu-mailbox",
                        built("guest", "lib", "libcuda.so.1") + "=" + LIBRARY,
                        built("demo", "driver_api") + "=/usr/bin/driver_api"], check=True)

    def tearDown(self):
        for guest in self.guests:
            guest.close()
        self.mediator.stop()
        self.folder.cleanup()

    def both(self, pattern, seconds):
        for guest in self.guests:
            guest.wait_for(pattern, seconds)

    def test_kills(self):
        alpha, beta = self.guests
        self.both("computing, until the mediator is killed", 90)
        self.assertEqual(len(self.mediator.workers()), 2)

        self.mediator.kill()
        self.both("program ended with 2", 15)
        self.both("CUDA_ERROR_DEVICE_UNAVAILABLE", 5)
        self.mediator.start()
        self.both("works again", 60)

        self.both("computing, until it is killed", 60)
        for guest in self.guests:
            guest.wait_for("program killed", 20)
            wait_until(lambda name=guest.name: self.mediator.idle(name), 1, f"{guest.name}: nothing is left")
        self.both("works after a kill", 60)

        self.both("computing, until the machine is killed", 60)
        self.assertEqual(len(self.mediator.workers()), 2)
        alpha.kill_machine()
        wait_until(lambda: len(self.mediator.workers()) == 1, 1, "the killed machine's worker gone")
        beta.kill_machine()
        wait_until(lambda: not self.mediator.workers(), 1, "the other machine's worker gone")


if __name__ == "__main__":
    unittest.main()
