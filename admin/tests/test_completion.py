# SPDX-License-Identifier: MIT
"""Completion of vgpu-admin in bash, zsh and fish: commands, options, values, and names that the mediator
knows."""
import os
import pty
import re
import select
import shutil
import subprocess
import time
import unittest

from fixture import ADMIN, Case

FOLDER = os.environ["VGPU_ADMIN_COMPLETIONS"]


class Completion:
    """What each shell has to know; complete() is the shell's."""

    def setUp(self):
        super().setUp()
        self.done("register-vm", "--vm-name=web")
        self.done("register-vm", "--vm-name=worker")
        self.done("create-pool", "--pool=D")
        self.at = f"--socket={self.mediator.socket}"

    def test_commands(self):
        self.assertEqual(self.complete("set-p"), ["set-pool", "set-pool-weight", "set-priority"])

    def test_options_of_a_command(self):
        self.assertEqual(self.complete("set-weight", "--"),
                         ["--help", "--output=", "--socket=", "--version", "--vm-name=",
                          "--vm-uuid=", "--weight="])

    def test_values(self):
        self.assertEqual(self.values("set-priority", "--priority="), ["high", "low", "medium"])
        self.assertEqual(self.values("list-vms", "--output="), ["csv", "json", "table"])

    def test_names_of_the_mediator(self):
        self.assertEqual(self.values(self.at, "set-weight", "--vm-name=w"), ["web", "worker"])
        self.assertEqual(self.values(self.at, "set-pool", "--vm-name=web", "--pool="), ["A", "D"])

    def test_without_a_mediator_there_are_no_names_and_no_complaints(self):
        self.assertEqual(self.values("--socket=/nowhere", "set-weight", "--vm-name="), [])

    def values(self, *words):
        return [word.rpartition("=")[2] for word in self.complete(*words)]


class Bash(Completion, Case):
    def complete(self, *words):
        # As readline splits them.
        split = [part for word in words for part in re.split(r"(=)", word)]
        split = split[:-1] if len(split) > 1 and split[-1] == "" and split[-2] == "=" else split
        line = " ".join(f"'{word}'" for word in [ADMIN, *split])
        script = (f"source {FOLDER}/vgpu-admin.bash; compopt() {{ :; }}; COMP_WORDS=({line}); "
                  f"COMP_CWORD={len(split)}; _vgpu_admin; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
        answer = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        self.assertEqual(answer.stderr, "")
        return sorted(answer.stdout.split())


@unittest.skipUnless(shutil.which("fish"), "fish is not there")
class Fish(Completion, Case):
    def complete(self, *words):
        line = " ".join(["vgpu-admin", *words])
        folder = self.mediator.folder.name
        environment = {"PATH": f"{os.path.dirname(ADMIN)}:{os.environ['PATH']}", "HOME": folder}
        answer = subprocess.run(
            ["fish", "--no-config", "-c", f"source {FOLDER}/vgpu-admin.fish; complete -C '{line}'"],
            capture_output=True, text=True, check=True, env=environment)
        self.assertEqual(answer.stderr, "")
        return sorted(line.split("\t")[0] for line in answer.stdout.splitlines())


@unittest.skipUnless(shutil.which("zsh"), "zsh is not there")
class Zsh(Completion, Case):
    """Only a terminal makes zsh complete; what it would show is caught where it is added."""

    def complete(self, *words):
        folder = self.mediator.folder.name
        shutil.copy(f"{FOLDER}/vgpu-admin.zsh", f"{folder}/_vgpu-admin")
        found = f"{folder}/found-{len(os.listdir(folder))}"
        with open(f"{folder}/.zshrc", "w") as file:
            file.write(f"fpath=({folder} $fpath)\nautoload -Uz compinit\ncompinit -u -D\nPS1='ready> '\n"
                       "compadd() { local -a O\n builtin compadd -O O \"$@\"\n"
                       f" print -l -- $O >>{found}\n builtin compadd \"$@\" }}\n"
                       f"bindkey '^T' list-choices\n")
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(folder)
            os.execve(shutil.which("zsh"), ["zsh", "-i"], {
                "ZDOTDIR": folder, "HOME": folder, "TERM": "dumb",
                "PATH": f"{os.path.dirname(ADMIN)}:{os.environ['PATH']}"})
        try:
            self.expect(terminal, b"ready> ")
            os.write(terminal, " ".join(["vgpu-admin", *words]).encode() + b"\x14")
            os.write(terminal, b"\x15print en''d\n")  # another line: completion is over
            self.expect(terminal, b"\nend")
        finally:
            os.close(terminal)
            os.waitpid(pid, 0)
        if not os.path.exists(found):
            return []
        with open(found) as file:
            return sorted(set(file.read().split()))

    def expect(self, terminal, text):
        seen, end = b"", time.monotonic() + 20
        while text not in seen:
            self.assertLess(time.monotonic(), end, seen)
            if select.select([terminal], [], [], 0.1)[0]:
                seen += os.read(terminal, 65536)


if __name__ == "__main__":
    unittest.main()
