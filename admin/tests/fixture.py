# SPDX-License-Identifier: MIT
"""A mediator with workers that only pretend, and vgpu-admin as its users meet it."""
import json
import os
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import unittest

ADMIN = os.environ["VGPU_ADMIN"]
UUID = "6f1d2c3e-8f4a-5b6c-9d7e-0a1b2c3d4e5f"


class Mediator:
    def __init__(self, settings=""):
        self.folder = tempfile.TemporaryDirectory(prefix="vgpu-admin-")
        folder = self.folder.name
        self.socket = f"{folder}/admin.sock"
        self.config = f"{folder}/vgpu.ini"
        self.store = f"{folder}/vgpu.db"
        with open(self.config, "w") as file:
            file.write(f"[mediator]\ndriver=soft\nsoft-library=/nowhere/libvgpu-soft.so\n"
                       f"worker={os.environ['FAKE_WORKER']}\nspare-workers=0\n"
                       f"device-socket={folder}/device.sock\n"
                       f"process-socket={folder}/process.sock\nadmin-socket={self.socket}\n"
                       f"image-cache=none\nmetrics=none\n{settings.format(folder=folder)}\n")
        self.log = open(f"{folder}/log", "w")
        self.start()

    def start(self):
        folder = self.folder.name
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(f"{folder}/notify")
        notify.settimeout(30)
        self.process = subprocess.Popen(
            [os.environ["VGPU_MEDIATOR"], "--config", self.config], stderr=self.log,
            env={**os.environ, "NOTIFY_SOCKET": f"{folder}/notify"})
        while b"READY=1" not in notify.recv(4096):
            pass
        notify.close()
        os.unlink(f"{folder}/notify")

    def dump(self):
        """All that the store says, without the audit, which keeps what was refused as well."""
        store = sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)
        lines = [line for line in store.iterdump() if not line.startswith('INSERT INTO "audit"')
                 and "sqlite_sequence" not in line]
        store.close()
        return lines

    def logged(self):
        with open(self.log.name) as file:
            return file.read()

    def connect(self):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(self.socket)
        client.settimeout(10)
        return client

    def is_stopped(self):
        """By a test. One that looks for leaks as it ends must not get a signal to go on: that takes
        away the one which the look waits for."""
        try:
            with open(f"/proc/{self.process.pid}/stat") as file:
                return file.read().rpartition(")")[2].split()[0] == "T"
        except OSError:
            return False

    def close(self):
        ended = self.process.poll() is not None
        if self.is_stopped():
            self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        status = self.process.wait(10)
        said = "" if ended or status == 0 else self.logged()
        self.log.close()
        self.folder.cleanup()
        if said:
            raise AssertionError(f"the mediator ended with {status}: {said}")


class Case(unittest.TestCase):
    settings = "store={folder}/vgpu.db"

    def setUp(self):
        self.mediator = Mediator(self.settings)
        self.addCleanup(self.mediator.close)

    def run_admin(self, *words, **options):
        return subprocess.run([ADMIN, f"--socket={self.mediator.socket}", *words],
                              capture_output=True, text=True, timeout=30, check=False, **options)

    def done(self, *words):
        result = self.run_admin(*words)
        self.assertEqual(result.returncode, 0, (words, result.stderr))
        return result.stdout

    def json(self, *words):
        return json.loads(self.done(*words, "--output=json"))

    def fails(self, status, text, *words):
        result = self.run_admin(*words)
        self.assertEqual(result.returncode, status, (words, result.stderr))
        self.assertEqual(result.stdout, "")
        self.assertIn(text, result.stderr)

    def connect(self):
        client = self.mediator.connect()
        self.addCleanup(client.close)
        return client

    def ask(self, client, **request):
        """One request and its answer, by hand."""
        client.sendall(json.dumps(request).encode() + b"\n")
        return json.loads(self.line(client))

    def line(self, client):
        text = b""
        while not text.endswith(b"\n"):
            piece = client.recv(1)
            self.assertTrue(piece, "hung up")
            text += piece
        return text

    def await_true(self, condition, what, seconds=10):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, f"not within {seconds} s: {what}")
            time.sleep(0.01)
