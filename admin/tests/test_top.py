# SPDX-License-Identifier: MIT
"""vgpu-admin top in a terminal: what it draws, how it follows keys and the window, how it leaves.
What it asks is answered here, so that each VM's part of the GPU is known."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time
import unittest

from fixture import ADMIN

VMS = 40


class Answers:
    """As the mediator would: VM i gets i times as much GPU time as VM 1, and less memory."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="vgpu-top-")
        self.path = f"{self.folder.name}/admin.sock"
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.path)
        self.server.listen()
        self.start = time.monotonic_ns()
        self.peer, self.looks = None, 0
        threading.Thread(target=self.serve, daemon=True).start()

    def rows(self):
        passed = time.monotonic_ns() - self.start
        return [{"vm": f"vm{i:02}", "gpu_ns": passed * i // 1000, "calls": passed * (i * 7 % VMS) // 1000,
                 "to_device_bytes": passed // 100, "from_device_bytes": 0,
                 "memory_used_bytes": (100 - i) << 20, "memory_quota_bytes": 1 << 30,
                 "p99_ns": 5000, "channels": 1} for i in range(VMS)]

    def serve(self):
        while True:
            try:
                self.peer, _ = self.server.accept()
            except OSError:
                return  # closed
            for line in iter(lambda: self.peer.recv(4096), b""):
                verb = json.loads(line)["verb"]
                result = self.rows() if verb == "show-metrics" else {
                    "gpu": "Test GPU", "memory_total_bytes": 16 << 30}
                self.peer.sendall(
                    json.dumps({"ok": True, "result": result, "notes": []}).encode() + b"\n")
                if verb == "show-metrics":
                    self.looks += 1

    def hang_up(self):
        self.peer.shutdown(socket.SHUT_RDWR)

    def close(self):
        if self.peer:
            self.peer.close()
        self.server.close()
        self.folder.cleanup()


class Piped(unittest.TestCase):
    def setUp(self):
        self.answers = Answers()
        self.addCleanup(self.answers.close)

    def start(self, *words):
        program = subprocess.Popen([ADMIN, f"--socket={self.answers.path}", "top", *words],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(program.stderr.close)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        return program

    def test_it_ends_when_its_reader_does(self):
        for interval in ("0.1", "3600"):
            program = self.start(f"--interval={interval}")
            if interval == "0.1":
                self.assertTrue(program.stdout.readline().startswith("VM"))
            program.stdout.close()
            self.assertIn(program.wait(10), (0, 1))
            self.assertEqual(program.stderr.read(), "")

    def test_who_looks_seldom_connects_anew(self):
        program = self.start("--interval=1.5", "--count=1")
        while not self.answers.looks and program.poll() is None:
            time.sleep(0.01)
        self.answers.hang_up()  # as the mediator does after a minute of silence
        self.assertIn("vm39", program.communicate(timeout=60)[0])
        self.assertEqual(program.returncode, 0)


class Top(unittest.TestCase):
    def setUp(self):
        self.answers = Answers()
        self.addCleanup(self.answers.close)
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            time.sleep(0.1)  # for the size
            os.execv(ADMIN, [ADMIN, f"--socket={self.answers.path}", "top", "--interval=0.2"])
        self.addCleanup(os.close, self.terminal)
        self.before = termios.tcgetattr(self.terminal)
        self.output = b""
        self.seen = 0
        self.resize(24, 132)

    def resize(self, rows, columns):
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        if select.select([self.terminal], [], [], 0.05)[0]:
            try:
                self.output += os.read(self.terminal, 65536)
            except OSError:
                pass  # it has ended

    def page(self, accept=lambda lines: True):
        """The lines of the next whole page that is accepted."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            self.read()
            pages = self.output.split(b"\x1b[H")[1:]
            for page in pages[self.seen:-1]:
                self.seen += 1
                text = re.sub(r"\x1b\[\??[0-9]*[A-Za-z]", "", page.decode())
                lines = re.split(r"\r+\n", text)
                if accept(lines):
                    return lines
        self.fail(f"no such page: {self.output[-3000:].decode(errors='replace')}")

    def names(self, lines):
        return [line.split()[0] for line in lines if line.startswith("vm")]

    def key(self, key):
        os.write(self.terminal, key)

    def ended(self):
        """Waits for the end; its exit status."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.read()
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.fail("it goes on")

    def test_the_busiest_are_on_top_and_the_page_fits(self):
        lines = self.page(lambda lines: "vm39" in "".join(lines) and " 0.1%" not in "".join(lines)
                          and "% busy" in lines[0] and " 0% busy" not in lines[0])
        self.assertEqual(len(lines), 24)
        self.assertIn("Test GPU", lines[0])
        self.assertRegex(lines[0], r" \d+% busy, .* of 16G in use, 40 VMs")
        self.assertRegex(lines[3], r"^VM +GPU +CALLS/S +TO DEVICE/S")
        self.assertEqual(self.names(lines)[:5], ["vm39", "vm38", "vm37", "vm36", "vm35"])
        self.assertEqual(lines[-1], f"{VMS - len(self.names(lines))} more")
        self.key(b"q")
        self.assertEqual(self.ended(), 0)

    def test_keys_sort(self):
        self.page()
        for key, first in ((b"m", ["vm00", "vm01", "vm02"]), (b"n", ["vm00", "vm01", "vm02"]),
                           (b"c", ["vm17", "vm34", "vm11"]), (b"g", ["vm39", "vm38", "vm37"])):
            self.key(key)
            name = {b"m": "memory", b"n": "name", b"c": "calls", b"g": "GPU"}[key]
            lines = self.page(lambda lines: lines[1].startswith(f"by {name};"))
            self.assertEqual(self.names(lines)[:3], first)
        self.key(b"x")  # no key of ours
        self.page()
        self.key(b"q")
        self.assertEqual(self.ended(), 0)

    def test_it_follows_the_window(self):
        self.page()
        self.resize(10, 40)
        lines = self.page(lambda lines: len(lines) <= 10)
        self.assertEqual(len(lines), 10)
        self.assertTrue(all(len(line) <= 40 for line in lines), lines)
        self.assertEqual(lines[-1], f"{VMS - len(self.names(lines))} more")
        self.resize(60, 200)
        lines = self.page(lambda lines: len(self.names(lines)) == VMS)
        self.assertFalse(lines[-1].endswith("more"))
        for tiny in ((1, 1), (2, 3)):
            self.resize(*tiny)
            self.page(lambda lines: len(lines) == tiny[0])
        self.key(b"q")
        self.assertEqual(self.ended(), 0)

    def left_as_it_was(self):
        self.assertIn(b"\x1b[?25h\x1b[?1049l", self.output)
        self.assertEqual(termios.tcgetattr(self.terminal)[:4], self.before[:4])

    def test_the_terminal_is_left_as_it_was(self):
        self.page()
        self.assertNotEqual(termios.tcgetattr(self.terminal)[3], self.before[3])
        self.key(b"\x03")
        self.assertEqual(self.ended(), 0)
        self.left_as_it_was()

    def test_a_signal_ends_it(self):
        self.page()
        os.kill(self.pid, signal.SIGTERM)
        self.assertEqual(self.ended(), 0)
        self.left_as_it_was()

    def test_a_mediator_that_goes_is_told_of_on_the_terminal_that_is_left(self):
        self.page()
        self.answers.hang_up()
        self.assertEqual(self.ended(), 3)
        self.left_as_it_was()
        self.assertIn(b"hung up", self.output.split(b"\x1b[?1049l")[-1])


if __name__ == "__main__":
    unittest.main()
