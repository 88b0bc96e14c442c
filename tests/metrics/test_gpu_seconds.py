#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The GPU seconds of VMs add up to the time in which the GPU was busy, within 2 %. The software GPU
says itself when it ran a kernel (VGPU_SOFT_TIMELINE); each tenant is a user of its own, and so a VM
to the mediator."""
import os
import sys
import time
import unittest

import timeline
from exporter import Exporter
from harness import PATIENCE, wait_until
from tenants import Tenants, calibrate

FIRST_UID = 61100
SECONDS = 3
TOLERANCE = 0.02
# Kernels are long, because what the software GPU needs from one to the next, while work waits, is
# busy time to VMs, but not to its timeline. A measurement is as good as the machine is quiet: of so
# many, one has to be within bounds, unless others have the processors: a worker that waits for one
# between two launches does not know that the GPU has nothing to do meanwhile.
ATTEMPTS = 3
CROWDED = 3 * os.cpu_count()  # load


class GpuSecondsTest(unittest.TestCase):
    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("tenants are users of their own: only root can become them")
        self.rounds = calibrate("soft")

    def run_tenants(self, mediator, tenants, kill):
        """(user, kernel in microseconds, batch, depth, gap in microseconds) each."""
        programs = Tenants(mediator.environment())
        try:
            for user, kernel, *words in tenants:
                programs.add(FIRST_UID + user, int(kernel * self.rounds) + 1, *words)
            programs.await_ready()
            programs.go()
            time.sleep(SECONDS)
            if not kill:
                programs.rest()
                programs.end()
        finally:
            programs.kill()

    def measure(self, tenants, kill=False):
        """GPU seconds that VMs have got, and those in which the GPU was busy."""
        mediator = Exporter("slice=20\n")  # what a turn costs the software GPU is not busy time
        os.chmod(mediator.folder, 0o711)
        path = timeline.begin(mediator.folder)
        try:
            mediator.start()
            self.run_tenants(mediator, tenants, kill)
            wait_until(mediator.idle, 20, "the tenants are gone")
            busy = timeline.busy(timeline.read(path)) / 1e9
            vms = {dict(labels)["domain"]: value for (name, labels), value
                   in mediator.metrics().items() if name == "vgpu_vm_gpu_busy_seconds_total"}
            return vms, busy
        finally:
            timeline.end()
            mediator.stop()

    def check(self, tenants, **options):
        for _ in range(ATTEMPTS):
            vms, busy = self.measure(tenants, **options)
            error = sum(vms.values()) / busy - 1
            print(f"{self.id()}: {busy:.3f} s busy, VMs have {sum(vms.values()):.3f} s "
                  f"({100 * error:+.2f} %): {vms}", file=sys.stderr, flush=True)
            if abs(error) <= TOLERANCE:
                return vms
        if os.getloadavg()[0] > CROWDED:
            self.skipTest(f"others have the processors: load {os.getloadavg()[0]:.0f}")
        raise AssertionError(f"{100 * error:.2f} % apart after {ATTEMPTS} measurements")

    def test_of_one_vm(self):
        self.check([(0, 60000, 2, 2, 0)])

    def test_of_vms_that_take_turns(self):
        vms = self.check([(0, 60000, 1, 2, 0), (1, 40000, 2, 2, 0), (2, 100000, 1, 2, 0)])
        self.assertEqual(len(vms), 3)

    def test_of_vms_that_leave_the_gpu_idle(self):
        self.check([(0, 200000, 1, 1, 250000), (1, 150000, 1, 1, 400000)])

    def test_of_programs_of_one_vm_at_once(self):
        # They do not take turns: each of them alone has work nearly all of the time.
        vms = self.check([(0, 20000, 4, 2, 0)] * 3)
        self.assertLess(sum(vms.values()), SECONDS * 2 * PATIENCE)


if __name__ == "__main__":
    found = unittest.main(exit=False).result
    sys.exit(77 if found.wasSuccessful() and found.skipped else not found.wasSuccessful())
