# SPDX-License-Identifier: MIT
"""usage: test_record.py VGPU_SIM RECORD PROGRAM: what a mediator's VM did is recorded, and replayed by
every policy."""
import os
import subprocess
import sys
import tempfile

from harness import Mediator, built, wait_until

SIM, RECORD, PROGRAM = sys.argv[1:]


def main():
    vm = f"--vm-name=uid-{os.getuid()}"
    mediator = Mediator(settings="scheduler=deadline\nstore=none\n", vm_settings="reservation=8/33")
    with open(mediator.config, encoding="utf-8") as file:
        text = file.read().replace("store=none", f"store={mediator.folder}/vgpu.db")
    with open(mediator.config, "w", encoding="utf-8") as file:
        file.write(text)
    mediator.start()
    try:
        for words in (["create-pool", "--pool=C", "--weight=70"], ["set-pool-weight", "--pool=A", "--weight=10"],
                      ["register-vm", vm, "--pool=C", "--weight=80", "--priority=high", "--share-cap=90"]):
            subprocess.run([built("admin", "vgpu-admin"), f"--socket={mediator.admin_socket}", *words],
                           check=True, stdout=subprocess.DEVNULL)
        program = mediator.run(PROGRAM, "0", stdin=subprocess.PIPE)
        wait_until(lambda: mediator.status() and mediator.status()[0]["calls"] > 1000, 30,
                   "the program runs")
        said = subprocess.run([RECORD, f"--socket={mediator.admin_socket}", "--seconds=1"],
                              check=True, capture_output=True, text=True)
        program.communicate(timeout=60)
    finally:
        mediator.stop()
    lines = said.stdout.splitlines()
    assert {"policy deadline", "pool A weight=10", "pool C weight=70"} <= set(lines), lines
    assert (f"vm uid-{os.getuid()} depth=0 pool=C weight=80 priority=high cap=90 "
            "budget=8ms period=33ms") in lines, lines
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
    wrong = subprocess.run([RECORD, "--seconds=0"], check=False, capture_output=True, text=True)
    assert wrong.returncode == 2 and "--seconds" in wrong.stderr, wrong


main()
