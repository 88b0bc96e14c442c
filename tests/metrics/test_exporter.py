#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""GET /metrics of a mediator: what it says is what happened, and nobody who asks, or does not, or
does not listen, keeps others from being served."""
import http.client
import os
import shutil
import socket
import subprocess
import time
import unittest

from exporter import Exporter, families, parse
from harness import PATIENCE, built, wait_until

HISTOGRAMS = ("vgpu_vm_queue_wait_seconds", "vgpu_vm_call_duration_seconds",
              "vgpu_vm_round_trip_seconds")
USER = f"uid-{os.getuid()}"


class AnswersTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mediator = Exporter().start()
        program = cls.mediator.run(built("demo", "driver_api"))
        output = program.communicate(timeout=60 * PATIENCE)[0]
        assert program.returncode == 0, output
        wait_until(cls.mediator.idle, 5, "the program is gone")

    @classmethod
    def tearDownClass(cls):
        cls.mediator.stop()

    def test_counts_are_those_of_the_admin_socket(self):
        status, metrics = self.mediator.status()[0], self.mediator.metrics()
        calls = sum(value for (name, labels), value in metrics.items()
                    if name == "vgpu_vm_calls_total")
        self.assertEqual(calls, status["calls"])
        vm = ("domain", USER)
        self.assertEqual(metrics["vgpu_vm_bytes_total", frozenset({vm, ("direction", "h2d")})],
                         status["bytes_to_device"])
        self.assertAlmostEqual(metrics["vgpu_vm_gpu_busy_seconds_total", frozenset({vm})],
                               status["gpu_ns"] / 1e9, places=9)
        self.assertGreater(status["gpu_ns"], 0)
        launches = metrics["vgpu_vm_calls_total",
                           frozenset({vm, ("class", "launch"), ("result", "ok")})]
        self.assertEqual(launches, 3)  # demo/driver_api.c has three kernels
        pool = frozenset({("pool", "A")})
        self.assertEqual(metrics["vgpu_pool_calls_total", pool], calls)

    def test_histograms_add_up(self):
        metrics = self.mediator.metrics()
        for family in HISTOGRAMS:
            series = {labels for name, labels in metrics if name == family + "_count"}
            self.assertTrue(series, family)
            for labels in series:
                buckets = sorted((float(dict(found)["le"]), value)
                                 for (name, found), value in metrics.items()
                                 if name == family + "_bucket" and labels < found)
                values = [value for _, value in buckets]
                self.assertEqual(values, sorted(values))
                self.assertEqual(values[-1], metrics[family + "_count", labels])
                self.assertGreater(values[-1], 0)
                self.assertGreater(metrics[family + "_sum", labels], 0)

    def test_each_metric_is_declared_once_before_its_samples(self):
        text = self.mediator.text()
        types, seen, current = families(text), set(), None
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                current = line.split()[2]
                self.assertNotIn(current, seen)
                seen.add(current)
            elif not line.startswith("#"):
                name = line.split("{")[0].split(" ")[0]
                if types[current] == "histogram":
                    name = name.rpartition("_")[0]
                self.assertEqual(name, current)

    def test_promtool_has_nothing_to_say(self):
        if not shutil.which("promtool"):
            self.skipTest("promtool is not installed")
        done = subprocess.run(["promtool", "check", "metrics"], input=self.mediator.text(),
                              text=True, capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_other_paths_and_methods_are_refused(self):
        for method, path, status in (("GET", "/", 404), ("GET", "/metrics/", 404),
                                     ("POST", "/metrics", 405), ("DELETE", "/metrics", 405),
                                     ("HEAD", "/metrics", 200), ("GET", "/metrics?x=1", 200)):
            connection = http.client.HTTPConnection(*self.mediator.address(), timeout=10)
            connection.request(method, path, body="x" * 100 if method == "POST" else None)
            answer = connection.getresponse()
            self.assertEqual(answer.status, status, (method, path))
            answer.read()
            connection.close()

    def test_garbage_harms_nobody(self):
        for garbage in (b"\0" * 100, b"GET /metrics HTTP/9.9\r\n\r\n", b"x" * 100000,
                        b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 10000,
                        b"GET " + b"/" * 50000 + b" HTTP/1.1\r\n\r\n",
                        b"GET /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                        b"POST /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"):
            with socket.create_connection(self.mediator.address(), timeout=1) as client:
                try:
                    client.sendall(garbage)
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(65536):
                        pass
                except OSError:  # it has hung up, or waits for more
                    pass
        self.assertIn("vgpu_build_info", self.mediator.text())


class CrowdTest(unittest.TestCase):
    """Clients that do harm; after each, others are served at once."""

    def setUp(self):
        self.mediator = Exporter().start()
        self.crowd = []

    def tearDown(self):
        for client in self.crowd:
            client.close()
        self.mediator.stop()

    def join(self, said):
        client = socket.create_connection(self.mediator.address(), timeout=10)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(said)
        self.crowd.append(client)

    def check(self):
        start = time.monotonic()
        self.assertIn("vgpu_build_info", self.mediator.text())
        self.assertEqual(self.mediator.status(), [])
        self.assertLess(time.monotonic() - start, 5 * PATIENCE)  # far below any time-out

    def test_who_says_nothing_keeps_nobody_waiting(self):
        for _ in range(200):
            self.join(b"")
        self.check()

    def test_who_never_ends_a_request_keeps_nobody_waiting(self):
        for _ in range(100):
            self.join(b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: ")
        self.check()
        for client in self.crowd:
            try:
                client.send(b"b")
            except OSError:
                pass
        self.check()

    def test_who_does_not_read_keeps_nobody_waiting(self):
        for _ in range(100):
            self.join(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        self.check()

    def test_descriptors_come_back(self):
        before = self.mediator.value("process_open_fds")
        for _ in range(50):
            self.join(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        for client in self.crowd:
            client.close()
        wait_until(lambda: self.mediator.value("process_open_fds") <= before + 1, 20,
                   "the connections are gone")


class PlaceTest(unittest.TestCase):
    def test_without_a_place_vms_are_served(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            mediator = Exporter(address="127.0.0.1:%d" % taken.getsockname()[1])
            try:
                mediator.start()
                self.assertIn("there are no metrics: ", mediator.log())
                self.assertIn("Address already in use", mediator.log())
                self.assertEqual(mediator.status(), [])
            finally:
                mediator.stop()

    def test_an_address_of_version_6_will_do(self):
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            self.skipTest("this machine has no IPv6")
        mediator = Exporter(address="[::1]:0").start()
        try:
            self.assertIn("http://[::1]:", mediator.url())
            self.assertIn("vgpu_build_info", mediator.text())
        finally:
            mediator.stop()

    def test_counters_outlast_the_worker_that_counted(self):
        mediator = Exporter().start()
        try:
            last = {}
            for _ in range(2):
                program = mediator.run(built("demo", "driver_api"))
                while program.poll() is None:
                    last = self.grown(last, mediator)
                program.communicate()
                last = self.grown(last, mediator)
        finally:
            mediator.stop()

    def grown(self, last, mediator):
        text = mediator.text()
        types = families(text)
        now = {key: value for key, value in parse(text).items()
               if types.get(key[0], "histogram") != "gauge"}
        for key, value in last.items():
            self.assertGreaterEqual(now[key], value, key)
        return now


if __name__ == "__main__":
    unittest.main()
