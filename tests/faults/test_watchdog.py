#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Work that does not finish costs its program the GPU and nobody else; long queues of work that
does finish cost nothing; three such faults, and the VM is quarantined until it is cleared."""
import json
import os
import threading
import time
import unittest

from administered import Administered
from harness import Mediator, PATIENCE, built, wait_until

LONG_WORK = built("tests", "faults", "long_work")
DRIVER_API = built("demo", "driver_api")
LIMIT = 1  # second
LATE = 3  # seconds after the limit: looks, the end of the driver, and a busy machine


def is_open_to_all(path):
    return path == "/" or (os.stat(path).st_mode & 0o005 == 0o005
                           and is_open_to_all(os.path.dirname(path)))


class Watchdog(Administered):
    def limit(self, seconds=LIMIT):
        self.admin("register-vm", self.vm, f"--watchdog={seconds}",
                   f"--fault-limit={self.fault_limit}")

    def other_vm(self, *words):
        """A program of another VM, if we may start one."""
        if os.getuid() != 0 or not is_open_to_all(os.path.realpath(words[0])):
            return self.program(*words)
        os.chmod(self.mediator.folder, 0o755)
        return self.program(*words, user=65534)

    def outcome(self, *words, seconds=60):
        """Exit status, output, and how long it took from "started" to the end."""
        program = self.program(*words)
        first = program.stdout.readline()
        begin = time.monotonic()
        killer = threading.Timer(seconds * PATIENCE, program.kill)
        killer.start()
        output = program.stdout.read()  # not communicate(), which loses what came with the line
        status = program.wait()
        killer.cancel()
        return status, first + output, time.monotonic() - begin

    def assert_done(self, *words):
        status, output, took = self.outcome(*words)
        self.assertEqual(status, 0, output + self.mediator.log())
        return took

    def assert_ended(self, output, status, took, limits=1):
        self.assertEqual(status, 2, output + self.mediator.log())
        for line in ("then cuMemAlloc", "then cuCtxSynchronize", "then cuStreamQuery"):
            self.assertIn(f"{line}: CUDA_ERROR_LAUNCH_TIMEOUT", output)
        self.assertIn("did not finish within the host's limit", output)
        self.assertGreaterEqual(took, LIMIT - 0.1)
        self.assertLess(took, (limits * LIMIT + LATE) * PATIENCE)


class Hangs(Watchdog):
    def test_a_hung_kernel_ends_its_program_within_the_limit_and_disturbs_nobody(self):
        self.limit()
        other = self.other_vm(DRIVER_API, "loop", str(8 * LIMIT))
        # What was short so far shares a mark, and gets more patience.
        for how, limits in (("hang", 1), ("hang-graph", 1), ("hang-behind", 3)):
            status, output, took = self.outcome(LONG_WORK, how)
            self.assert_ended(output, status, took, limits)
        self.assertIn("is lost: worker", self.mediator.log())
        self.assertIn(f"did not finish within {LIMIT} s", self.mediator.log())
        output, _ = other.communicate(timeout=60 * PATIENCE)
        self.assertEqual(other.returncode, 0, output)
        wait_until(lambda: self.mediator.idle(self.name), 5, "nothing is left")
        self.assertEqual(self.shown()["faults"], 3)
        faults = [event for event in self.admin("events") if event["kind"] == "lost"]
        self.assertIn(f"work on the GPU did not finish within {LIMIT} s", faults[0]["text"])

    def test_a_module_that_is_unloaded_under_a_hung_kernel_ends_its_program(self):
        self.limit()
        status, output, took = self.outcome(LONG_WORK, "hang-unload")
        self.assert_ended(output, status, took)
        # A worker that puts such calls off hangs in no driver, and one whose driver waits does:
        self.assertRegex(self.mediator.log(), "did not (finish|come back from cuModuleUnload) within")

    def test_a_program_that_goes_on_launching_behind_a_hung_kernel_is_ended(self):
        self.limit()
        status, output, took = self.outcome(LONG_WORK, "hang-full")
        self.assert_ended(output, status, took, 3)

    def test_a_limit_holds_from_the_moment_it_is_set(self):
        self.limit(300)
        program = self.program(LONG_WORK, "hang")
        program.stdout.readline()
        time.sleep(LIMIT)
        self.assertIsNone(program.poll())
        self.admin("set-watchdog", self.vm, "--watchdog=1")
        output, _ = program.communicate(timeout=3 * PATIENCE)
        self.assertIn("CUDA_ERROR_LAUNCH_TIMEOUT", output)

    def test_the_configuration_sets_a_limit_too(self):
        self.mediator.stop()
        self.mediator = Mediator(vm_settings=f"watchdog={LIMIT}\n").start()
        status, output, took = self.outcome(LONG_WORK, "hang")
        self.assert_ended(output, status, took)


class LongButHonest(Watchdog):
    """Each of these takes twice the limit and more."""

    def setUp(self):
        super().setUp()
        self.limit()

    def tearDown(self):
        vm = self.shown()
        self.assertEqual((vm["faults"], vm["channels_lost"]), (0, 0), self.mediator.log())

    def test_long_queues_of_short_kernels(self):
        for how in ("queue", "queue-free", "streams"):
            self.assertGreater(self.assert_done(LONG_WORK, how, "24", "100"), 2 * LIMIT)

    def test_kernels_of_most_of_the_limit(self):
        milliseconds = str(LIMIT * 600)
        self.assertGreater(self.assert_done(LONG_WORK, "queue", "4", milliseconds), 2 * LIMIT)

    def test_steady_work_and_idleness(self):
        self.assertGreater(self.assert_done(LONG_WORK, "steady", "2500", "1"), 2 * LIMIT)
        self.assertGreater(self.assert_done(LONG_WORK, "idle", str(2 * LIMIT)), LIMIT)

    def test_time_without_a_lease(self):
        """At a fifth of the GPU's time, kernels of 0.4 s are up to 1.6 s apart."""
        self.admin("set-share-cap", self.vm, "--share-cap=20")
        self.assertGreater(self.assert_done(LONG_WORK, "steady", "4", "400"), 3 * LIMIT)

    def test_what_waits_for_the_program_itself(self):
        self.assert_done(LONG_WORK, "function", str(2 * LIMIT))
        self.assert_done(LONG_WORK, "value", str(2 * LIMIT))


class Quarantine(Watchdog):
    fault_limit = 3

    def test_three_faults_and_the_vm_is_out_until_it_is_cleared(self):
        self.limit(1)
        bystander = self.program(DRIVER_API, "loop", "60")
        bystander.stdout.readline()
        for count in (1, 2, 3):
            status, output, _ = self.outcome(LONG_WORK, "hang")
            self.assertEqual(status, 2, output)
            self.assertEqual(self.shown()["faults"], count)
        # What the VM has is closed,
        output, _ = bystander.communicate(timeout=10 * PATIENCE)
        self.assertEqual(bystander.returncode, 2, output)
        self.assertIn("CUDA_ERROR_DEVICE_UNAVAILABLE", output)
        events = [event for event in self.admin("events") if event["kind"] == "quarantined"]
        self.assertEqual(len(events), 1)
        self.assertIn("3 faults, the last: work on the GPU", events[0]["text"])
        # it gets nothing new, and is told why and what to do,
        for restart in (False, True):
            status, output, _ = self.outcome(LONG_WORK, "idle", "0")
            self.assertEqual(status, 2, output)
            self.assertIn("cuInit(0): CUDA_ERROR_SYSTEM_NOT_READY", output)
            self.assertIn(f"VM {self.name} is quarantined (3 faults, the last: work on the GPU did "
                          "not finish within 1 s)", output)
            self.assertIn(f"vgpu-admin clear-quarantine --vm-name={self.name}", output)
            if not restart:
                self.mediator.process.terminate()
                self.assertEqual(self.mediator.process.wait(timeout=10 * PATIENCE), 0)
                self.mediator.start()
        # and so are administrators.
        self.assertIn("3 faults", self.shown()["quarantine"])
        audit = self.admin("show-audit")
        self.assertEqual((audit[0]["verb"], audit[0]["target"]), ("quarantine", self.name))
        self.assertIn("3 faults", json.dumps(audit[0]))
        faults = self.admin("show-faults")
        self.assertEqual([(row["kind"], row["count"]) for row in faults], [("hang", 3)])
        self.admin("clear-quarantine", self.vm)
        self.assertEqual(self.shown()["faults"], 0)
        self.assert_done(LONG_WORK, "idle", "0")


class WithoutStore(Watchdog):
    def test_a_vm_is_quarantined_and_cleared_without_a_store(self):
        self.mediator.stop()
        self.mediator = Mediator(vm_settings="watchdog=1\n", fault_limit=1).start()
        self.assertEqual(self.outcome(LONG_WORK, "hang")[0], 2)
        status, output, _ = self.outcome(LONG_WORK, "idle", "0")
        self.assertEqual(status, 2, output)
        self.assertIn("is quarantined (1 fault", output)
        self.assertIn("1 fault", self.shown()["quarantine"])
        self.assertIn("1 fault", self.admin("list-vms")[0]["quarantine"])
        self.admin("clear-quarantine", self.vm)
        self.assertEqual(self.shown()["quarantine"], "")
        self.assert_done(LONG_WORK, "idle", "0")


if __name__ == "__main__":
    unittest.main()
