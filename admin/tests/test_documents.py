# SPDX-License-Identifier: MIT
"""Manual, help and completion of vgpu-admin have what its own tables have."""
import os
import subprocess
import unittest

from fixture import ADMIN


class Documents(unittest.TestCase):
    def words(self, *verb):
        return subprocess.run([ADMIN, "--complete", *verb], capture_output=True, text=True,
                              check=True).stdout.split()

    def test_manual_has_every_command_and_option(self):
        with open(os.environ["VGPU_ADMIN_PAGE"]) as file:
            page = file.read().replace("\\", "")
        for verb in self.words():
            self.assertIn(verb.rstrip("="), page)
            for option in self.words(verb) if not verb.startswith("--") else ():
                self.assertIn(option.rstrip("="), page, verb)

    def test_help_has_every_command(self):
        for verb in self.words():
            if not verb.startswith("--"):
                text = subprocess.run([ADMIN, verb, "--help"], capture_output=True, text=True,
                                      check=True).stdout
                self.assertTrue(text.startswith(f"Usage: vgpu-admin {verb} "), text)

    def complete(self, *line):
        script = (f"source {os.environ['VGPU_ADMIN_COMPLETION']}; compopt() {{ :; }}; "
                  f"COMP_WORDS=({' '.join(line)} '{''}'); COMP_CWORD={len(line)}; _vgpu_admin; "
                  "printf '%s\\n' \"${COMPREPLY[@]}\"")
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True,
                              check=True).stdout.split()

    def test_completion_knows_words_and_values(self):
        self.assertIn("register-vm", self.complete(ADMIN))
        self.assertEqual(self.complete(ADMIN, "set-weight"),
                         ["--vm-name=", "--vm-uuid=", "--weight=", "--socket=", "--output=",
                          "--help", "--version"])
        self.assertEqual(self.complete(ADMIN, "set-priority", "--priority", "="),
                         ["low", "medium", "high"])


if __name__ == "__main__":
    unittest.main()
