#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The commands in the documents are real: every make target is there, every program is built, and
what the README says of vgpu-run is true of a CUDA program."""
import glob
import os
import re
import subprocess
import unittest

from harness import BUILD, built

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def commands():
    """Lines of code blocks (indented, or fenced without a language), continuation lines joined."""
    found = []
    for path in ["README.md"] + glob.glob("docs/*.md", root_dir=SOURCE) + ["device/README.md"]:
        with open(os.path.join(SOURCE, path), encoding="utf-8") as file:
            text = re.sub(r"\\\n\s*", "", file.read())
        found += [(path, match[1].split("#")[0].strip())
                  for match in re.finditer(r"^    ((?:make|build/)\S*.*)$", text, re.M)]
    return found


class Commands(unittest.TestCase):
    def test_there_are_commands_to_check(self):
        self.assertGreaterEqual(len(commands()), 4)

    def test_make_targets_are_there(self):
        for path, command in commands():
            if command.startswith("make "):
                with self.subTest(path=path, command=command):
                    subprocess.run(["make", "-n", *command.split()[1:]], cwd=SOURCE, check=True,
                                   capture_output=True)

    def test_programs_are_built(self):
        for path, command in commands():
            program = command.split()[0]
            # vgpu-qemu is made by `make device`, which `make demo` and the VM tests call
            if program.startswith("build/") and "build/device/" not in program:
                with self.subTest(path=path, command=command):
                    program = built(os.path.relpath(program, "build"))
                    answer = subprocess.run([program, "--help"], capture_output=True, text=True,
                                            check=False)
                    self.assertEqual(answer.returncode, 0, answer.stderr)
                    self.assertIn("sage", answer.stdout)

    def test_a_program_runs_without_daemon_or_gpu(self):
        environment = {name: value for name, value in os.environ.items()
                       if name not in ("VGPU_SOCKET", "LD_LIBRARY_PATH")}
        answer = subprocess.run([built("mediator", "vgpu-run"), "--driver=soft",
                                 os.path.join(BUILD, "demo", "driver_api")], env=environment,
                                capture_output=True, text=True, check=False)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertEqual(answer.stdout.count("PASS"), 3)


if __name__ == "__main__":
    unittest.main()
