# SPDX-License-Identifier: MIT
"""Who may use the admin socket, and that no client of it keeps others from it: neither by silence,
nor by floods, nor by not reading."""
import csv
import grp
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import unittest

from fixture import ADMIN, Case

NOBODY = 65534
GROUP = "games"  # of Debian's, with nobody in it


@unittest.skipUnless(os.getuid() == 0, "only root can be somebody else")
class Permissions(Case):
    settings = f"admin-group={GROUP}\nstore={{folder}}/vgpu.db"

    def setUp(self):
        super().setUp()
        folder = self.mediator.folder.name
        os.chmod(folder, 0o755)
        self.program = shutil.copy(ADMIN, folder)  # where others can reach it
        self.done("register-vm", "--vm-name=web")

    def run_as(self, user, group, groups, *words):
        return subprocess.run([self.program, f"--socket={self.mediator.socket}", *words], user=user,
                              group=group, extra_groups=groups, capture_output=True, text=True,
                              timeout=30, check=False)

    def test_the_socket_is_of_the_group(self):
        state = os.stat(self.mediator.socket)
        self.assertEqual((state.st_mode & 0o777, state.st_gid), (0o660, grp.getgrnam(GROUP).gr_gid))

    def test_members_of_the_group_change(self):
        group = grp.getgrnam(GROUP).gr_gid
        for own, further in ((group, []), (NOBODY, [group]), (NOBODY, [1, 2, group, 3])):
            result = self.run_as(NOBODY, own, further, "set-weight", "--vm-name=web", "--weight=7")
            self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.json("show-audit", "--last=1")[0]["user"], NOBODY)

    def test_others_are_not_let_in(self):
        for words in (["list-vms"], ["set-weight", "--vm-name=web", "--weight=7"]):
            result = self.run_as(NOBODY, NOBODY, [], *words)
            self.assertEqual((result.returncode, result.stdout), (7, ""))
            self.assertIn(f"Permission denied; root and the members of the group {GROUP} may",
                          result.stderr)

    def test_others_that_are_let_in_look_and_change_nothing(self):
        os.chmod(self.mediator.socket, 0o666)
        before = self.mediator.dump()
        result = self.run_as(NOBODY, NOBODY, [], "show-vm", "--vm-name=web", "--output=json")
        self.assertEqual(json.loads(result.stdout)["vm"], "web")
        for words in (["set-weight", "--vm-name=web", "--weight=7"], ["unregister-vm", "--vm-name=web"],
                      ["register-vm", "--vm-name=new"], ["create-pool", "--pool=B"],
                      ["quarantine", "--vm-name=web"]):
            result = self.run_as(NOBODY, NOBODY, [], *words)
            self.assertEqual((result.returncode, result.stdout), (7, ""), result.stderr)
            self.assertIn(f"user {NOBODY} may look, but not {words[0]}", result.stderr)
            self.assertIn(f"usermod --append --groups {GROUP}", result.stderr)
        self.assertEqual(self.mediator.dump(), before)
        newest = self.json("show-audit", "--last=1")[0]
        self.assertEqual((newest["verb"], newest["user"]), ("quarantine", NOBODY))
        self.assertIn("may look, but not quarantine", newest["outcome"])

    def test_who_is_denied_does_not_fill_the_audit(self):
        os.chmod(self.mediator.socket, 0o666)
        before = len(self.json("show-audit"))
        child = os.fork()
        if child == 0:
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setgroups([])
            os.setresuid(NOBODY, NOBODY, NOBODY)
            client = self.mediator.connect()
            for _ in range(200):
                self.ask(client, verb="unregister-vm", what="ever")
            os._exit(0)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        denied = self.json("show-audit", "--last=1000")
        self.assertTrue(60 <= len(denied) - before <= 120, len(denied))  # an hour may have begun
        self.assertEqual(denied[0]["user"], NOBODY)
        self.assertIn("what", denied[0]["arguments"])

    def test_one_user_with_many_clients_keeps_nobody_out(self):
        os.chmod(self.mediator.socket, 0o666)
        silent = self.connect()  # of root
        self.assertTrue(self.ask(silent, verb="list-pools")["ok"])
        child = os.fork()
        if child == 0:
            os.setresuid(NOBODY, NOBODY, NOBODY)
            kept = [self.mediator.connect() for _ in range(100)]
            signal.pause()
            os._exit(len(kept))
        try:
            # Nobody's first one is hung up on when the 65th client comes.
            self.await_true(lambda: "is hung up on" in self.mediator.logged(), "too many clients")
            self.assertTrue(self.ask(silent, verb="list-pools")["ok"])
            self.done("list-vms")
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)

    def test_a_group_that_is_not_there_is_a_mistake(self):
        with open(self.mediator.config, "r+") as file:
            text = file.read().replace(f"={GROUP}\n", "=no-such-group\n")
            file.seek(0)
            file.write(text)
        result = subprocess.run([os.environ["VGPU_MEDIATOR"], "--check-config", "--config",
                                 self.mediator.config], capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn('admin-group: "no-such-group" is not a group of this host', result.stderr)


class Clients(Case):
    def test_of_many_clients_the_longest_silent_makes_room(self):
        clients = [self.connect() for _ in range(80)]
        self.assertTrue(self.ask(clients[79], verb="list-pools")["ok"])
        self.assertIn(b"too many clients", self.line(clients[0]))
        self.assertEqual(clients[0].recv(1), b"")
        self.done("list-vms")

    def test_requests_have_a_limit_of_size(self):
        client = self.connect()
        client.sendall(b"x" * 16000)  # and no end
        self.done("list-vms")
        client.sendall(b"x" * 4000)
        answer = json.loads(self.line(client))
        self.assertEqual(answer["error"]["code"], "invalid")
        self.assertIn("at most 16384 bytes", answer["error"]["message"])

    def test_requests_that_are_sent_together_are_answered_in_order(self):
        client = self.connect()
        client.sendall(b'{"verb": "create-pool", "pool": "B"}\n{"verb": "list-pools"}\n{"verb')
        self.assertEqual(json.loads(self.line(client))["result"]["pool"], "B")
        self.assertEqual(len(json.loads(self.line(client))["result"]), 2)
        client.sendall(b'": "nothing"}\n')
        self.assertFalse(json.loads(self.line(client))["ok"])

    def test_a_flood_that_is_not_read_waits_for_its_reader(self):
        flood = self.connect()
        flood.setblocking(False)
        request, sent = b'{"verb": "show-health"}\n', 0
        while sent < 1 << 20:  # until the mediator takes no more
            try:
                sent += flood.send(request * 100)
            except BlockingIOError:
                break
            self.done("list-pools")  # others are served
        self.assertLess(sent, 1 << 20)
        with open(f"/proc/{self.mediator.process.pid}/statm") as file:
            memory = int(file.read().split()[1]) * 4096
        self.assertLess(memory, 64 << 20)
        flood.settimeout(10)
        answers = b""
        while answers.count(b"\n") < sent // len(request):
            answers += flood.recv(1 << 20)
        self.assertEqual(answers.count(b'"ok":true'), sent // len(request))

    def test_garbage_is_answered_and_breaks_nothing(self):
        self.done("register-vm", "--vm-name=web")
        seed = int.from_bytes(os.urandom(4), "little")
        values = ["", "web", "web\0", "\u0000", "\ud800", "a" * 3000, -1, 1 << 70, 1.5, 1e400, None, True,
                  [], {}, [[]] * 50, {"verb": "list-vms"}, "%s%n", "'; DROP TABLE vms; --"]
        verbs = ["show-vm", "set-weight", "register-vm", "create-pool", "events", "show-usage", "", 7]
        keys = ["vm-name", "vm-uuid", "pool", "weight", "memory", "hours", "follow", "reason", "x"]
        with self.subTest(seed=seed):
            chance = random.Random(seed)
            client = self.connect()
            for _ in range(1000):
                request = {"verb": chance.choice(verbs)}
                for key in chance.sample(keys, chance.randrange(1, 4)):
                    request[key] = chance.choice(values)
                line = json.dumps(request).encode()
                if chance.random() < 0.5:  # broken, and no request at all or another one
                    line = bytearray(line)
                    for _ in range(chance.randrange(1, 5)):
                        line[chance.randrange(len(line))] = chance.choice(b'\0{}[]",:\\0e\xff ')
                if b'"follow":true' in line.replace(b" ", b""):
                    continue
                client.sendall(line + b"\n")
                self.assertIn("ok", json.loads(self.line(client)), line)
            client.sendall(b"[" * 10000 + b"\n")  # deep
            self.assertFalse(json.loads(self.line(client))["ok"])
            for row in self.json("list-vms"):  # what was right by chance was done
                self.assertRegex(row["vm"], r"^[A-Za-z0-9._:-]{1,63}$")
            subprocess.run([os.environ["VGPU_MEDIATOR"], "--check-store", "--config",
                            self.mediator.config], check=True, stdout=subprocess.DEVNULL)

    def test_a_slow_follower_is_told_how_much_it_missed(self):
        slow, busy = self.connect(), self.connect()
        self.assertTrue(self.ask(slow, verb="events", follow=True)["ok"])
        self.ask(busy, verb="create-pool", pool="B")
        done = 1
        while done < 1500:  # more than a socket and the mediator hold
            self.ask(busy, verb="set-pool-weight", pool="B", weight=done % 100 + 1)
            done += 1
        received, missed = [], 0
        while not missed or len(received) + missed < done:
            event = json.loads(self.line(slow))
            if event["kind"] == "dropped":
                missed += int(event["text"].split()[0])
            else:
                received.append(event["event"])
        self.assertGreater(missed, 0)
        self.assertEqual(len(received) + missed, done)
        self.assertEqual(received, sorted(set(received)))
        self.ask(busy, verb="set-pool-weight", pool="B", weight=50)  # it goes on
        self.assertEqual(json.loads(self.line(slow))["event"], done + 1)

    def test_events_are_followed_until_the_mediator_goes(self):
        with subprocess.Popen([ADMIN, f"--socket={self.mediator.socket}", "events", "--follow",
                               "--output=json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as follower:
            # What happened before comes first, so it does not matter when it begins to follow.
            self.done("register-vm", "--vm-name=web")
            self.done("set-weight", "--vm-name=web", "--weight=3")
            events = [json.loads(follower.stdout.readline()) for _ in range(2)]
            self.assertEqual([(event["kind"], event["vm"]) for event in events],
                             [("registered", "web"), ("changed", "web")])
            self.mediator.process.terminate()
            self.assertEqual(follower.wait(10), 3)
            self.assertIn("hung up", follower.stderr.read())

    def test_followed_events_have_heads_as_csv(self):
        with subprocess.Popen([ADMIN, f"--socket={self.mediator.socket}", "events", "--follow",
                               "--output=csv"], stdout=subprocess.PIPE, text=True) as follower:
            self.done("register-vm", "--vm-name=web")
            self.done("set-weight", "--vm-name=web", "--weight=3")
            rows = csv.DictReader(follower.stdout)
            self.assertEqual([next(rows)["kind"] for _ in range(2)], ["registered", "changed"])
            follower.kill()

    def test_who_follows_ends_when_nobody_reads_it(self):
        with subprocess.Popen([ADMIN, f"--socket={self.mediator.socket}", "events", "--follow"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
            self.done("register-vm", "--vm-name=web")
            follower.stdout.readline()
            follower.stdout.close()
            self.assertIn(follower.wait(10), (0, 1))  # although nothing happens any more
            self.assertEqual(follower.stderr.read(), "")

    def test_what_is_asked_for_is_done_though_nobody_reads_the_answer(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([ADMIN, f"--socket={self.mediator.socket}", "register-vm",
                               "--vm-name=web"], stdout=writer, stderr=subprocess.PIPE, check=False)
        os.close(writer)
        self.assertEqual(done.stderr, b"")
        self.assertEqual(self.json("show-vm", "--vm-name=web")["registered"], True)

    def test_a_mediator_that_does_not_answer_is_told_of(self):
        self.done("list-pools")
        self.mediator.process.send_signal(signal.SIGSTOP)
        with subprocess.Popen([ADMIN, f"--socket={self.mediator.socket}", "list-pools"],
                              stderr=subprocess.PIPE, text=True) as client:
            self.assertIn("has not answered for", client.stderr.read())
            self.assertEqual(client.wait(), 3)


if __name__ == "__main__":
    unittest.main()
