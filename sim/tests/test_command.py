# SPDX-License-Identifier: MIT
"""usage: test_command.py VGPU_SIM SCENARIOS: the command on every scenario, and on wrong words."""
import glob
import os
import subprocess
import sys
import tempfile
import xml.dom.minidom

SIM, SCENARIOS = sys.argv[1:]


def sim(*arguments):
    return subprocess.run([SIM, *arguments], capture_output=True, text=True, check=False)


def main():
    paths = sorted(glob.glob(os.path.join(SCENARIOS, "*.sim")))
    assert paths
    with tempfile.TemporaryDirectory() as work:
        for path in paths:
            svg = os.path.join(work, "shares.svg")
            done = sim("--svg=" + svg, path)
            assert done.returncode == 0 and not done.stderr, (path, done)
            shares = [float(line.split()[1].rstrip("%")) for line in done.stdout.splitlines()[1:-1]]
            assert abs(sum(shares) - 100) < 1 + 0.005 * len(shares), (path, shares)
            assert "Jain's index" in done.stdout.splitlines()[-1]
            bands = xml.dom.minidom.parse(svg).getElementsByTagName("polygon")
            with open(path, encoding="utf-8") as file:
                statements = sum(line.startswith("vm ") for line in file)
            assert len(bands) == (len(shares) if len(shares) <= 12 else statements), (path, len(bands))
            assert sim(path).stdout == done.stdout, "the same seed gives the same"
        recorded = os.path.join(work, "recorded.sim")
        with open(recorded, "w", encoding="utf-8") as file:
            file.write("time 1s\n" + "".join(f"vm web-{i} depth=0\nwork {i}ms web-{i} 9ms\n" for i in range(20)))
        assert sim("--svg=" + svg, recorded).returncode == 0
        texts = [text.firstChild.data for text in xml.dom.minidom.parse(svg).getElementsByTagName("text")]
        assert "web-10" in texts and "9 others" in texts and "web-11" not in texts, texts
        with open(recorded, "w", encoding="utf-8") as file:
            file.write("time 1s\nvm a<b\n")
        assert "2: vm NAME" in sim(recorded).stderr
        for wrong in ((), ("--policy=best", paths[0]), ("--seed=x", paths[0]), (work,),
                      (os.path.join(work, "none"),)):
            done = sim(*wrong)
            assert done.returncode != 0 and done.stderr and not done.stdout, (wrong, done)


main()
