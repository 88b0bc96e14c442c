# SPDX-License-Identifier: MIT
"""usage: test_record.py VGPU_SIM RECORD PROGRAM: what a mediator's VM did is recorded, and replayed by
every policy."""
import os
import subprocess
import sys
import tempfile

from harness import Mediator, wait_until

SIM, RECORD, PROGRAM = sys.argv[1:]


def main():
    mediator = Mediator().start()
    try:
        program = mediator.run(PROGRAM, "0", stdin=subprocess.PIPE)
        wait_until(lambda: mediator.status() and mediator.status()[0]["calls"] > 1000, 30,
                   "the program runs")
        said = subprocess.run([RECORD, f"--socket={mediator.admin_socket}", "--seconds=1"],
                              check=True, capture_output=True, text=True)
        program.communicate(timeout=60)
    finally:
        mediator.stop()
    recorded = sum(int(duration.removesuffix("ns")) * int(count) / 1e9 for _, _, _, duration, count in
                   (line.split() for line in said.stdout.splitlines() if line.startswith("work")))
    with tempfile.NamedTemporaryFile("w", suffix=".sim") as file:
        file.write(said.stdout)
        file.flush()
        for policy in ("wfq", "urgency", "fifo", "deadline"):
            done = subprocess.run([SIM, f"--policy={policy}", file.name], check=True,
                                  capture_output=True, text=True)
            name, _, gpu_seconds = done.stdout.splitlines()[1].split()[:3]
            assert name == f"uid-{os.getuid()}", done.stdout
            # all of it, but for what is not done when the recording ends
            assert recorded / 2 < float(gpu_seconds) <= recorded + 0.001, (done.stdout, said.stdout)
    wrong = subprocess.run([RECORD, "--socket=/nowhere"], check=False, capture_output=True, text=True)
    assert wrong.returncode == 1 and "/nowhere" in wrong.stderr, wrong


main()
