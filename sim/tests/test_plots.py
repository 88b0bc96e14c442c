# SPDX-License-Identifier: MIT
"""usage: test_plots.py VGPU_SIM SCENARIOS FOLDER: the plots in docs/scheduler.md are what the simulator
draws today. With --write they are made so."""
import os
import subprocess
import sys
import tempfile

SIM, SCENARIOS, FOLDER = sys.argv[1:4]
PLOTS = {"weights": (), "day": (), "caps": (), "video": (), "day-urgency": ("--policy=urgency",),
         "thousand": ()}


def draw(name, path):
    scenario = os.path.join(SCENARIOS, name.removesuffix("-urgency") + ".sim")
    subprocess.run([SIM, *PLOTS[name], "--svg=" + path, scenario], check=True,
                   stdout=subprocess.DEVNULL)


def main():
    with tempfile.TemporaryDirectory() as work:
        for name in PLOTS:
            there = os.path.join(FOLDER, name + ".svg")
            if sys.argv[4:] == ["--write"]:
                draw(name, there)
                continue
            drawn = os.path.join(work, name + ".svg")
            draw(name, drawn)
            with open(there, encoding="utf-8") as old, open(drawn, encoding="utf-8") as new:
                assert old.read() == new.read(), (
                    f"{there} is not current: python3 sim/tests/test_plots.py {SIM} {SCENARIOS} "
                    f"{FOLDER} --write")
    assert {name.removesuffix(".svg") for name in os.listdir(FOLDER)} == set(PLOTS)


main()
