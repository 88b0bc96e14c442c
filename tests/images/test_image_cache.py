#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The host's cache of images, from a program to the file: test_image_cache.py PROGRAM, where PROGRAM
loads an image that is worth a name (tests/driver_api/modules.c)."""
import hashlib
import os
import sys
import unittest

from harness import Mediator

PROGRAM = sys.argv.pop()


class ImageCache(unittest.TestCase):
    def setUp(self):
        self.mediator = Mediator().start()
        self.addCleanup(self.mediator.stop)

    def run_program(self):
        """Runs it to its end; what the images' counters say after all runs so far."""
        process = self.mediator.run(PROGRAM)
        output = process.communicate(timeout=120)[0]
        self.assertEqual(process.returncode, 0, output)
        totals = self.mediator.status()
        return {name: sum(vm[f"images_{name}"] for vm in totals)
                for name in ("found", "missed", "refused", "poisoned")}

    def files(self):
        return [os.path.join(self.mediator.image_cache, name)
                for name in os.listdir(self.mediator.image_cache)]

    def check_names(self):
        self.assertTrue(self.files())
        for path in self.files():
            with open(path, "rb") as file:
                self.assertEqual(os.path.basename(path), hashlib.sha256(file.read()).hexdigest())

    def test_the_second_program_uploads_nothing(self):
        first = self.run_program()
        self.check_names()
        self.assertGreater(first["missed"], 0)
        self.assertGreater(first["found"], 0)  # what it loads again itself
        second = self.run_program()
        images = len(self.files())
        # What a driver refuses is not kept, and so missed every time.
        self.assertEqual(second["missed"] - first["missed"], first["missed"] - images)
        self.assertEqual((second["refused"], second["poisoned"]), (0, 0))

    def test_poisoned_files_are_replaced(self):
        self.run_program()
        for number, path in enumerate(self.files()):
            with open(path, "r+b") as file:
                if number % 2:
                    file.truncate(100)
                else:
                    file.seek(50)
                    file.write(b"poison")
        count = len(self.files())
        counters = self.run_program()
        self.assertEqual(counters["poisoned"], count)
        self.check_names()
        self.assertEqual(len(self.files()), count)

    def test_all_works_without_a_cache(self):
        self.mediator.stop()
        self.mediator = Mediator()
        with open(self.mediator.config, encoding="utf-8") as file:
            settings = file.read().replace(self.mediator.image_cache, "none")
        with open(self.mediator.config, "w", encoding="utf-8") as file:
            file.write(settings)
        self.mediator.start()
        self.addCleanup(self.mediator.stop)
        self.assertEqual(self.run_program(), dict.fromkeys(
            ("found", "missed", "refused", "poisoned"), 0))


unittest.main()
