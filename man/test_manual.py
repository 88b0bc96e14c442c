# SPDX-License-Identifier: MIT
"""Each page has the options, commands, keys and statuses that its program has, and no others. What a
program has is asked of its own table, and of its --help."""
import json
import os
import re
import subprocess
import unittest

BUILD, SOURCE = os.environ["VGPU_BUILD"], os.environ["VGPU_SOURCE"]
# Page, program, and the file with the table that getopt_long() goes by.
PROGRAMS = [
    ("vgpu-mediator.8", "mediator/vgpu-mediator", "mediator/main.c"),
    ("vgpu-run.1", "mediator/vgpu-run", "mediator/run.c"),
    ("vgpu-status.1", "mediator/vgpu-status", "mediator/status.c"),
    ("vgpu-sim.1", "sim/vgpu-sim", "sim/main.c"),
]
RECORD = os.path.join(SOURCE, "sim/vgpu-record")
ADMIN = os.path.join(BUILD, "admin/vgpu-admin")


def source(path):
    with open(os.path.join(SOURCE, path), encoding="utf-8") as file:
        return file.read()


def page(name):
    """As it is written, without marks of emphasis that are part of a line."""
    return source(f"man/{name}.scd").replace("\\_", "_")


def section(text, name):
    match = re.search(rf"^# {re.escape(name)}\n(.*?)(?=^# |\Z)", text, re.M | re.S)
    return match[1] if match else ""


def heads(text):
    """The bold words that begin a line, as entries of a list do, and the rest of that line."""
    return re.findall(r"^\*([^*\n]+)\*(.*)$", text, re.M)


def output(*command, status=0):
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != status:
        raise AssertionError(f"{command}: {answer.returncode}: {answer.stderr}")
    return answer.stdout + answer.stderr


class Pages(unittest.TestCase):
    def test_they_are_built_and_name_their_section(self):
        for entry in os.scandir(os.path.join(SOURCE, "man")):
            if not entry.name.endswith(".scd"):
                continue
            name, number = entry.name.removesuffix(".scd").rsplit(".", 1)
            with open(os.path.join(BUILD, "man", f"{name}.{number}"), encoding="utf-8") as file:
                built = file.read()
            self.assertRegex(built, rf'\n\.TH "{re.escape(name)}" "{number}"')
            text = page(f"{name}.{number}")
            self.assertTrue(text.startswith(f"{name}({number})\n"))
            self.assertTrue(section(text, "NAME").strip().startswith(f"{name} - "), name)

    def test_they_are_installed_and_so_is_completion(self):
        places = json.loads(output("meson", "introspect", "--installed", BUILD)).values()
        pages = [entry.name.removesuffix(".scd") for entry in os.scandir(os.path.join(SOURCE, "man"))
                 if entry.name.endswith(".scd")]
        for wanted in [f"/man{name[-1]}/{name}" for name in pages] + [
                "/bash-completion/completions/vgpu-admin", "/zsh/vendor-completions/_vgpu-admin",
                "/fish/vendor_completions.d/vgpu-admin.fish"]:
            self.assertEqual(sum(place.endswith(wanted) for place in places), 1, wanted)

    def test_pages_refer_to_pages_that_are_there(self):
        others = {"sd_notify", "bash"}
        for entry in os.scandir(os.path.join(SOURCE, "man")):
            if entry.name.endswith(".scd"):
                for name, number in re.findall(r"\*([\w.-]+)\*\((\d)\)", source(f"man/{entry.name}")):
                    if name not in others:
                        self.assertTrue(os.path.exists(f"{SOURCE}/man/{name}.{number}.scd"), name)

    def test_options_are_those_of_help_and_table(self):
        for name, program, file in PROGRAMS:
            with self.subTest(page=name):
                table = set(re.findall(r'\{"([a-z-]+)", (?:no|required)_argument', source(file)))
                self.assertGreater(len(table), 2)
                told = set(re.findall(r"--([a-z-]+)", output(f"{BUILD}/{program}", "--help")))
                written = {head[2:] for head, _ in heads(section(page(name), "OPTIONS"))}
                self.assertEqual(told, table)
                self.assertEqual(written, table)
        told = set(re.findall(r"^  (?:-h, )?--([a-z]+)", output(RECORD, "--help"), re.M))
        self.assertEqual(told, {head[2:] for head, _ in
                                heads(section(page("vgpu-record.1"), "OPTIONS"))})


class Administration(unittest.TestCase):
    page = page("vgpu-admin.1")
    targets = {"vm-name", "vm-uuid"}
    common = {"socket", "output", "help", "version"}

    def words(self, *verb):
        return output(ADMIN, "--complete", *verb).split()

    def options(self, verb):
        return {word[2:].rstrip("=") for word in self.words(verb)} - self.common

    def entries(self):
        return dict(heads("\n".join(section(self.page, f"COMMANDS {what}") for what in (
            "FOR VIRTUAL MACHINES", "FOR POOLS", "THAT LOOK"))))

    def test_commands_are_those_of_the_table(self):
        verbs = {word for word in self.words() if not word.startswith("--")}
        self.assertGreater(len(verbs), 20)
        self.assertEqual(set(self.entries()), verbs)
        told = re.findall(r"^  ([a-z-]+) ", output(ADMIN, "--help"), re.M)
        self.assertEqual({verb for verb in told if not verb.startswith("--")}, verbs)

    def test_commands_have_the_options_of_the_table(self):
        for verb, rest in self.entries().items():
            with self.subTest(verb=verb):
                table = self.options(verb)
                written = set(re.findall(r"--([a-z-]+)", rest))
                told = set(re.findall(r"^  --([a-z-]+)", output(ADMIN, verb, "--help"), re.M))
                self.assertEqual(told - self.common, table)
                self.assertLessEqual(written, table)
                if "[...]" not in rest:  # as with register-vm, which says where the rest is
                    self.assertLessEqual(table - self.targets, written)

    def test_common_options(self):
        self.assertEqual({head[2:] for head, _ in heads(section(self.page, "OPTIONS"))}, self.common)

    def test_exit_statuses_are_those_of_the_code(self):
        code = {int(number) for number in re.findall(r"ADMIN_\w+ = (\d+)", source("admin/client.h"))}
        written = {int(number) for number, _ in heads(section(self.page, "EXIT STATUS"))}
        told = output(ADMIN, "--help").partition("Exit status:")[2]
        self.assertEqual(written, code)
        self.assertEqual({int(number) for number in re.findall(r"\b(\d) ", told)}, code)

    def test_kinds_of_events_are_those_of_the_code(self):
        code = set()
        for folder in ("mediator", "mediator/admin"):
            for file in os.listdir(os.path.join(SOURCE, folder)):
                if file.endswith(".c"):
                    text = source(f"{folder}/{file}")
                    code |= set(re.findall(r'vgpu_events_(?:add|pass)\([^;]*?, "(\w+)",', text))
                    if folder == "mediator/admin":  # the tables of verbs
                        code |= set(re.findall(r'\{"[a-z-]+",\s+"(\w+)",', text))
                    code |= set(re.findall(r'\.kind = "(\w+)"', text))
        entry = self.page.partition("*events*")[2].partition("\n\n")[0]
        self.assertEqual(set(re.findall(r"_(\w+)_[ ,.]", entry.replace("\n", " "))), code)


class Configuration(unittest.TestCase):
    def keys(self, head):
        """As the mediator lists them to one who writes another one."""
        path = os.path.join(BUILD, "man", "wrong.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"[{head}]\nno-such-key=1\n")
        said = output(f"{BUILD}/mediator/vgpu-mediator", "--check-config", "--config", path, status=1)
        return set(re.search(r"allowed are (.*)", said)[1].split(", "))

    def test_keys_are_those_of_the_table(self):
        text = page("mediator.conf.5")
        for head, title in (("mediator", "[mediator]"), ("vm web", "[vm NAME]")):
            written = {key for key, _ in heads(section(text, f"SECTION {title}"))}
            self.assertEqual(written, self.keys(head))

    def test_the_example_is_good(self):
        text = re.search(r"```\n(.*?)```", page("mediator.conf.5"), re.S)[1]
        path = os.path.join(BUILD, "man", "example.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        output(f"{BUILD}/mediator/vgpu-mediator", "--check-config", "--config", path)


class Scenarios(unittest.TestCase):
    def test_statements_and_keys_are_those_of_the_code(self):
        code = source("sim/scenario.c")
        words = set(re.findall(r'strcmp\((?:key|word), "(\w+)"\)', code))
        words |= set(re.findall(r'\{"(\w+)",\s+&', code))
        self.assertGreater(len(words), 20)
        text = section(page("vgpu-sim.1"), "SCENARIO")
        written = set(re.findall(r"[*_](\w+)(?:=[^_*]*)?[*_]", text))
        self.assertEqual(written, words)


if __name__ == "__main__":
    unittest.main()
