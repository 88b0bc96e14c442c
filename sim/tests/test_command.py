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
            assert abs(sum(shares) - 100) < 1, (path, shares)
            assert "Jain's index" in done.stdout.splitlines()[-1]
            bands = xml.dom.minidom.parse(svg).getElementsByTagName("polygon")
            assert len(bands) == min(len(shares), 12), (path, len(bands))
            assert sim(path).stdout == done.stdout, "the same seed gives the same"
        for wrong in ((), ("--policy=best", paths[0]), ("--seed=x", paths[0]), (work,),
                      (os.path.join(work, "none"),)):
            done = sim(*wrong)
            assert done.returncode != 0 and done.stderr and not done.stdout, (wrong, done)


main()
