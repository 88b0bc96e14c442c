#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What one party's death or malice does to the others: host processes on the software GPU."""
import os
import random
import resource
import signal
import socket
import subprocess
import time
import unittest

from harness import Mediator, PATIENCE, built, parent, wait_until

DRIVER_API = built("demo", "driver_api")
HOSTILE = built("tests", "faults", "hostile_guest")
DEVICE_UNAVAILABLE = "CUDA_ERROR_DEVICE_UNAVAILABLE"


class ProcessFaults(unittest.TestCase):
    def setUp(self):
        self.mediator = Mediator().start()
        self.programs = []

    def tearDown(self):
        for program in self.programs:
            if program.poll() is None:
                program.kill()
            program.wait()
            program.stdout.close()
        self.mediator.stop()

    def loop(self, seconds=60):
        """A program that computes for a while; returns once its first result is there."""
        program = self.mediator.run(DRIVER_API, "loop", str(seconds))
        self.programs.append(program)
        program.stdout.readline()
        self.assertIn("PASS", program.stdout.readline())
        return program

    def assert_works(self):
        program = self.mediator.run(DRIVER_API)
        output, _ = program.communicate(timeout=60 * PATIENCE)
        self.assertEqual(program.returncode, 0, output + self.mediator.log())
        self.assertEqual(output.count("PASS"), 3, output)

    def vm(self):
        return self.mediator.status()[0]

    def test_killed_program_leaves_nothing_within_a_second(self):
        program = self.loop()
        self.assertEqual(len(self.mediator.workers()), 1)
        program.kill()
        wait_until(lambda: not self.mediator.workers() and self.mediator.idle(), 1,
                   "worker, channel and memory gone")

    def test_programs_killed_anywhere_leave_nothing(self):
        def descriptors():
            return len(os.listdir(f"/proc/{self.mediator.process.pid}/fd"))
        self.assert_works()
        wait_until(self.mediator.idle, 2, "the first program gone")
        before = descriptors()
        for name in ("registered", "host_memory", "threads", "graphs", "pools", "surroundings"):
            for milliseconds in (3, 20, 60):
                program = self.mediator.run(built("tests", "driver_api", "driver-api-" + name),
                                            start_new_session=True)
                self.programs.append(program)
                time.sleep(milliseconds / 1000)
                os.killpg(program.pid, signal.SIGKILL)
        wait_until(lambda: not self.mediator.workers() and self.mediator.idle(), 2,
                   "workers, channels and memory gone")
        wait_until(lambda: descriptors() <= before, 2, "descriptors given back")
        self.assert_works()

    def test_a_mediator_without_descriptors_says_so_and_goes_on(self):
        program = self.loop()
        pid = self.mediator.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = len(os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 2, hard))
        output, _ = self.mediator.run(DRIVER_API).communicate(timeout=10 * PATIENCE)
        self.assertIn("the mediator has no descriptors left", output)
        self.assertIn("LimitNOFILE=", self.mediator.log())
        self.assertIsNone(program.poll())
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        self.assert_works()

    def test_killed_worker_is_seen_by_its_program_alone(self):
        victim, other = self.loop(), self.loop(4)
        # the victim's worker is the older one
        os.kill(min(self.mediator.workers()), signal.SIGKILL)
        output, _ = victim.communicate(timeout=10 * PATIENCE)
        self.assertEqual(victim.returncode, 2, output)
        self.assertIn(DEVICE_UNAVAILABLE, output)
        output, _ = other.communicate(timeout=60 * PATIENCE)
        self.assertEqual(other.returncode, 0, output)
        self.assert_works()

    def test_killed_mediator_fails_calls_in_flight_and_may_come_back(self):
        programs = [self.loop(), self.loop()]
        workers = self.mediator.workers()
        self.mediator.kill()
        for program in programs:
            output, _ = program.communicate(timeout=10 * PATIENCE)
            self.assertEqual(program.returncode, 2, output)
            self.assertIn(DEVICE_UNAVAILABLE, output)
        wait_until(lambda: not any(parent(pid) for pid in workers), 1,
                   "workers die with their mediator")
        without = self.mediator.run(DRIVER_API)
        output, _ = without.communicate(timeout=10 * PATIENCE)
        self.assertEqual(without.returncode, 2)
        self.assertIn("CUDA_ERROR_SYSTEM_NOT_READY", output)
        self.mediator.start()
        self.assert_works()

    def test_garbage_in_the_ring_closes_that_channel_and_is_counted(self):
        other = self.loop(8)
        for count, how in enumerate(("tail", "call", "payload", "random"), 1):
            result = subprocess.run([HOSTILE, how], env=self.mediator.environment(),
                                    capture_output=True, text=True, timeout=30 * PATIENCE)
            self.assertEqual(result.returncode, 0, how + result.stderr + self.mediator.log())
            wait_until(lambda n=count: self.vm()["channels_failed"] == n, 1, f"{how} counted")
        result = subprocess.run([HOSTILE, "table"], env=self.mediator.environment(),
                                capture_output=True, text=True, timeout=30 * PATIENCE)
        self.assertEqual(result.returncode, 0, result.stderr)
        output, _ = other.communicate(timeout=60 * PATIENCE)
        self.assertEqual(other.returncode, 0, output)

    def test_garbage_on_the_sockets_disturbs_nobody(self):
        other = self.loop(4)
        generator = random.Random(1)
        for path in (self.mediator.process_socket, self.mediator.device_socket,
                     self.mediator.admin_socket):
            for length in (1, 15, 16, 17, 104, 4096, 100000):
                client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                client.settimeout(2 * PATIENCE)
                client.connect(path)
                try:
                    client.sendall(generator.randbytes(length))
                    if length >= 16 and path != self.mediator.admin_socket:
                        while client.recv(4096):
                            pass
                except (ConnectionResetError, BrokenPipeError):
                    pass
                client.close()
        output, _ = other.communicate(timeout=60 * PATIENCE)
        self.assertEqual(other.returncode, 0, output)
        self.assert_works()

    def test_silent_client_holds_up_nobody(self):
        silent = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(20)]
        for client in silent:
            client.connect(self.mediator.process_socket)
        self.assert_works()
        for client in silent:
            client.close()

    def test_stopped_program_holds_up_nobody(self):
        program = self.loop()
        program.send_signal(signal.SIGSTOP)
        self.assert_works()
        program.send_signal(signal.SIGCONT)

    def test_memory_quota_is_kept(self):
        self.mediator.stop()
        self.mediator = Mediator("memory-quota=8M\n").start()
        program = self.mediator.run(DRIVER_API)
        output, _ = program.communicate(timeout=60 * PATIENCE)
        self.assertEqual(program.returncode, 0, output)
        self.mediator.stop()
        self.mediator = Mediator("memory-quota=1M\n").start()
        program = self.mediator.run(DRIVER_API)
        output, _ = program.communicate(timeout=60 * PATIENCE)
        self.assertEqual(program.returncode, 2, output)
        self.assertIn("CUDA_ERROR_OUT_OF_MEMORY", output)
        self.assertLessEqual(self.vm()["memory_used"], 1 << 20)


if __name__ == "__main__":
    unittest.main()
