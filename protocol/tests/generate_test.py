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
        shutil.copytree(os.path.join(PROTOCOL, "calls"), os.path.join(self.source, "calls"))
        for name in os.listdir(PROTOCOL):
            if name == "call-ids" or name.endswith(".h"):
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
        self.edit("calls/memory.calls", lambda text: text + line + "\n")
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

    def entry(self, name):
        """The text of a generated entry point, without line breaks, or None."""
        self.accepted()
        with open(os.path.join(self.out, "entry.c"), encoding="utf-8") as file:
            match = re.search(rf"^CUresult {name}\(.*?^}}$", file.read(), flags=re.M | re.S)
        return match and " ".join(match[0].split())

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
        self.edit("calls/memory.calls", lambda text: text + "# a remark\n")
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
        self.edit("calls/memory.calls", lambda text: text + "400 cuFuture sync : u32 first\n")
        self.rejected("400 cuFuture", "call-ids")

    def test_a_changed_id_is_rejected(self):
        self.edit("calls/memory.calls", lambda text: re.sub(r"^21 cuMemFree", "401 cuMemFree", text, flags=re.M))
        self.rejected("401 cuMemFree")

    def test_an_id_of_a_removed_call_is_not_given_again(self):
        self.edit("calls/memory.calls", lambda text: re.sub(r"^21 cuMemFree.*$", "21 cuFuture sync : u32 first",
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

    def test_classes_that_cannot_be_read_are_rejected(self):
        for line in ("@nowhere cuFuture", "@local", "@refused NOT_SUPPORTED cuFuture",
                     "@local cuFuture : a reason"):
            with self.subTest(line):
                self.tearDown()
                self.setUp()
                self.edit("calls/memory.calls", lambda text, line=line: text + line + "\n")
                self.rejected("cannot read")

    def test_lines_that_are_no_calls_are_rejected(self):
        self.edit("calls/memory.calls", lambda text: text + "cuFuture sync u32 value\n")
        self.rejected("cannot read")

    def assert_order(self, text, *parts):
        """The parts are all there, one after the other."""
        position = 0
        for part in parts:
            self.assertIn(part, text[position:])
            position = text.index(part, position) + len(part)

    def test_an_entry_point_checks_before_it_sends(self):
        self.add("400 cuFuture sync entry : module module, out u32 count, out? size total, "
                 "string name, i32 blocks>0, u32:CUfunc_cache config<=CU_FUNC_CACHE_PREFER_L1")
        self.assert_order(
            self.entry("cuFuture"),
            "CUmodule module, unsigned int *count, size_t *total, const char *name, int blocks, "
            "CUfunc_cache config", "vgpu_caller_enter(&caller)", "VGPU_KIND_MODULE",
            "CUDA_ERROR_INVALID_HANDLE", "vgpu_caller_follow",
            "if (count == NULL || name == NULL || blocks <= 0 || config > CU_FUNC_CACHE_PREFER_L1) "
            "return CUDA_ERROR_INVALID_VALUE", "vgpu_process_note", "vgpu_send_cuFuture",
            "return error", " *count = ", "if (total) *total = ")

    def test_an_entry_point_of_a_stream_checks_its_extents(self):
        self.add("400 cuFutureAsync async entry-stream : dptr to[width*4][height:pitch], "
                 "dptr from[width], size pitch, size width, size height, stream stream")
        self.assert_order(
            self.entry("cuFutureAsync"), "vgpu_caller_enter_stream",
            "if (width == 0 || height == 0) return CUDA_SUCCESS", "vgpu_copy_check_extent",
            ".start = to, .element = 4, .width = width, .rows = height, .pitch = pitch",
            "return error", "vgpu_copy_check_extent",
            ".start = from, .element = 1, .width = width, .rows = 1}", "return error",
            "vgpu_send_cuFutureAsync", "vgpu_stream_submitted", "known", "vgpu_stream_judgement")

    def test_an_entry_point_of_a_stream_has_its_twins(self):
        self.add("400 cuFutureAsync async entry-stream : u32 value, stream stream")
        self.assertIn("cuFutureAsync(value, vgpu_per_thread(stream))",
                      self.entry("cuFutureAsync_ptsz"))
        self.assertIn("cuFutureAsync(value, CU_STREAM_LEGACY)", self.entry("cuFuture_v2"))
        self.assertIn("cuFutureAsync(value, CU_STREAM_PER_THREAD)", self.entry("cuFuture_v2_ptds"))

    def test_a_dropped_object_ends_when_the_call_is_posted(self):
        self.add("400 cuFuture async entry v2 : drop event event")
        self.assert_order(self.entry("cuFuture_v2"), "VGPU_KIND_EVENT", "vgpu_send_cuFuture",
                          "if (error == CUDA_SUCCESS) vgpu_object_put")

    def test_a_call_without_an_entry_has_none(self):
        self.add("400 cuFuture sync : u32 value")
        self.assertIsNone(self.entry("cuFuture"))

    def test_what_entry_points_check_does_not_change_the_hash(self):
        before = self.accepted()
        self.edit("calls/memory.calls", lambda text: re.sub(
            r"\[.*?\]|>0|<=\w+|:CU\w+|(?<=out)\?|\bentry\S*|\bv1-v2\b|\bv2\b", "",
            re.sub("#.*", "", text)))
        self.assertIsNone(self.entry("cuMemGetInfo_v2"))
        self.assertEqual(self.accepted(), before)

    def test_malformed_extents_are_rejected(self):
        for extent in ("[count", "[]", "[*4]", "[count*3]", "[count*4", "count*4]", "[4*count]",
                       "[count*4][rows]", "[count*4][rows:]", "[count][rows:pitch][rows:pitch]"):
            with self.subTest(extent):
                self.tearDown()
                self.setUp()
                self.add(f"400 cuFutureAsync async entry-stream : dptr to{extent}, size count, "
                         "size rows, size pitch, stream stream")
                self.rejected("cannot read")

    def test_an_extent_counts_with_arguments_of_the_call(self):
        self.add("400 cuFutureAsync async entry-stream : dptr to[count], stream stream")
        self.rejected("cuFutureAsync", "size count")

    def test_a_number_of_another_type_is_no_extent(self):
        self.add("400 cuFutureAsync async entry-stream : dptr to[count], i32 count, stream stream")
        self.rejected("cuFutureAsync", "size count")

    def test_only_pointers_have_extents(self):
        self.add("400 cuFutureAsync async entry-stream : size count[count], stream stream")
        self.rejected("only a dptr")

    def test_an_extent_needs_a_stream_to_wait_for(self):
        self.add("400 cuFuture sync entry : dptr to[count], size count")
        self.rejected("cuFuture", "entry-stream")

    def test_checks_without_an_entry_point_are_rejected(self):
        self.add("400 cuFuture sync : i32 blocks>0")
        self.rejected("cuFuture", "blocks", "entry point")

    def test_an_entry_point_of_a_stream_is_asynchronous(self):
        self.add("400 cuFutureAsync sync entry-stream : u32 value, stream stream")
        self.rejected("cuFutureAsync", "entry-stream")

    def test_an_entry_point_of_a_stream_ends_with_it(self):
        self.add("400 cuFutureAsync async entry-stream : stream stream, u32 value")
        self.rejected("cuFutureAsync", "entry-stream")

    def test_a_variable_has_an_owner(self):
        self.add("400 cuFuture sync entry-variable : out dptr address, out size bytes, string name")
        self.rejected("cuFuture", "owner")

    def test_what_makes_objects_has_no_generated_entry_point(self):
        self.add("400 cuFuture sync entry : new module module")
        self.rejected("cuFuture", "by hand")

    def test_unknown_words_are_rejected(self):
        self.add("400 cuFuture sync entrance : u32 value")
        self.rejected("cuFuture", "entrance")


unittest.main()
