# SPDX-License-Identifier: MIT
"""What an operator may type wrong: each has its exit status and a message that says what is wrong,
with whom, and what to do; nothing goes to stdout, and the store says afterwards what it said before."""
import os
import signal
import socket
import sqlite3
import subprocess
import time
import unittest

from fixture import ADMIN, UUID, Case

USAGE, UNREACHABLE, NOT_FOUND, CONFLICT, NO_STORE = 2, 3, 4, 5, 6
WEB = "--vm-name=web"
OTHER = "0f1d2c3e-8f4a-5b6c-9d7e-0a1b2c3d4e5f"
WEIGHT = "a number from 1 to 100"
NAME = "is not 1 to 63 letters, digits and any of ._:-"

# What is typed, the exit status, and words that stderr must have.
WRONG = [
    # the command line itself
    ([], USAGE, ["Usage: vgpu-admin"]),
    (["frobnicate"], USAGE, ["no command frobnicate", "see vgpu-admin --help"]),
    (["help", "frobnicate"], USAGE, ["no command frobnicate", "see vgpu-admin --help"]),
    (["list-vms", "now"], USAGE, ['unexpected "now"', "list-vms"]),
    (["list-vms", "list-pools"], USAGE, ['unexpected "list-pools"', "one command"]),
    (["set-weight", "web", "80"], USAGE, ['unexpected "web"', "--NAME=VALUE"]),
    (["list-vms", "--loud"], USAGE, ["--loud", "Try vgpu-admin list-vms --help"]),
    (["--loud", "list-vms"], USAGE, ["--loud", "Try vgpu-admin --help"]),
    (["list-vms", "--weight=3"], USAGE, ["--weight=3", "Try vgpu-admin list-vms --help"]),
    (["list-vms", "--output=xml"], USAGE, ["--output=xml is not table|json|csv"]),
    (["list-vms", "--output="], USAGE, ["--output= is not table|json|csv"]),
    (["list-vms", "--output"], USAGE, ["--output", "requires an argument"]),
    (["set-weight", WEB, "--weight"], USAGE, ["--weight", "requires an argument"]),
    (["set-weight", "--vm-=web", "--weight=3"], USAGE, ["--vm-", "ambiguous"]),
    (["set-weight", WEB, "--weight=3", "--weight=4"], USAGE, ["--weight is there twice"]),
    (["list-vms", "--output=csv", "--output=json"], USAGE, ["--output is there twice"]),
    (["events", "--follow=yes"], USAGE, ["--follow", "allow an argument"]),
    (["top", "--interval=0"], USAGE, ["--interval=0 is not SECONDS"]),
    (["top", "--interval=soon"], USAGE, ["--interval=soon is not SECONDS"]),
    (["top", "--interval=nan"], USAGE, ["--interval=nan is not SECONDS"]),
    (["top", "--count=-1"], USAGE, ["--count=-1 is not NUMBER"]),
    (["top", "--count=1.5"], USAGE, ["--count=1.5 is not NUMBER"]),
    (["quarantine", WEB, b"--reason=\xff\xfe"], USAGE, ["--reason", "UTF-8"]),
    # something is missing
    (["register-vm"], USAGE, ["which VM?", "register-vm needs --vm-name"]),
    (["register-vm", f"--vm-uuid={OTHER}"], USAGE, ["which VM?", "--vm-name"]),
    (["unregister-vm"], USAGE, ["which VM?", "unregister-vm needs --vm-name or --vm-uuid"]),
    (["show-vm"], USAGE, ["which VM?", "show-vm needs --vm-name or --vm-uuid"]),
    (["quarantine"], USAGE, ["which VM?", "--vm-name"]),
    (["clear-quarantine"], USAGE, ["which VM?", "--vm-name"]),
    (["set-weight", "--weight=3"], USAGE, ["which VM?", "--vm-name"]),
    (["set-weight", WEB], USAGE, ["web", "nothing to set", "vgpu-admin help set-weight"]),
    (["set-memory", WEB], USAGE, ["web", "nothing to set", "vgpu-admin help set-memory"]),
    (["set-share-cap", WEB], USAGE, ["web", "nothing to set", "help set-share-cap"]),
    (["set-watchdog", WEB], USAGE, ["web", "nothing to set", "help set-watchdog"]),
    (["set-rate-limit", WEB], USAGE, ["web", "nothing to set", "help set-rate-limit"]),
    (["set-priority", WEB], USAGE, ["web", "set-priority needs --priority, low, medium or high"]),
    (["set-pool", WEB], USAGE, ["web", "set-pool needs --pool, a letter from A to Z"]),
    (["create-pool"], USAGE, ["create-pool needs --pool, a letter from A to Z"]),
    (["delete-pool"], USAGE, ["delete-pool needs --pool, a letter from A to Z"]),
    (["set-pool-weight", "--weight=3"], USAGE, ["set-pool-weight needs --pool"]),
    (["set-pool-weight", "--pool=B"], USAGE, ["B", "set-pool-weight needs --weight", WEIGHT]),
    # values that are wrong
    *[(["set-weight", WEB, f"--weight={value}"], USAGE, [f"web: weight={value} is not {WEIGHT}"])
      for value in ("0", "101", "-1", "+1", "1.5", "abc", "", " 5", "0x10", "1e1", "50%",
                    "18446744073709551617")],
    *[(["set-rate-limit", WEB, f"--rate={value}"], USAGE, [f"web: rate={value} is not calls a second"])
      for value in ("-1", "1000000001", "1k", "")],
    *[(["set-rate-limit", WEB, f"--queue-depth={value}"], USAGE,
       [f"web: queue-depth={value} is not calls from 1 to 65536"]) for value in ("-1", "65537", "ten")],
    (["set-rate-limit", WEB, "--rate=5", "--queue-depth=-1"], USAGE, ["web: queue-depth=-1"]),
    *[(["set-share-cap", WEB, f"--share-cap={value}"], USAGE,
       [f"web: share-cap={value} is not per cent from 1 to 100"]) for value in ("0", "101", "50%")],
    *[(["set-memory", WEB, f"--memory={value}"], USAGE,
       [f"web: memory={value} is not bytes with an optional K, M, G or T", "default"])
      for value in ("0", "-1", "101%", "0%", "16Q", "lots", "", "1.5G", "99999999999999T")],
    *[(["set-watchdog", WEB, f"--watchdog={value}"], USAGE,
       [f"web: watchdog={value} is not seconds from 1 to 86400"]) for value in ("0", "86401", "30s")],
    *[(["set-watchdog", WEB, f"--fault-limit={value}"], USAGE,
       [f"web: fault-limit={value} is not faults from 1 to 1000"]) for value in ("-1", "1001", "")],
    *[(["set-priority", WEB, f"--priority={value}"], USAGE,
       [f"web: priority={value} is not low, medium or high"]) for value in ("top", "HIGH", "", "2")],
    *[(["set-pool", WEB, f"--pool={value}"], USAGE, [f"web: pool={value} is not a letter from A to Z"])
      for value in ("a", "AB", "", "1")],
    (["create-pool", "--pool=D", "--weight=0"], USAGE, [f"D: weight=0 is not {WEIGHT}"]),
    (["set-pool-weight", "--pool=B", "--weight=101"], USAGE, [f"B: weight=101 is not {WEIGHT}"]),
    (["register-vm", "--vm-name=new", "--weight=101"], USAGE, [f"new: weight=101 is not {WEIGHT}"]),
    (["register-vm", "--vm-name=new", "--rate=-1"], USAGE, ["new: rate=-1 is not"]),
    (["register-vm", "--vm-name=new", "--pool=AB"], USAGE, ["new: pool=AB is not"]),
    (["register-vm", "--vm-name=new", "--priority=top"], USAGE, ["new: priority=top is not"]),
    *[(["register-vm", f"--vm-name={name}"], USAGE, [f"vm-name={shown} {NAME}"])
      for name, shown in (("", ""), ("a b", "a b"), ("../x", "../x"), ("a\x1b[2Jb", "a?[2Jb"),
                          ("a\nb", "a?b"), ("\u00e9", "??"), ("n" * 64, "n" * 64))],
    (["register-vm", "--vm-name=" + "n" * 200], USAGE, [NAME]),
    *[(["register-vm", "--vm-name=new", f"--vm-uuid={uuid}"], USAGE,
       [f"vm-uuid={uuid} is not a UUID, such as"])
      for uuid in ("", "6f1d", UUID[:-1], UUID + "0", UUID.replace("-", ""), UUID[:-1] + "g",
                   f"{{{UUID}}}")],
    (["quarantine", WEB, "--reason=" + "r" * 200], USAGE, ["web: the reason is not 1 to"]),
    (["quarantine", WEB, "--reason=two\nlines"], USAGE, ["web: the reason is not 1 to"]),
    (["quarantine", WEB, "--reason=" + "r" * 20000], USAGE, ["too long", "at most 16384 bytes"]),
    (["show-usage", "--hours=0"], USAGE, ["hours=0 is not hours from 1 to 9600"]),
    (["show-faults", "--hours=9601"], USAGE, ["hours=9601 is not hours from 1 to 9600"]),
    (["show-audit", "--last=0"], USAGE, ["last=0 is not a number from 1 to 10000"]),
    (["show-audit", "--last=all"], USAGE, ["last=all is not a number from 1 to 10000"]),
    # what is not there
    *[([verb, "--vm-name=ghost", *options], NOT_FOUND,
       ["VM ghost is not registered", "vgpu-admin list-vms"])
      for verb, *options in (("unregister-vm",), ("show-vm",), ("set-pool", "--pool=A"),
                             ("set-priority", "--priority=low"), ("set-weight", "--weight=3"),
                             ("set-memory", "--memory=1G"), ("set-share-cap", "--share-cap=9"),
                             ("set-rate-limit", "--rate=1"), ("set-watchdog", "--watchdog=9"),
                             ("quarantine",), ("clear-quarantine",))],
    *[([verb, "--vm-name=ghost"], NOT_FOUND, ["VM ghost has not connected", "vgpu-admin list-vms"])
      for verb in ("show-metrics", "show-queue", "show-connections")],
    *[([verb, "--vm-name=ghost"], NOT_FOUND,
       ["VM ghost is not registered, and nothing is known of it", "vgpu-admin list-vms"])
      for verb in ("show-usage", "show-faults")],
    *[([verb, f"--vm-name={name}"], USAGE, [f"vm-name={name} {NAME}"])
      for verb in ("show-metrics", "show-queue", "show-connections", "show-usage", "show-faults")
      for name in ("", "a b", "../x")],
    *[([verb, f"--vm-uuid={OTHER}"], NOT_FOUND,
       [f"no VM with the UUID {OTHER} is registered", "vgpu-admin list-vms"])
      for verb in ("show-metrics", "show-queue", "show-connections", "show-usage", "show-faults")],
    (["set-weight", f"--vm-uuid={OTHER}", "--weight=3"], NOT_FOUND,
     [f"no VM with the UUID {OTHER} is registered", "vgpu-admin list-vms"]),
    (["set-pool", WEB, "--pool=Z"], NOT_FOUND, ["no pool Z", "create-pool --pool=Z"]),
    (["register-vm", "--vm-name=new", "--pool=Z"], NOT_FOUND, ["no pool Z", "create-pool --pool=Z"]),
    (["delete-pool", "--pool=Z"], NOT_FOUND, ["no pool Z", "vgpu-admin list-pools"]),
    (["set-pool-weight", "--pool=Z", "--weight=3"], NOT_FOUND, ["no pool Z", "list-pools"]),
    # what does not go with what is there
    (["register-vm", WEB], CONFLICT, ["VM web is registered already", "vgpu-admin set-"]),
    (["register-vm", "--vm-name=new", f"--vm-uuid={UUID}"], CONFLICT,
     [f"another VM has the UUID {UUID}", "vgpu-admin show-vm"]),
    (["set-weight", "--vm-name=db", f"--vm-uuid={UUID}", "--weight=3"], CONFLICT,
     ["VM db has the UUID (none)", "only one of both"]),
    (["create-pool", "--pool=B"], CONFLICT, ["a pool B already", "set-pool-weight"]),
    (["delete-pool", "--pool=B"], CONFLICT, ["pool B has members", "vgpu-admin set-pool"]),
    (["delete-pool", "--pool=A"], CONFLICT, ["pool A is where VMs are by default"]),
    (["quarantine", "--vm-name=db"], CONFLICT, ["VM db is quarantined already"]),
    (["clear-quarantine", WEB], CONFLICT, ["VM web is not quarantined"]),
    (["unregister-vm", "--vm-name=db"], CONFLICT, ["VM db is quarantined", "clear-quarantine"]),
]


def printed(text):
    return all(character == "\n" or character.isprintable() for character in text)


class WrongInput(Case):
    def test_each_has_a_status_and_a_message_and_changes_nothing(self):
        self.done("create-pool", "--pool=B", "--weight=70")
        self.done("register-vm", WEB, f"--vm-uuid={UUID}", "--pool=B", "--weight=80")
        self.done("register-vm", "--vm-name=db")
        self.done("quarantine", "--vm-name=db")
        before = self.mediator.dump()
        self.assertGreater(len(WRONG), 100)
        for words, status, said in WRONG:
            with self.subTest(words=words):
                result = self.run_admin(*words)
                self.assertEqual(result.returncode, status, result.stderr)
                self.assertEqual(result.stdout, "")
                for text in said:
                    self.assertIn(text, result.stderr)
                self.assertTrue(printed(result.stderr), result.stderr)
                self.assertEqual(self.mediator.dump(), before)
        self.assertIsNone(self.mediator.process.poll())

    def test_what_the_mediator_refused_is_in_the_audit(self):
        self.run_admin("register-vm", "--vm-name=web", "--weight=0")
        self.run_admin("set-pool", "--vm-name=\x1b[2J", "--pool=B")
        audit = self.json("show-audit")
        self.assertEqual([(action["verb"], action["target"]) for action in audit],
                         [("set-pool", "?[2J"), ("register-vm", "web")])
        self.assertIn("weight=0 is not", audit[1]["outcome"])
        self.assertFalse(self.ask(self.connect(), verb="create-pool", name="B", pool="B")["ok"])
        action = self.json("show-audit", "--last=1")[0]
        self.assertEqual(action["verb"], "create-pool")
        self.assertIn("create-pool knows no argument name", action["outcome"])
        # What is not done by a command of vgpu-admin, but by a signal:
        reloads = lambda: [a for a in self.json("show-audit") if a["verb"] == "reload"]
        self.mediator.process.send_signal(signal.SIGHUP)
        self.await_true(lambda: len(reloads()) == 1, "it was read again")
        with open(self.mediator.config, "a") as file:
            file.write("no-such-key=1\n")
        self.mediator.process.send_signal(signal.SIGHUP)
        self.await_true(lambda: len(reloads()) == 2, "it was not")
        wrong, done = reloads()
        self.assertEqual((done["target"], done["outcome"], done["process"], done["user"]),
                         (self.mediator.config, "done", os.getpid(), os.getuid()))
        self.assertIn("all settings stay as they were", wrong["outcome"])
        self.assertTrue(printed(self.done("show-audit")))


    def test_more_than_an_answer_holds_is_refused(self):
        hour = int(time.time()) // 3600
        store = sqlite3.connect(self.mediator.store)
        store.executemany("INSERT INTO usage VALUES (?, ?, 1, 1, 1, 1)",
                          [(f"vm-{i % 201}", hour - i // 201) for i in range(201 * 100)])
        store.executemany("INSERT INTO audit (time, uid, pid, verb, target, arguments, outcome) "
                          "VALUES (0, 0, 0, 'set-weight', 'web', ?, 'done')",
                          [("x" * 1024,)] * 9000)
        store.commit()
        store.close()
        self.assertEqual(len(self.json("show-usage", "--hours=99")), 201 * 99)
        self.fails(USAGE, "more than 20000 rows; take fewer --hours, or one VM", "show-usage",
                   "--hours=100")
        self.assertEqual(len(self.json("show-usage", "--hours=100", "--vm-name=vm-7")), 100)
        self.assertEqual(len(self.json("show-audit", "--last=5000")), 5000)
        self.fails(USAGE, "longer than 8 MiB", "show-audit", "--last=9000")

    def test_a_store_that_is_gone_takes_no_changes(self):
        away = self.mediator.store + ".away"
        os.rename(self.mediator.store, away)
        self.fails(1, "nothing was changed: the store " + self.mediator.store + ": the file is gone",
                   "register-vm", WEB)
        self.assertEqual(self.json("list-vms"), [])
        os.rename(away, self.mediator.store)
        self.done("register-vm", WEB)

    def test_a_store_that_another_program_has_locked_takes_no_changes(self):
        other = sqlite3.connect(self.mediator.store, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        self.fails(1, "database is locked; see the disk it is on, other programs that use it",
                   "register-vm", WEB)
        self.assertEqual(self.json("list-vms"), [])
        other.execute("ROLLBACK")
        self.done("register-vm", WEB)

    def test_the_audit_keeps_no_more_of_a_request_than_honest_ones_have(self):
        self.run_admin("quarantine", WEB, "--reason=" + "r" * 9000)
        arguments = self.json("show-audit", "--last=1")[0]["arguments"]
        self.assertEqual((len(arguments), arguments[-4:]), (1024, "r..."))


class NoMediator(unittest.TestCase):
    def setUp(self):
        self.folder = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"vgpu-none-{os.getpid()}")
        os.mkdir(self.folder)
        self.path = os.path.join(self.folder, "socket")
        self.addCleanup(os.rmdir, self.folder)

    def fails(self, path, status, *said):
        result = subprocess.run([ADMIN, f"--socket={path}", "list-vms"], capture_output=True,
                                text=True, check=False, timeout=20)
        self.assertEqual((result.returncode, result.stdout), (status, ""), result.stderr)
        for text in (path, *said):
            self.assertIn(text, result.stderr)

    def test_no_socket(self):
        self.fails(self.path, UNREACHABLE, "No such file", "is vgpu-mediator running?")

    def test_a_socket_that_nobody_listens_at(self):
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(self.path)
        self.addCleanup(os.unlink, self.path)
        self.fails(self.path, UNREACHABLE, "refused", "is vgpu-mediator running?")

    def test_a_folder_and_a_path_that_is_too_long(self):
        self.fails(self.folder, UNREACHABLE, "--socket=PATH")
        self.fails("/" + "x" * 120, UNREACHABLE, "too long", "see --socket=PATH")

    def test_one_that_hangs_up_or_talks_nonsense(self):
        for said, text in ((b"", "hung up"), (b"hello\n", "is not JSON")):
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(self.path)
                server.listen()
                with subprocess.Popen([ADMIN, f"--socket={self.path}", "list-vms"],
                                      stderr=subprocess.PIPE, text=True) as client:
                    peer, _ = server.accept()
                    peer.recv(4096)
                    peer.sendall(said)
                    peer.close()
                    self.assertIn(text, client.stderr.read())
                    self.assertEqual(client.wait(10), UNREACHABLE)
            os.unlink(self.path)


class WithoutStore(Case):
    settings = ""

    def test_changes_need_a_store(self):
        for words in (["register-vm", WEB], ["create-pool", "--pool=B"], ["quarantine", WEB],
                      ["show-audit"], ["show-usage"]):
            self.fails(NO_STORE, "set store= in [mediator] of its configuration", *words)
        self.assertEqual(self.json("list-vms"), [])


if __name__ == "__main__":
    unittest.main()
