# SPDX-License-Identifier: MIT
"""A mediator that serves metrics, and its text as Python."""
import re
import urllib.request

from harness import PATIENCE, Mediator

SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)",?')


class Exporter(Mediator):
    def __init__(self, settings="", address="127.0.0.1:0", **options):
        super().__init__(f"metrics={address}\n" + settings, **options)

    def address(self):
        """Host and port, which the kernel has chosen."""
        host, port = re.findall(r"metrics: http://(\S+):(\d+)/metrics", self.log())[-1]
        return host.strip("[]"), int(port)

    def url(self):
        return re.findall(r"metrics: (http://\S+)", self.log())[-1]

    def text(self):
        with urllib.request.urlopen(self.url(), timeout=10 * PATIENCE) as answer:
            return answer.read().decode()

    def metrics(self):
        """Name and labels, as a frozenset of pairs, to the value."""
        return parse(self.text())

    def value(self, name, **labels):
        return self.metrics()[name, frozenset(labels.items())]


def parse(text):
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, labels, value = SAMPLE.match(line).groups()
        key = name, frozenset(LABEL.findall(labels or ""))
        assert key not in found, f"twice: {line}"
        found[key] = float(value)
    return found


def families(text):
    """Names of metrics to their types, as the text declares them."""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
