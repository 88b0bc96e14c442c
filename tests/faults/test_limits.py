#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Limits of a VM, changed by an administrator while its program runs: calls a second, calls that
wait, a part of the GPU's time. Nothing is lost, and counters say what was held up."""
import re
import subprocess
import time
import unittest

from administered import Administered
from harness import PATIENCE, built, wait_until

PROGRAM = built("tests", "faults", "counted_launches")
BURST = 0.05  # seconds whose calls may come at once


class Limits(Administered):
    def start(self, count=0):
        program = self.program(PROGRAM, str(count), stdin=subprocess.PIPE)
        self.assertEqual(program.stdout.readline(), "ready\n")
        return program

    def ends(self, program):
        """What it counted, after its input has ended."""
        output, _ = program.communicate(timeout=60 * PATIENCE)
        self.assertEqual(program.returncode, 0, output + self.mediator.log())
        launched, counted = map(int, re.search(r"launched (\d+), counted (\d+)", output).groups())
        self.assertEqual(launched, counted)
        return counted

    def calls(self):
        return self.mediator.status()[0]["calls"]

    def calls_of(self, seconds):
        """Calls, and the seconds that their being counted may have taken."""
        start, before = time.monotonic(), self.calls()
        time.sleep(seconds)
        after = self.calls()
        return after - before, time.monotonic() - start

    def test_a_rate_holds_from_the_moment_it_is_set(self):
        self.admin("register-vm", self.vm)
        program = self.start()
        wait_until(lambda: self.calls() > 2000, 30, "it runs")
        self.admin("set-rate-limit", self.vm, "--rate=200")
        calls, seconds = self.calls_of(1.5)
        self.assertLessEqual(calls, 200 * (seconds + BURST) + 2)
        self.assertGreater(calls, 0)
        shown = self.shown()
        self.assertGreater(shown["throttled"], 0)
        self.assertGreater(shown["throttled_for_ns"], 0)
        before = self.calls()
        self.admin("set-rate-limit", self.vm, "--rate=0")
        wait_until(lambda: self.calls() > before + 2000, 30, "it runs as before")
        self.assertGreater(self.ends(program), 2000)

    def test_a_queue_depth_keeps_calls_in_the_program(self):
        self.admin("register-vm", self.vm, "--rate=2000", "--queue-depth=8")
        program = self.start(1000)
        wait_until(lambda: self.shown()["queue_full"] > 0, 30, "the queue is full")
        for _ in range(20):
            self.assertLessEqual(self.shown()["calls_waiting"], 8)
        self.assertEqual(self.ends(program), 1000)
        wait_until(self.mediator.idle, 10, "the program is gone")
        self.assertEqual(self.shown()["calls_waiting"], 0)

    def test_a_queue_depth_of_one_is_slow_but_goes_on(self):
        self.admin("register-vm", self.vm, "--queue-depth=1")
        self.assertEqual(self.ends(self.start(200)), 200)

    def test_programs_of_a_vm_have_one_rate(self):
        self.admin("register-vm", self.vm, "--rate=300")
        programs = [self.start(), self.start()]
        calls, seconds = self.calls_of(1)
        self.assertLessEqual(calls, 300 * (seconds + BURST) + 4)
        self.admin("set-rate-limit", self.vm, "--rate=0")
        for program in programs:
            self.ends(program)

    def test_a_bounded_lease_lets_through_what_a_kernel_waits_for(self):
        self.admin("register-vm", self.vm, "--share-cap=90")
        program = self.mediator.run(built("tests", "faults", "waiting_kernel"))
        output, _ = program.communicate(timeout=30 * PATIENCE)
        self.assertEqual((program.returncode, output), (0, "all ended\n"))

    def test_a_bounded_lease_does_not_count_what_waits_for_the_program(self):
        self.admin("register-vm", self.vm, "--share-cap=90")
        program = self.mediator.run(built("tests", "faults", "waiting_stream"))
        output, _ = program.communicate(timeout=30 * PATIENCE)  # else it takes minutes
        self.assertEqual((program.returncode, output), (0, "all ended\n"))

    def test_memory_has_one_ledger_whichever_way_it_is_taken(self):
        bytes_taken, quota = 16 << 20, 256 << 20
        self.admin("register-vm", self.vm, f"--memory={quota}")
        program = self.program(built("tests", "faults", "one_ledger"), str(bytes_taken),
                               stdin=subprocess.PIPE)
        ways = []
        for line in program.stdout:
            way, *numbers = line.split()
            with self.subTest(way=way):
                taken, info, nvml = map(int, numbers)
                ledger = self.mediator.status()[0]["memory_used"]
                self.assertEqual((info, nvml), (ledger, ledger), line)
                self.assertEqual(self.shown()["memory_used_bytes"], ledger)
                # what is left when nothing is held, and what a way rounds up to
                self.assertTrue(taken <= ledger <= taken + (4 << 20), line + str(ledger))
            ways.append(way)
            program.stdin.write("\n")
            program.stdin.flush()
        self.assertEqual(program.wait(timeout=30 * PATIENCE), 0, line)
        self.assertEqual(len(set(ways)), 7)

    def test_a_share_cap_holds_from_the_moment_it_is_set(self):
        self.admin("register-vm", self.vm)
        program = self.start()
        wait_until(lambda: self.calls() > 2000, 30, "it runs")
        self.admin("set-share-cap", self.vm, "--share-cap=5")
        start, before = time.monotonic(), self.mediator.status()[0]["gpu_ns"]
        time.sleep(1)
        used = self.mediator.status()[0]["gpu_ns"] - before
        # A slice that has begun, what was in flight, and kernels that the machine held up; without
        # the cap it is nearly all of the time. bench/fairness measures how exact it is.
        self.assertLessEqual(used / 1e9, 0.05 * (time.monotonic() - start) + 0.2)
        self.admin("set-share-cap", self.vm, "--share-cap=100")
        before = self.calls()
        wait_until(lambda: self.calls() > before + 2000, 30, "it runs as before")
        self.ends(program)


if __name__ == "__main__":
    unittest.main()
