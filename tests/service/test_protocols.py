#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The mediator as a service: what it tells the manager, inherited sockets, reload, and its end."""
import os
import signal
import socket
import subprocess
import time
import unittest

from harness import Mediator, PATIENCE, built, wait_until

DRIVER_API = built("demo", "driver_api")
LONG_WORK = built("tests", "faults", "long_work")


class Manager:
    """The manager's side: a socket for notifications, and listening sockets to pass on."""

    def __init__(self, mediator):
        self.mediator = mediator
        self.sockets = []
        self.path = os.path.join(mediator.folder, "manager.sock")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(self.path)

    def listen(self, name, path, kind=socket.SOCK_STREAM):
        listener = socket.socket(socket.AF_UNIX, kind)
        listener.bind(path)
        if kind == socket.SOCK_STREAM:
            listener.listen(16)
        self.sockets.append((name, listener))

    def start(self, *options, **environment):
        """By a shell, which knows its process id and gives it on."""
        script = ""
        for place, (_, listener) in enumerate(self.sockets):
            script += f"exec {3 + place}<&{listener.fileno()}\n"
        names = ":".join(name for name, _ in self.sockets)
        if self.sockets:
            script += f"export LISTEN_PID=$$ LISTEN_FDS={len(self.sockets)} LISTEN_FDNAMES={names}\n"
        script += 'export WATCHDOG_PID=$$\nexec "$@"'
        with open(self.mediator.log_path, "a", encoding="utf-8") as log:
            self.mediator.process = subprocess.Popen(
                ["bash", "-c", script, "bash", built("mediator", "vgpu-mediator"), "--config",
                 self.mediator.config, "--driver=soft", *options],
                env=dict(os.environ, NOTIFY_SOCKET=self.path, **environment), stdout=log,
                stderr=log, pass_fds=[listener.fileno() for _, listener in self.sockets])

    def hear(self, wanted, seconds=20):
        """Waits for a message with this line; returns what came until then."""
        heard = []
        end = time.monotonic() + seconds * PATIENCE
        while time.monotonic() < end:
            self.notify.settimeout(max(0.01, end - time.monotonic()))
            try:
                heard.append(self.notify.recv(4096).decode())
            except socket.timeout:
                break
            if any(line.startswith(wanted) for line in heard[-1].split("\n")):
                return heard
        raise AssertionError(f"not heard: {wanted}; but {heard}\n{self.mediator.log()}")

    def close(self):
        self.notify.close()
        for _, listener in self.sockets:
            listener.close()


class Service(unittest.TestCase):
    settings = ""

    def setUp(self):
        self.mediator = Mediator(self.settings)
        self.addCleanup(self.mediator.stop)
        self.manager = Manager(self.mediator)
        self.addCleanup(self.manager.close)

    def configure(self, old, new):
        with open(self.mediator.config, encoding="utf-8") as file:
            text = file.read()
        self.assertIn(old, text)
        with open(self.mediator.config, "w", encoding="utf-8") as file:
            file.write(text.replace(old, new))

    def run_to_end(self, *words):
        program = self.mediator.run(*words)
        output, _ = program.communicate(timeout=60 * PATIENCE)
        return program.returncode, output

    def terminate(self):
        self.mediator.process.terminate()
        return self.mediator.process.wait(timeout=30 * PATIENCE)


class Notifications(Service):
    def test_the_manager_hears_of_the_start_the_loop_and_the_end(self):
        self.manager.start(WATCHDOG_USEC="400000")
        self.assertIn("READY=1", self.manager.hear("READY=1")[-1])
        begin = time.monotonic()
        for _ in range(5):
            self.manager.hear("WATCHDOG=1", 2)
        self.assertGreater(time.monotonic() - begin, 0.7)  # half of the time, and not more often
        self.assertEqual(self.terminate(), 0)
        self.manager.hear("STOPPING=1", 1)

    def test_a_loop_that_does_not_go_round_is_not_vouched_for(self):
        self.manager.start(WATCHDOG_USEC="200000")
        self.manager.hear("WATCHDOG=1")
        self.mediator.process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        with self.assertRaises(AssertionError):
            while True:  # what was said before
                self.manager.hear("WATCHDOG=1", 0.5 / PATIENCE)
        self.mediator.process.send_signal(signal.SIGCONT)
        self.manager.hear("WATCHDOG=1")

    def test_a_watchdog_that_is_somebody_elses_is_left_alone(self):
        with open(self.mediator.log_path, "a", encoding="utf-8") as log:
            self.mediator.process = subprocess.Popen(
                [built("mediator", "vgpu-mediator"), "--config", self.mediator.config,
                 "--driver=soft"], stdout=log, stderr=log,
                env=dict(os.environ, NOTIFY_SOCKET=self.manager.path, WATCHDOG_PID="1",
                         WATCHDOG_USEC="100000", LISTEN_PID="1", LISTEN_FDS="3"))
        self.manager.hear("READY=1")
        with self.assertRaises(AssertionError):
            self.manager.hear("WATCHDOG=1", 0.5)

    def test_workers_are_not_the_service(self):
        self.manager.start(WATCHDOG_USEC="10000000")
        self.manager.hear("READY=1")
        program = self.mediator.run(DRIVER_API, "loop", "60")
        self.addCleanup(program.stdout.close)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        program.stdout.readline()
        for worker in self.mediator.workers():
            with open(f"/proc/{worker}/environ", "rb") as file:
                names = {entry.split(b"=")[0] for entry in file.read().split(b"\0")}
            self.assertFalse(names & {b"NOTIFY_SOCKET", b"WATCHDOG_USEC", b"LISTEN_FDS"})


class Sockets(Service):
    def test_inherited_sockets_serve_and_outlive_the_mediator(self):
        self.manager.listen("process", self.mediator.process_socket)
        self.manager.listen("admin", self.mediator.admin_socket)
        self.manager.listen("device", self.mediator.device_socket)
        self.manager.start()
        self.manager.hear("READY=1")
        status, output = self.run_to_end(DRIVER_API)
        self.assertEqual(status, 0, output + self.mediator.log())
        self.assertEqual(self.terminate(), 0)
        for path in (self.mediator.process_socket, self.mediator.admin_socket):
            self.assertTrue(os.path.exists(path))
        # Who comes while there is no mediator waits, and is served by the next.
        early = self.mediator.run(DRIVER_API)
        self.addCleanup(early.stdout.close)
        self.addCleanup(early.wait)
        self.addCleanup(early.kill)
        time.sleep(0.3)
        self.assertIsNone(early.poll())
        self.manager.start()
        output, _ = early.communicate(timeout=60 * PATIENCE)
        self.assertEqual(early.returncode, 0, output)

    def test_some_may_be_inherited_and_some_not(self):
        self.manager.listen("admin", self.mediator.admin_socket)
        self.manager.start()
        self.manager.hear("READY=1")
        self.assertEqual(self.run_to_end(DRIVER_API)[0], 0)
        self.assertEqual(self.terminate(), 0)
        self.assertTrue(os.path.exists(self.mediator.admin_socket))
        self.assertFalse(os.path.exists(self.mediator.process_socket))

    def test_sockets_that_cannot_serve_are_named(self):
        self.manager.listen("web", self.mediator.process_socket)
        self.manager.start()
        self.assertEqual(self.mediator.process.wait(timeout=20 * PATIENCE), 1)
        self.assertIn('a socket named "web"; there is one of each of device, process and admin',
                      self.mediator.log())

    def test_a_socket_that_does_not_listen_is_named(self):
        self.manager.listen("process", self.mediator.process_socket, socket.SOCK_DGRAM)
        self.manager.start()
        self.assertEqual(self.mediator.process.wait(timeout=20 * PATIENCE), 1)
        self.assertIn("is no listening Unix stream socket", self.mediator.log())


class Reload(Service):
    settings = "memory-quota=1G\nlog-level=info\n"

    def reload(self):
        self.mediator.process.send_signal(signal.SIGHUP)
        heard = self.manager.hear("RELOADING=1") + self.manager.hear("READY=1")
        self.assertIn("MONOTONIC_USEC=", heard[-2])
        return heard[-1]

    def quota(self):
        return self.mediator.status()[0]["memory_quota"]

    def test_what_can_change_changes_while_programs_run(self):
        self.manager.start()
        self.manager.hear("READY=1")
        program = self.mediator.run(LONG_WORK, "hang")
        self.addCleanup(program.stdout.close)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        program.stdout.readline()
        self.assertEqual(self.quota(), 1 << 30)
        self.configure("memory-quota=1G", "memory-quota=512M")
        self.configure("fault-limit=0\n", "fault-limit=0\nwatchdog=1\n")
        self.assertIn("STATUS=serving", self.reload())
        self.assertEqual(self.quota(), 512 << 20)
        output = program.stdout.read()
        self.assertIn("CUDA_ERROR_LAUNCH_TIMEOUT", output)

    def test_what_cannot_change_is_said(self):
        self.manager.start()
        self.manager.hear("READY=1")
        self.configure("memory-quota=1G", "memory-quota=512M\nscheduler=fifo\nstore=/nowhere/db")
        self.assertIn("need a restart", self.reload())
        for key in ("scheduler", "store"):
            self.assertIn(f"{key} has changed, which takes effect when the mediator is started "
                          "again", self.mediator.log())
        self.assertEqual(self.run_to_end(DRIVER_API)[0], 0)
        self.assertEqual(self.quota(), 512 << 20)

    def test_a_bad_configuration_changes_nothing(self):
        self.manager.start()
        self.manager.hear("READY=1")
        self.configure("memory-quota=1G", "memory-quota=512M\nmax-channels-per-vm=0")
        self.assertIn("is not good", self.reload())
        self.assertIn("max-channels-per-vm: \"0\" is not a number from 1 to 256",
                      self.mediator.log())
        self.assertEqual(self.run_to_end(DRIVER_API)[0], 0)
        self.assertEqual(self.quota(), 1 << 30)


class Stopping(Service):
    settings = "stop-timeout=3\n"

    def start(self, *words):
        self.manager.start()
        self.manager.hear("READY=1")
        program = self.mediator.run(*words)
        self.addCleanup(program.stdout.close)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        program.stdout.readline()
        return program

    def test_running_work_finishes_and_nothing_new_begins(self):
        program = self.start(LONG_WORK, "queue", "20", "50")
        time.sleep(0.2)
        self.mediator.process.terminate()
        wait_until(lambda: not os.path.exists(self.mediator.process_socket), 2, "it does not listen")
        status, output = self.run_to_end(DRIVER_API)
        self.assertNotEqual(status, 0, output)
        output = program.stdout.read()
        self.assertEqual(program.wait(), 0, output + self.mediator.log())
        self.assertEqual(self.mediator.process.wait(timeout=10 * PATIENCE), 0)

    def test_work_that_takes_too_long_is_ended_and_the_program_told(self):
        program = self.start(LONG_WORK, "queue", "200", "50")
        time.sleep(0.2)  # until the first is under way
        begin = time.monotonic()
        self.assertEqual(self.terminate(), 0)
        self.assertGreater(time.monotonic() - begin, 2.9)
        self.assertIn("still has work, and loses it", self.mediator.log())
        self.assertIn("1 of 1 channels lost their work", self.mediator.log())
        output = program.stdout.read()
        self.assertIn("vgpu: connection lost", output)
        self.assertIn("CUDA_ERROR_DEVICE_UNAVAILABLE", output)
        self.manager.start()
        self.manager.hear("READY=1")
        self.assertEqual(self.run_to_end(DRIVER_API)[0], 0)

    def test_idle_programs_are_not_waited_for(self):
        self.start(LONG_WORK, "idle", "60")
        time.sleep(0.3)
        begin = time.monotonic()
        self.assertEqual(self.terminate(), 0)
        self.assertLess(time.monotonic() - begin, 1.5 * PATIENCE)

    def test_the_second_signal_waits_for_nobody(self):
        self.start(LONG_WORK, "hang")
        self.mediator.process.terminate()
        time.sleep(0.5)
        self.assertIsNone(self.mediator.process.poll())
        begin = time.monotonic()
        self.assertEqual(self.terminate(), 0)
        self.assertLess(time.monotonic() - begin, 1.5 * PATIENCE)


if __name__ == "__main__":
    unittest.main()
