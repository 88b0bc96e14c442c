# SPDX-License-Identifier: MIT
"""The commands of docs/administration.md do what it says, one after the other."""
import os
import re
import shlex
import unittest

from fixture import Case

GUIDE = os.environ["VGPU_ADMIN_GUIDE"]


class Guide(Case):
    def test_commands_work_in_their_order(self):
        with open(GUIDE, encoding="utf-8") as file:
            commands = re.findall(r"^    vgpu-admin (.*?)(?: +# status (\d))?$", file.read(), re.M)
        self.assertGreater(len(commands), 20)
        for words, status in commands:
            with self.subTest(command=words):
                result = self.run_admin(*shlex.split(words))
                self.assertEqual(result.returncode, int(status or 0), result.stderr)
        self.assertEqual([row["vm"] for row in self.json("list-vms")], ["batch-2", "web"])


if __name__ == "__main__":
    unittest.main()
