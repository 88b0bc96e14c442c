# SPDX-License-Identifier: MIT
"""What the integration tests share: a private mediator, programs that use it, and patience."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

BUILD = os.environ["VGPU_BUILD"]
# Machines differ in speed, and sanitizers slow everything down: limits are multiplied by this.
PATIENCE = float(os.environ.get("VGPU_TEST_PATIENCE", "1"))


def built(*path):
    return os.path.join(BUILD, *path)


def for_other_programs(environment):
    """For programs that were not built here: a sanitizer that is in our libraries has to be the
    first thing in them, and what they leak is not ours."""
    said = subprocess.run(["ldd", built("soft", "driver", "libvgpu-soft.so")], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    sanitizers = [line.split()[2] for line in said.splitlines() if "libasan" in line]
    if not sanitizers:
        return environment
    return dict(environment, LD_PRELOAD=sanitizers[0], ASAN_OPTIONS="detect_leaks=0")


def wait_until(condition, seconds, what):
    """Returns the seconds it took; fails when `condition` stays false."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds * PATIENCE:
            raise AssertionError(f"not within {seconds * PATIENCE:.1f} s: {what}")
        time.sleep(0.01)
    return time.monotonic() - start


def parent(pid):
    """The parent of a process; None when it has ended, whether or not somebody has reaped it."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            state, number = stat.read().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state in "ZX" else int(number)


def children(pid):
    return [int(entry) for entry in os.listdir("/proc")
            if entry.isdigit() and parent(entry) == pid]


class Mediator:
    """A mediator of one's own, in a folder of its own, on the software GPU unless VGPU_TEST_DRIVER
    names another driver (cuda, on a machine with an NVIDIA GPU)."""

    def __init__(self, settings="", driver=os.environ.get("VGPU_TEST_DRIVER", "soft"),
                 fault_limit=0, vm_settings=""):
        self.folder = tempfile.mkdtemp(prefix="vgpu-test-")
        self.device_socket = os.path.join(self.folder, "device.sock")
        self.process_socket = os.path.join(self.folder, "process.sock")
        self.admin_socket = os.path.join(self.folder, "admin.sock")
        self.config = os.path.join(self.folder, "vgpu.ini")
        self.image_cache = os.path.join(self.folder, "images")
        self.driver = driver
        with open(self.config, "w", encoding="utf-8") as file:
            # Tests kill workers as they like.
            file.write(f"[vm uid-{os.getuid()}]\nfault-limit={fault_limit}\n{vm_settings}\n"
                       f"[mediator]\ndevice-socket={self.device_socket}\n"
                       f"process-socket={self.process_socket}\nadmin-socket={self.admin_socket}\n"
                       f"image-cache={self.image_cache}\n"
                       + ("" if "metrics=" in settings else "metrics=none\n")
                       + ("" if "spare-workers" in settings else "spare-workers=0\n") + settings)
        self.variables = {}  # of its environment, beside ours
        self.log_path = os.path.join(self.folder, "mediator.log")
        self.process = None

    def start(self):
        notify_path = os.path.join(self.folder, "notify.sock")
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        if os.path.exists(notify_path):
            os.unlink(notify_path)
        notify.bind(notify_path)
        notify.settimeout(20 * PATIENCE)
        with open(self.log_path, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [built("mediator", "vgpu-mediator"), "--config", self.config,
                 f"--driver={self.driver}"],
                stderr=log, stdout=log,
                env=dict(os.environ, NOTIFY_SOCKET=notify_path, **self.variables))
        try:
            while b"READY=1" not in notify.recv(4096):
                pass
        except socket.timeout:
            raise AssertionError("the mediator did not get ready:\n" + self.log()) from None
        finally:
            notify.close()
        return self

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=10 * PATIENCE)
        shutil.rmtree(self.folder, ignore_errors=True)

    def workers(self):
        return children(self.process.pid)

    def environment(self):
        libraries = [built("guest", "lib"), os.environ.get("LD_LIBRARY_PATH")]
        return dict(os.environ, VGPU_SOCKET=self.process_socket,
                    LD_LIBRARY_PATH=":".join(filter(None, libraries)))

    def run(self, *command, **options):
        return subprocess.Popen(command, env=self.environment(), stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, **options)

    def status(self):
        """What the admin socket says of each VM: field names to text, numbers as int."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(5 * PATIENCE)
            client.connect(self.admin_socket)
            client.shutdown(socket.SHUT_WR)
            text = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        names, *rows = text.strip("\n").split("\n\n")[1].split("\n")
        return [{name: int(value) if value.isdigit() else value
                 for name, value in zip(names.split("\t"), row.split("\t"))} for row in rows]

    def idle(self, name=None):
        """True if nothing is left of what a VM (all of them without a name) has run."""
        return all((vm["workers"], vm["channels_open"], vm["memory_used"]) == (0, 0, 0)
                   for vm in self.status() if name in (None, vm["vm"]))
