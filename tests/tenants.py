# SPDX-License-Identifier: MIT
"""Tenants of one mediator: programs of users of their own (bench/fairness/tenant.c), which only root
can start."""
import os
import subprocess
import threading
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

    def add(self, user, rounds, batch, depth, gap, environment=None):
        """See the program for the words."""
        self.programs.append(subprocess.Popen(
            [PROGRAM, *map(str, (user, rounds, batch, depth, gap))], text=True,
            env=environment or self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE))

    def await_ready(self):
        for number, program in enumerate(self.programs):
            if program.stdout.readline().strip() != "ready":
                raise RuntimeError(f"tenant {number} did not get ready")

    def say(self, word, programs):
        for program in programs:
            program.stdin.write(word + "\n")
            program.stdin.flush()

    def go(self, programs=None):
        """They work, or only some of them do."""
        self.say("go", programs or self.programs)

    def rest(self, since=0, until=None, programs=None):
        """They stop; what each of them counted between two times (monotonic nanoseconds): lists."""
        programs = programs or self.programs
        self.say(f"{since} {until or time.monotonic_ns()}", programs)
        patience = threading.Timer(120 * PATIENCE, lambda: [program.kill() for program in programs])
        patience.start()
        try:
            return [self.read(program) for program in programs]
        finally:
            patience.cancel()

    def read(self, program):
        said = {}
        for line in program.stdout:
            name, *values = line.split()
            if name == "end":
                return said
            said[name] = [float(value) for value in values]
        raise RuntimeError(f"a tenant failed with status {program.wait(60 * PATIENCE)}")

    def turn(self, seconds, settled, programs):
        """Since when, until when, and what they counted in so many seconds, as soon as they have
        worked for some others."""
        self.go(programs)
        time.sleep(settled)
        since = time.monotonic_ns()
        time.sleep(seconds)
        until = time.monotonic_ns()
        return since, until, self.rest(since, until, programs)

    def end(self):
        for program in self.programs:
            program.stdin.close()
        for program in self.programs:
            if program.wait(120 * PATIENCE):
                raise RuntimeError(f"a tenant failed with status {program.returncode}")

    def kill(self):
        for program in self.programs:
            with program:
                program.kill()
        self.programs = []
