#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What running programs notice of an administrator: a quarantine, a quota, and their share of the
GPU when weights, priorities, pools and caps change."""
import os
import signal
import subprocess
import sys
import time
import unittest

from administered import Administered
from harness import PATIENCE, built, for_other_programs, wait_until
from tenants import Tenants, calibrate

DRIVER_API = built("demo", "driver_api")
STUCK_DISK = built("tests", "faults", "libstuck_disk.so")
USERS = (70001, 70002)  # of the two tenants

# Says how much memory of the GPU there is, as often as it is asked.
MEMORY = """
import ctypes, sys
cuda = ctypes.CDLL("libcuda.so.1")
context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
assert cuda.cuInit(0) == 0 and cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
assert cuda.cuCtxSetCurrent(context) == 0
for line in sys.stdin:
    assert cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == 0
    print(total.value, flush=True)
"""


class Administration(Administered):
    def outcome(self):
        program = self.program(DRIVER_API)
        output, _ = program.communicate(timeout=60 * PATIENCE)
        return program.returncode, output

    def test_quarantine_ends_programs_and_keeps_others_out(self):
        running = self.program(DRIVER_API, "loop", "60")
        running.stdout.readline()
        self.assertIn("PASS", running.stdout.readline())
        self.admin("quarantine", self.vm, "--reason=it mines")
        output, _ = running.communicate(timeout=10 * PATIENCE)
        self.assertEqual(running.returncode, 2, output)
        self.assertIn("CUDA_ERROR_DEVICE_UNAVAILABLE", output)
        self.assertIn("this machine is quarantined", output)
        self.assertIn("vgpu-admin clear-quarantine", output)
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

    def test_a_running_program_sees_its_quota_change(self):
        program = subprocess.Popen([sys.executable, "-c", MEMORY], text=True, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE,
                                   env=for_other_programs(self.mediator.environment()))
        self.addCleanup(program.communicate)

        def total():
            program.stdin.write("\n")
            program.stdin.flush()
            return int(program.stdout.readline())

        whole = total()
        self.admin("register-vm", self.vm, "--memory=64M")
        self.assertEqual(total(), 64 << 20)
        self.admin("set-memory", self.vm, "--memory=25%")
        self.assertEqual(total(), whole // 4)
        self.admin("set-memory", self.vm, "--memory=default")
        self.assertEqual(total(), whole)


class StoreThatCannotBeWritten(Administered):
    """A quarantine that the store does not take holds, and is in it as soon as it does."""
    fault_limit = 1

    def setUp(self):
        super().setUp()
        self.store = f"{self.mediator.folder}/vgpu.db"

    def lose_a_worker(self):
        program = self.program(DRIVER_API, "loop", "60")
        program.stdout.readline()
        self.assertIn("PASS", program.stdout.readline())
        os.rename(self.store, self.store + ".away")
        os.kill(self.mediator.workers()[0], signal.SIGKILL)
        output, _ = program.communicate(timeout=10 * PATIENCE)
        self.assertEqual(program.returncode, 2, output)
        self.assert_out()

    def assert_out(self):
        output, _ = self.program(DRIVER_API).communicate(timeout=10 * PATIENCE)
        self.assertIn("CUDA_ERROR_SYSTEM_NOT_READY", output)
        self.assertIn("1 fault", self.shown()["quarantine"])
        self.assertIn("1 fault", self.admin("list-vms")[0]["quarantine"])

    def test_a_vm_that_is_not_registered(self):
        self.lose_a_worker()
        self.assertIn("cannot write the faults of VM " + self.name, self.mediator.log())
        with self.assertRaises(subprocess.CalledProcessError):
            self.admin("clear-quarantine", self.vm)
        os.rename(self.store + ".away", self.store)
        self.admin("clear-quarantine", self.vm)
        output, _ = self.program(DRIVER_API).communicate(timeout=30 * PATIENCE)
        self.assertIn("PASS", output)

    def test_a_vm_that_is_registered(self):
        self.admin("register-vm", self.vm)
        self.lose_a_worker()
        os.rename(self.store + ".away", self.store)
        self.admin("set-weight", self.vm, "--weight=7")
        self.assert_out()
        self.mediator.kill()
        self.mediator.start()
        self.assert_out()


class WorkerThatIsNotThere(Administered):
    """As while a package is replaced."""
    fault_limit = 1

    def test_it_is_no_fault_of_the_vm(self):
        self.mediator.process.terminate()
        self.mediator.process.wait()
        worker = f"{self.mediator.folder}/worker"
        os.symlink(built("worker", "vgpu-worker"), worker)
        with open(self.mediator.config, "a", encoding="utf-8") as file:
            file.write(f"worker={worker}\n")
        self.mediator.start()
        os.rename(worker, worker + ".away")
        for _ in range(3):  # it ends before it is told what to do, or after
            output, _ = self.program(DRIVER_API).communicate(timeout=10 * PATIENCE)
            self.assertRegex(output, "CUDA_ERROR_(DEVICE_UNAVAILABLE|SYSTEM_NOT_READY)")
        self.assertRegex(self.mediator.log(), "could not be executed; is the program there|"
                         "it ended at once; is the mediator's worker= there")
        self.assertEqual((self.shown()["faults"], self.shown()["quarantine"]), (0, ""))
        self.assertLessEqual({fault["kind"] for fault in self.admin("show-faults")}, {"driver"})
        os.rename(worker + ".away", worker)
        output, _ = self.program(DRIVER_API).communicate(timeout=30 * PATIENCE)
        self.assertIn("PASS", output)


@unittest.skipUnless(os.getuid() == 0, "only root can be two users")
class TwoTenants(Administered):
    """Two programs that always want the GPU."""

    def setUp(self):
        super().setUp()
        os.chmod(self.mediator.folder, 0o711)
        rounds = calibrate(self.mediator.driver)
        tenants = Tenants(self.mediator.environment())
        self.addCleanup(tenants.kill)
        for user in USERS:
            tenants.add(user, int(200 * rounds) + 1, 4, 4, 0)
        tenants.await_ready()
        tenants.go()
        for user in USERS:
            self.admin("register-vm", f"--vm-name=uid-{user}")

    def used(self):
        """GPU nanoseconds of both, and when."""
        rows = {row["vm"]: row["gpu_ns"] for row in self.admin("show-metrics")}
        return [rows[f"uid-{user}"] for user in USERS] + [time.monotonic_ns()]

    def are_shown_at_work(self):
        rows = {row["vm"]: row for row in self.admin("top", "--interval=0.5", "--count=1")}
        both = [rows[f"uid-{user}"] for user in USERS]
        self.assertEqual([row["channels"] for row in both], [1, 1])
        if all(row["gpu_percent"] > 0 and row["calls_per_second"] > 0 for row in both):
            return True
        print("not both were at work:", both, self.used(), file=sys.stderr)
        return False


class Shares(TwoTenants):
    """What they get is looked at until it is as it should be: how fast that comes is a matter of the
    machine, that it comes without a restart is not."""

    def await_share(self, least, most, what, of_time=False):
        """Of the first, among what both get, or of all time."""
        def reached():
            before = self.used()
            time.sleep(0.5)
            one, other, passed = (b - a for a, b in zip(before, self.used()))
            return one + other > 0 and least < one / (passed if of_time else one + other) < most
        wait_until(reached, 30, what)

    def set(self, command, *options):
        for user, option in zip(USERS, options):
            self.admin(command, f"--vm-name=uid-{user}", option)

    def test_top_and_events_tell_of_running_programs(self):
        wait_until(self.are_shown_at_work, 30, "both at work in vgpu-admin top")
        events = self.admin("events")
        for user in USERS:
            happened = [event["kind"] for event in events if event["vm"] == f"uid-{user}"]
            self.assertEqual(happened, ["connected", "opened", "registered"])

    def test_shares_follow_what_is_set(self):
        self.await_share(0.35, 0.65, "the same for both")
        self.set("set-weight", "--weight=90", "--weight=10")
        self.await_share(0.75, 1, "weights 90 and 10")
        self.set("set-weight", "--weight=50", "--weight=50")
        self.await_share(0.35, 0.65, "weights 50 and 50")
        self.set("set-priority", "--priority=low", "--priority=high")
        self.await_share(0, 0.35, "priorities low and high")
        self.set("set-priority", "--priority=medium", "--priority=medium")
        self.await_share(0.35, 0.65, "priorities medium")
        self.admin("create-pool", "--pool=B", "--weight=90")
        self.admin("set-pool-weight", "--pool=A", "--weight=10")
        self.set("set-pool", "--pool=B", "--pool=A")
        self.await_share(0.75, 1, "pools of 90 and 10")
        self.admin("set-pool-weight", "--pool=B", "--weight=10")
        self.await_share(0.35, 0.65, "pools of 10 and 10")
        self.set("set-share-cap", "--share-cap=10")
        self.await_share(0, 0.2, "a cap of 10 per cent", of_time=True)
        self.set("set-share-cap", "--share-cap=100")
        self.await_share(0.35, 0.65, "no cap")


class DiskThatTakesItsTime(TwoTenants):
    """A change holds at once, the GPU is shared out meanwhile, and the answer comes with the disk."""

    def start_mediator(self):
        self.stuck = f"{self.mediator.folder}/stuck"
        preloaded = [for_other_programs({}).get("LD_PRELOAD"), STUCK_DISK]
        self.mediator.variables = {"LD_PRELOAD": ":".join(filter(None, preloaded)),
                                   "STUCK_DISK": self.stuck}
        super().start_mediator()

    def test_nobody_waits_for_it_but_who_wants_to_know(self):
        vm = f"--vm-name=uid-{USERS[0]}"
        with open(self.stuck, "w", encoding="ascii"):
            self.addCleanup(lambda: os.path.exists(self.stuck) and os.unlink(self.stuck))
        with subprocess.Popen(self.command("set-weight", vm, "--weight=70")) as change:
            self.addCleanup(change.kill)
            wait_until(lambda: self.admin("show-vm", vm)["weight"] == 70, 30, "the change holds")
            wait_until(self.are_shown_at_work, 30, "both at work in vgpu-admin top")
            self.assertIsNone(change.poll())
            os.unlink(self.stuck)
            self.assertEqual(change.wait(30 * PATIENCE), 0)

    def test_what_it_does_not_take_is_told(self):
        vm = f"--vm-name=uid-{USERS[0]}"
        with open(self.stuck, "w", encoding="ascii") as file:
            file.write("broken")
        change = subprocess.run(self.command("set-weight", vm, "--weight=70"), text=True, check=False,
                                stderr=subprocess.PIPE, timeout=30 * PATIENCE)
        self.assertNotEqual(change.returncode, 0)
        self.assertIn("the change holds, but the disk did not take it", change.stderr)
        self.assertIn("Input/output error; see the disk it is on", self.mediator.log())
        self.assertEqual(self.admin("show-vm", vm)["weight"], 70)
        os.unlink(self.stuck)
        self.assertEqual(self.admin("set-weight", vm, "--weight=60")["weight"], 60)


if __name__ == "__main__":
    unittest.main()
