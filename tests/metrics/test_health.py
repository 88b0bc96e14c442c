#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The host GPU's health, from a management library that says what the test wants."""
import json
import os
import socket
import time
import unittest

from exporter import Exporter
from harness import PATIENCE, wait_until

WELL = {"temperature": 41, "slowdown": 95, "power": 251500, "power_limit": 700000,
        "clock_sm": 1980, "clock_events": 0, "ecc": 1, "corrected": 3, "uncorrected": 0,
        "utilization": 37, "memory_used": 5 << 30}


class HealthTest(unittest.TestCase):
    def setUp(self):
        self.mediator = Exporter()
        self.file = os.path.join(self.mediator.folder, "nvml")
        self.say()
        before = os.environ.get("LD_LIBRARY_PATH")
        os.environ["LD_LIBRARY_PATH"] = os.environ["FAKE_NVML_LIBRARY"]
        os.environ["FAKE_NVML"] = self.file
        try:
            self.mediator.start()
        finally:
            del os.environ["FAKE_NVML"], os.environ["LD_LIBRARY_PATH"]
            if before is not None:
                os.environ["LD_LIBRARY_PATH"] = before

    def tearDown(self):
        self.mediator.stop()

    def say(self, **changes):
        with open(self.file + ".new", "w", encoding="ascii") as file:
            file.writelines(f"{word} {number}\n"
                            for word, number in (WELL | changes).items() if number is not None)
        os.rename(self.file + ".new", self.file)

    def gpu(self):
        """Metrics of the GPU by name and labels other than the GPU's."""
        return {(name, *(value for label, value in sorted(labels) if label != "gpu_uuid")): value
                for (name, labels), value in self.mediator.metrics().items()
                if name.startswith("vgpu_gpu_")}

    def ask(self, verb):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(5 * PATIENCE)
            client.connect(self.mediator.admin_socket)
            stream = client.makefile("rw")
            stream.write(json.dumps({"verb": verb}) + "\n")
            stream.flush()
            return json.loads(stream.readline())

    def told(self):
        """What events say of the GPU's health."""
        return [event["text"] for event in self.ask("events")["result"] if event["kind"] == "health"]

    def test_signals_are_the_mediators_whatever_threads_the_library_has(self):
        self.mediator.process.terminate()
        self.assertEqual(self.mediator.process.wait(timeout=20 * PATIENCE), 0)

    def test_readings_are_in_base_units(self):
        gpu = self.gpu()
        for name, value in (("temperature_celsius", 41), ("slowdown_temperature_celsius", 95),
                            ("power_watts", 251.5), ("power_limit_watts", 700),
                            ("utilization_ratio", 0.37), ("memory_used_bytes", 5 << 30),
                            ("ecc_enabled", 1), ("health", 1)):
            self.assertEqual(gpu["vgpu_gpu_" + name,], value, name)
        self.assertEqual(gpu["vgpu_gpu_clock_hertz", "sm"], 1980e6)
        self.assertEqual(gpu["vgpu_gpu_ecc_errors_total", "corrected"], 3)
        self.assertEqual(gpu["vgpu_gpu_throttled", "hw_thermal"], 0)
        # what the library does not know is left out, and not 0
        self.assertNotIn(("vgpu_gpu_fan_ratio",), gpu)
        self.assertNotIn(("vgpu_gpu_memory_temperature_celsius",), gpu)

    def test_readings_follow_the_gpu(self):
        self.say(temperature=90, clock_events=0x40, power=None)
        wait_until(lambda: self.gpu()["vgpu_gpu_temperature_celsius",] == 90, 10, "it is warm")
        gpu = self.gpu()
        self.assertEqual(gpu["vgpu_gpu_throttled", "hw_thermal"], 1)
        self.assertNotIn(("vgpu_gpu_power_watts",), gpu)

    def test_errors_are_counted_and_those_of_programs_are_no_trouble(self):
        before = time.time()
        self.say(xid=31)
        wait_until(lambda: ("vgpu_gpu_xid_errors_total", "31") in self.gpu(), 10, "an error")
        gpu = self.gpu()
        self.assertEqual(gpu["vgpu_gpu_xid_errors_total", "31"], 1)
        self.assertAlmostEqual(gpu["vgpu_gpu_xid_last_timestamp_seconds", "31"], before,
                               delta=20 * PATIENCE)
        self.assertEqual(gpu["vgpu_gpu_health",], 1)
        wait_until(lambda: self.told() == ["error of the GPU: XID 31 (1 since the mediator started)"],
                   10, "an event")
        self.say(xid=79)
        wait_until(lambda: self.gpu()["vgpu_gpu_health",] == 0, 10, "the GPU has fallen off")
        health = self.ask("show-health")
        self.assertEqual(health["result"]["health"], "trouble")
        self.assertEqual(health["result"]["xid_errors"], "31 (1), 79 (1)")
        self.assertTrue(any("reset it" in note for note in health["notes"]), health)
        wait_until(lambda: len(self.told()) == 3, 10, "events of the error, and of the trouble")
        self.assertIn("XID 79 (1 since", self.told()[1])
        self.assertIn("reset it", self.told()[2])
        self.assertIn("stop the VMs and reset it", self.mediator.log())

    def test_a_lost_gpu_is_trouble(self):
        self.say(lost=1)
        wait_until(lambda: self.gpu()["vgpu_gpu_health",] == 0, 10, "the GPU is lost")
        self.assertIn("lost", self.ask("show-health")["notes"][0])
        wait_until(lambda: len(self.told()) == 1, 10, "an event")
        self.assertIn("lost", self.told()[0])

    def test_a_library_that_hangs_stops_nobody(self):
        self.assertEqual(self.gpu()["vgpu_gpu_temperature_celsius",], 41)
        self.say(hang=1)
        time.sleep(1.5)  # it has asked again
        start = time.monotonic()
        for _ in range(5):
            self.assertEqual(self.ask("show-health")["result"]["temperature_celsius"], 41)
            self.assertEqual(self.gpu()["vgpu_gpu_temperature_celsius",], 41)
        self.assertLess(time.monotonic() - start, 5 * PATIENCE)
        age = self.gpu()["vgpu_gpu_readings_age_seconds",]
        time.sleep(1.2)
        self.assertGreater(self.gpu()["vgpu_gpu_readings_age_seconds",], age + 1)


if __name__ == "__main__":
    unittest.main()
