#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A real Prometheus reads a mediator; alert rules and dashboards ask for what there is."""
import glob
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import unittest
import urllib.error
import urllib.parse
import urllib.request

from exporter import Exporter, families
from harness import PATIENCE, built, wait_until

INTEGRATIONS = os.path.join(os.environ["VGPU_SOURCE"], "integrations")
RULES = os.path.join(INTEGRATIONS, "prometheus", "vgpu.rules.yml")
BOARDS = sorted(glob.glob(os.path.join(INTEGRATIONS, "grafana", "*.json")))
USER = f"uid-{os.getuid()}"
METRIC = re.compile(r"\b(?:vgpu|process)_[a-z0-9_]+")
READINGS = {"temperature": 41, "slowdown": 95, "power": 251500, "power_limit": 700000,
            "clock_sm": 1980, "clock_events": 0, "ecc": 1, "corrected": 0, "uncorrected": 0,
            "utilization": 37, "memory_used": 5 << 30, "xid": 31}
# Of metrics that are only there while there is something to tell: the fake library knows no such
# reading, and the VM has no such limit.
MAY_BE_EMPTY = {"vgpu_gpu_memory_temperature_celsius", "vgpu_vm_queue_limit",
                "vgpu_vm_queue_depth"}


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def panels(board):
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(board):
    """(title of the panel, expression), with the variables' values put in."""
    values = {"$__rate_interval": "1m", "$instance": ".+", "$domain": USER}
    for panel in panels(board):
        for target in panel["targets"]:
            text = target["expr"]
            for name, value in values.items():
                text = text.replace(name, value)
            yield panel["title"], text


def names_in(text, types):
    """Metrics in an expression, as they are declared."""
    for name in METRIC.findall(re.sub(r'"[^"]*"', '""', text)):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        yield base if types.get(base) == "histogram" else name


class FilesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        mediator = Exporter().start()
        try:
            cls.types = families(mediator.text())
        finally:
            mediator.stop()

    def test_rules_are_good_and_do_what_their_tests_say(self):
        for command in (["check", "rules", RULES],
                        ["test", "rules", RULES.replace(".rules.yml", ".rules.test.yml")]):
            done = subprocess.run(["promtool", *command], capture_output=True, text=True,
                                  check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_each_rule_has_a_test_in_which_it_speaks_and_one_in_which_it_is_silent(self):
        with open(RULES, encoding="utf-8") as file:
            alerts = re.findall(r"alert: (\w+)", file.read())
        with open(RULES.replace(".rules.yml", ".rules.test.yml"), encoding="utf-8") as file:
            tests = file.read()
        self.assertGreater(len(alerts), 10)
        for alert in alerts:
            spoken = re.search(r"alertname: %s\n +exp_alerts:" % alert, tests)
            self.assertTrue(spoken, alert)
            self.assertIn("alertname: %s}" % alert, tests)

    def test_rules_ask_for_metrics_that_there_are(self):
        with open(RULES, encoding="utf-8") as file:
            expressions = re.findall(r"expr: (?:>-\n)?(.*?)\n +(?:for|labels):", file.read(), re.S)
        self.assertGreater(len(expressions), 10)
        for text in expressions:
            for name in names_in(text, self.types):
                self.assertIn(name, self.types)

    def test_dashboards_ask_for_metrics_that_there_are(self):
        self.assertEqual(len(BOARDS), 2)
        for path in BOARDS:
            for title, text in queries(load(path)):
                found = list(names_in(text, self.types))
                self.assertTrue(found, text)
                for name in found:
                    self.assertIn(name, self.types, f"{path}: {title}")
                self.assertNotIn("$", text, f"{path}: {title}")

    def test_counters_are_asked_for_their_growth(self):
        for path in BOARDS:
            for title, text in queries(load(path)):
                for name in names_in(text, self.types):
                    if self.types[name] == "counter":
                        self.assertRegex(text, r"(rate|increase)\(" + name, f"{path}: {title}")

    def test_dashboards_are_whole(self):
        for path in BOARDS:
            board = load(path)
            self.assertFalse(board["editable"])
            self.assertEqual(board["uid"] + ".json", os.path.basename(path))
            ids = [panel["id"] for panel in board["panels"]]
            self.assertEqual(len(ids), len(set(ids)))
            places = set()
            for panel in board["panels"]:
                place = panel["gridPos"]
                self.assertLessEqual(place["x"] + place["w"], 24)
                for x in range(place["x"], place["x"] + place["w"]):
                    for y in range(place["y"], place["y"] + place["h"]):
                        self.assertNotIn((x, y), places, panel["title"])
                        places.add((x, y))
            for panel in panels(board):
                for key in ("title", "description"):
                    self.assertTrue(panel[key], panel)
                self.assertTrue(panel["fieldConfig"]["defaults"]["unit"], panel["title"])
                for target in panel["targets"]:
                    self.assertEqual(target["datasource"]["uid"], "${datasource}")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class ServerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mediator = Exporter()
        readings = os.path.join(cls.mediator.folder, "nvml")
        with open(readings, "w", encoding="ascii") as file:
            file.writelines(f"{word} {number}\n" for word, number in READINGS.items())
        before = os.environ.get("LD_LIBRARY_PATH")
        os.environ.update(LD_LIBRARY_PATH=os.environ["FAKE_NVML_LIBRARY"], FAKE_NVML=readings)
        cls.server = None
        try:
            cls.mediator.start()
        finally:
            os.environ.pop("FAKE_NVML")
            os.environ.pop("LD_LIBRARY_PATH")
            if before is not None:
                os.environ["LD_LIBRARY_PATH"] = before
        try:
            cls.start_server()
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def start_server(cls):
        folder = os.path.join(cls.mediator.folder, "prometheus")
        os.mkdir(folder)
        config = os.path.join(folder, "prometheus.yml")
        with open(os.path.join(INTEGRATIONS, "prometheus", "vgpu.scrape.yml"),
                  encoding="utf-8") as file:
            text = file.read()
        # as it is delivered, but for where things are
        text = text.replace("127.0.0.1:9841", "%s:%d" % cls.mediator.address())
        text = text.replace("- vgpu.rules.yml", "- " + RULES)
        with open(config, "w", encoding="utf-8") as file:
            file.write("global: {scrape_interval: 1s, evaluation_interval: 1s}\n" + text)
        subprocess.run(["promtool", "check", "config", config], check=True, capture_output=True)
        port = free_port()
        cls.url = f"http://127.0.0.1:{port}"
        cls.log = os.path.join(folder, "log")
        with open(cls.log, "w", encoding="utf-8") as log:
            cls.server = subprocess.Popen(
                ["prometheus", "--config.file", config, "--storage.tsdb.path", folder + "/data",
                 f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
        wait_until(cls.is_ready, 30, "Prometheus is ready")

    @classmethod
    def tearDownClass(cls):
        if cls.server:
            cls.server.terminate()
            cls.server.wait()
        cls.mediator.stop()

    @classmethod
    def is_ready(cls):
        if cls.server.poll() is not None:
            with open(cls.log, encoding="utf-8") as file:
                raise AssertionError("Prometheus has ended:\n" + file.read())
        try:
            with urllib.request.urlopen(cls.url + "/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def api(self, path, **parameters):
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=20 * PATIENCE) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None
        self.assertEqual(found["status"], "success")
        return found["data"]

    def query(self, text):
        """Labels and values of an instant query."""
        return [(row["metric"], float(row["value"][1]))
                for row in self.api("query", query=text)["result"]]

    def value(self, text):
        rows = self.query(text)
        return rows[0][1] if len(rows) == 1 else None

    def test_1_it_reads_what_the_mediator_counts(self):
        wait_until(lambda: self.value('up{job="vgpu"}') == 1, 20, "it has been read")
        program = self.mediator.run(built("demo", "driver_api"))
        output = program.communicate(timeout=60 * PATIENCE)[0]
        self.assertEqual(program.returncode, 0, output)
        wait_until(self.mediator.idle, 10, "the program is gone")
        status = self.mediator.status()[0]
        wait_until(lambda: self.value(f'sum(vgpu_vm_calls_total{{domain="{USER}"}})') ==
                   status["calls"], 20, "the calls are counted")
        self.assertAlmostEqual(
            self.value(f'vgpu_vm_gpu_busy_seconds_total{{domain="{USER}"}}'),
            status["gpu_ns"] / 1e9, places=6)
        self.assertEqual(self.value("sum(vgpu_vm_gpu_busy_seconds_total) "
                                    "- sum(vgpu_gpu_busy_seconds_total)"), 0)

    def test_2_percentiles_are_those_of_the_mediator(self):
        """They agree within a bucket, which is a power of two. show-metrics weighs what was timed of
        each class of calls, so its execution is another number than that of all that were timed."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(self.mediator.admin_socket)
            stream = client.makefile("rw")
            stream.write('{"verb": "show-metrics"}\n')
            stream.flush()
            row = json.loads(stream.readline())["result"][0]
        for name, key in (("vgpu_vm_round_trip_seconds", "p50_ns"),
                          ("vgpu_vm_queue_wait_seconds", "wait_p50_ns")):
            theirs = self.value(f"histogram_quantile({int(re.search('[0-9]+', key)[0]) / 100}, "
                                f"sum by (le) ({name}_bucket))")
            self.assertGreater(row[key], 0)
            self.assertLess(abs(theirs * 1e9 - row[key]) / row[key], 4, (name, theirs, row[key]))

    def test_3_it_evaluates_the_rules(self):
        groups = self.api("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        self.assertGreater(len(rules), 10)
        wait_until(lambda: all(rule["health"] == "ok" for group in self.api("rules")["groups"]
                               for rule in group["rules"]), 20, "all rules are evaluated")
        firing = [alert["labels"]["alertname"] for alert in self.api("alerts")["alerts"]]
        self.assertEqual(firing, [])  # XID 31 is a program's fault

    def test_4_dashboards_have_something_to_show(self):
        for name in ("vgpu_vm_info", "vgpu_vm_call_duration_seconds_count"):
            wait_until(lambda: (self.value(f"min(count_over_time({name}[1m]))") or 0) >= 3, 20,
                       "there are samples to compare")
        for path in BOARDS:
            for title, text in queries(load(path)):
                rows = self.query(text)
                if not any(name in text for name in MAY_BE_EMPTY):
                    self.assertTrue(rows, f"{path}: {title}: nothing for {text}")
            for variable in load(path)["templating"]["list"]:
                if variable["type"] == "query":
                    found = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
                    series = self.query(found[1].replace("$instance", ".+"))
                    self.assertTrue(all(found[2] in labels for labels, _ in series) and series)

    def test_5_it_notices_that_the_mediator_is_gone(self):
        self.mediator.kill()
        wait_until(lambda: self.value('up{job="vgpu"}') == 0, 20, "it is down")
        wait_until(lambda: [(alert["labels"]["alertname"], alert["state"])
                            for alert in self.api("alerts")["alerts"]] ==
                   [("VgpuMediatorDown", "pending")], 20, "the alert is on its way")


if __name__ == "__main__":
    if not shutil.which("prometheus") or not shutil.which("promtool"):
        print("Prometheus is not installed")
        sys.exit(77)
    unittest.main()
