# SPDX-License-Identifier: MIT
"""Tenants of one mediator: programs of users of their own (bench/fairness/tenant.c), which only root
can start."""
import os
import subprocess
import time

from harness import PATIENCE, built

PROGRAM = built("bench", "fairness", "tenant")


def native(driver):
    """An environment in which a program has the driver itself."""
    environment = {name: value for name, value in os.environ.items() if name != "VGPU_SOCKET"}
    if driver == "soft":
        environment["LD_LIBRARY_PATH"] = built("soft", "driver", "lib")
    return environment


def calibrate(driver):
    """Rounds of a kernel that lasts a microsecond, with nobody else there. OSError or
    subprocess.SubprocessError without the driver."""
    done = subprocess.run([PROGRAM, "0"], env=native(driver), capture_output=True, text=True,
                          check=True, timeout=120 * PATIENCE)
    return float(done.stdout)


class Tenants:
    def __init__(self, environment):
        self.environment = environment
        self.programs = []

    def add(self, user, rounds, batch, depth, gap):
        """See the program for the words."""
        self.programs.append(subprocess.Popen(
            [PROGRAM, *map(str, (user, rounds, batch, depth, gap))], text=True,
            env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE))

    def await_ready(self):
        for number, program in enumerate(self.programs):
            if program.stdout.readline().strip() != "ready":
                raise RuntimeError(f"tenant {number} did not get ready")

    def say(self, word):
        for program in self.programs:
            program.stdin.write(word + "\n")
            program.stdin.flush()

    def stop(self, since=0, until=None):
        """What each of them counted between two times (monotonic nanoseconds), as text."""
        self.say(f"{since} {until or time.monotonic_ns()}")
        said = []
        for program in self.programs:
            text, _ = program.communicate(timeout=120 * PATIENCE)
            if program.returncode:
                raise RuntimeError(f"a tenant failed with status {program.returncode}")
            said.append(text)
        return said

    def kill(self):
        for program in self.programs:
            with program:
                program.kill()
        self.programs = []
