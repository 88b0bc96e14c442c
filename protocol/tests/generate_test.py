#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The generator takes the real description and rejects small variations of it that are wrong."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

PROTOCOL = sys.argv.pop(1)


class Generate(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.source = os.path.join(self.folder.name, "protocol")
        self.out = os.path.join(self.folder.name, "out")
        os.mkdir(self.source)
        os.mkdir(self.out)
        for name in os.listdir(PROTOCOL):
            if name in ("calls", "call-ids") or name.endswith(".h"):
                shutil.copy(os.path.join(PROTOCOL, name), self.source)

    def tearDown(self):
        self.folder.cleanup()

    def edit(self, name, change):
        path = os.path.join(self.source, name)
        with open(path, encoding="utf-8") as file:
            before = file.read()
        after = change(before)
        self.assertNotEqual(before, after, "the variation changed nothing")
        with open(path, "w", encoding="utf-8") as file:
            file.write(after)

    def add(self, line, identifier=None):
        """Adds a call and, unless told otherwise, its id."""
        self.edit("calls", lambda text: text + line + "\n")
        number, name = line.split()[:2]
        self.edit("call-ids", lambda text: text + f"{identifier or number} {name}\n")

    def run_generator(self):
        return subprocess.run([sys.executable, os.path.join(PROTOCOL, "generate.py"), self.source,
                               self.out], capture_output=True, text=True, check=False)

    def accepted(self):
        result = self.run_generator()
        self.assertEqual(result.returncode, 0, result.stderr)
        with open(os.path.join(self.out, "calls.h"), encoding="utf-8") as file:
            return re.search(r"VGPU_PROTOCOL_HASH (\w+)", file.read())[1]

    def rejected(self, *words):
        result = self.run_generator()
        self.assertNotEqual(result.returncode, 0)
        for word in words:
            self.assertIn(word, result.stderr)
        self.assertEqual(os.listdir(self.out), [])

    def test_the_description_is_accepted(self):
        self.accepted()
        self.assertIn("replay.c", os.listdir(self.out))

    def test_a_new_call_is_accepted_and_changes_the_hash(self):
        before = self.accepted()
        self.add("400 cuFuture sync : u32 first")
        self.assertNotEqual(self.accepted(), before)

    def test_comments_do_not_change_the_hash(self):
        before = self.accepted()
        self.edit("calls", lambda text: text + "# a remark\n")
        self.edit("window.h", lambda text: text + "/* a remark */\n")
        self.assertEqual(self.accepted(), before)

    def test_layouts_change_the_hash(self):
        before = self.accepted()
        self.edit("channel.h", lambda text: re.sub(r"(VGPU_FENCES +)65536u", r"\g<1>32768u", text))
        self.assertNotEqual(self.accepted(), before)

    def test_an_id_used_twice_is_rejected(self):
        self.add("20 cuFuture sync : u32 first")
        self.rejected("id 20", "twice")

    def test_a_name_used_twice_is_rejected(self):
        self.add("400 cuMemFree sync : dptr address")
        self.rejected("cuMemFree", "twice")

    def test_an_id_that_was_not_given_is_rejected(self):
        self.edit("calls", lambda text: text + "400 cuFuture sync : u32 first\n")
        self.rejected("400 cuFuture", "call-ids")

    def test_a_changed_id_is_rejected(self):
        self.edit("calls", lambda text: re.sub(r"^21 cuMemFree", "401 cuMemFree", text, flags=re.M))
        self.rejected("401 cuMemFree")

    def test_an_id_of_a_removed_call_is_not_given_again(self):
        self.edit("calls", lambda text: re.sub(r"^21 cuMemFree.*$", "21 cuFuture sync : u32 first",
                                               text, flags=re.M))
        self.rejected("21 cuFuture", "cuMemFree")

    def test_sixty_four_bytes_of_arguments_fit(self):
        self.add("400 cuFuture sync : " + ", ".join(f"u64 a{i}" for i in range(8)))
        self.accepted()

    def test_too_many_arguments_are_rejected(self):
        self.add("400 cuFuture sync : " + ", ".join(f"u64 a{i}" for i in range(8)) + ", u32 last")
        self.rejected("cuFuture", "68 bytes")

    def test_padding_counts(self):
        self.add("400 cuFuture sync : u32 first, " + ", ".join(f"u64 a{i}" for i in range(8)))
        self.rejected("cuFuture", "72 bytes")

    def test_too_many_outputs_are_rejected(self):
        self.add("400 cuFuture sync : " + ", ".join(f"out u32 a{i}" for i in range(5)))
        self.rejected("cuFuture", "too many")

    def test_too_many_payloads_are_rejected(self):
        self.add("400 cuFuture sync : bytes a, bytes b, string c")
        self.rejected("cuFuture", "too many")

    def test_an_asynchronous_call_has_no_outputs(self):
        self.add("400 cuFuture async : out u32 value")
        self.rejected("cuFuture", "no outputs")

    def test_unknown_types_and_roles_are_rejected(self):
        self.add("400 cuFuture sync : u33 value")
        self.rejected("u33", "unknown type")

    def test_unknown_roles_are_rejected(self):
        self.add("400 cuFuture sync : inout u32 value")
        self.rejected("inout", "role")

    def test_lines_that_are_no_calls_are_rejected(self):
        self.edit("calls", lambda text: text + "cuFuture sync u32 value\n")
        self.rejected("cannot read")


unittest.main()
