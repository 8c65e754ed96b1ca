#!/usr/bin/env python3
"""The Kafka clients that people have, against a hub: every client through every behaviour, and a table of it.

    tests/clients/kafka/matrix.py --tradelane target/debug/tradelane --kafka DIR [--engine kafka] [CLIENT...]

The hub keeps the records itself, or (`--engine kafka`) one broker of Apache Kafka behind it does, which is started for that.
DIR is what `tools/kafka/kafka.py fetch` made. Each client is a small program in drivers/ (its README says how it is
driven), so that all are asked the same. A client that is not installed is skipped, loudly; with TRADELANE_REQUIRE_SERVERS=1
that is a failure. Each client has topics of its own; they are tested side by side, and the hub is killed under all at once.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import importlib.util
import json
import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback

from brokers import kafka
from console import CLIENT as CONSOLE
from console import console
from hub import OWNER, READER, Hub

HERE = pathlib.Path(__file__).resolve().parent
DRIVERS = HERE / "drivers"
WAIT = 90
READS = ("codecs", "large", "groups", "filtered tail", "revoked", "restart", "resume")
# What the reader calls its topics begins with this; their owner calls them otherwise.
READERS_NAME = "from-maker."
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")


class Client:
    def __init__(self, name, command, needs, codecs="none gzip snappy lz4 zstd", but=None, newer=False):
        self.name, self.command, self.needs, self.codecs, self.but = name, command, needs, codecs.split(), but or {}
        # Does it speak the newer protocol of groups (KIP-848)?
        self.newer = newer


def installed(module):
    return lambda: importlib.util.find_spec(module) is not None


def in_node(package):
    return lambda: shutil.which("node") and (HERE / "node/node_modules" / package).is_dir()


def clients(kafka):
    jars = lambda: kafka and shutil.which("javac") and (pathlib.Path(kafka) / "complete").exists()
    java = ["java", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-Dorg.apache.kafka.sasl.oauthbearer.allowed.files={token_file}",
            "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://{token_file}",
            "-Dlog4j2.configurationFile=%s/log4j2.xml" % kafka, "-cp", "{work}:%s/libs/*" % kafka, "Driver"]
    python = lambda file: [sys.executable, str(DRIVERS / file)]
    node = lambda file: ["node", str(HERE / "node" / file)]
    return [
        Client("kafka-clients", java, jars, newer=True),
        Client("confluent-kafka", python("librdkafka.py"), installed("confluent_kafka"), newer=True),
        Client("kcat", python("kcat_driver.py"), lambda: shutil.which("kcat"),
               but={"OAUTHBEARER": "has no way to be given a token"}),
        Client("aiokafka", python("aiokafka_driver.py"), installed("aiokafka"),
               but={"violation": "knows no INVALID_RECORD, says UnknownError", "wrong key": "says it in its log only"}),
        Client("kafka-python", python("kafka_python_driver.py"), installed("kafka"), but={"wrong key": "tries again until its time is up"}),
        Client("kafkajs", node("kafkajs.mjs"), in_node("kafkajs")),
        Client("platformatic", node("platformatic.mjs"), in_node("@platformatic/kafka"),
               codecs="none gzip snappy lz4" + (" zstd" if node_has_zstd() else ""),
               but={"transactional offsets": "takes them from a message of its own consumer only",
                    "transactional id again": "asks for producer 0 where it has none, and is fenced by any Kafka"}),
    ]


def node_has_zstd():
    if not shutil.which("node"):
        return False
    asked = subprocess.run(["node", "-e", "process.exit(require('zlib').zstdCompressSync ? 0 : 1)"])
    return asked.returncode == 0


def order(n, lane="open", note=None):
    event = {"id": "o-%d" % n, "n": n, "lane": lane, "secret": "SECRET-%d" % n}
    if note:
        event["note"] = note
    return json.dumps(event)


class World:
    """A client, its topics, and how it is run."""

    def __init__(self, hub, work, client):
        self.hub, self.work, self.client = hub, pathlib.Path(work), client
        self.processes = []

    def topic(self, what):
        return "%s-%s" % (self.client.name, what)

    def settings(self, who, mechanism="PLAIN", **more):
        key = more.pop("password", None) or self.hub.key(who)
        token_file = self.work / (self.client.name + ".token")
        return dict(bootstrap=self.hub.kafka, ca=self.hub.ca, mechanism=mechanism, user=key.split("_")[1], password=key,
                    token_file=str(token_file), **more)

    def command(self, mode, settings):
        values = dict(work=str(self.work), token_file=settings["token_file"])
        return [part.format(**values) if "{" in part else part for part in self.client.command] + [mode]

    def run(self, mode, settings, **more):
        environment = {**os.environ, "SETTINGS": json.dumps(settings)}
        errors = open(self.work / (self.client.name + ".err"), "ab")
        process = subprocess.Popen(self.command(mode, settings), env=environment, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=errors, text=True)
        self.processes.append(process)
        return process

    def produce(self, records, what="main", partitions=3, **more):
        """Publishes; what the client said of each record."""
        settings = self.settings(OWNER, topic=self.topic(what), partitions=partitions, **more)
        process = self.run("produce", settings)
        text, _ = process.communicate("".join(json.dumps(one) + "\n" for one in records), timeout=WAIT)
        told = [json.loads(line) for line in text.splitlines()]
        assert len(told) == len(records), "%d of %d were told of; exit %s; %s" % (
            len(told), len(records), process.returncode, self.stderr())
        return told

    def publish(self, *arguments, **more):
        """Publishes, and all of it must be taken."""
        told = self.produce(*arguments, **more)
        bad = [one for one in told if "error" in one]
        assert not bad, "%d refused: %s" % (len(bad), bad[0])
        return told

    def consumer(self, group, what="main", who=READER, **more):
        named = "" if who == OWNER else READERS_NAME
        settings = self.settings(who, topic=named + self.topic(what), group=self.topic(group), **more)
        return Reading(self, self.run("consume", settings), may_see_all=who == OWNER)

    def stderr(self):
        return (self.work / (self.client.name + ".err")).read_text(errors="replace")[-600:]

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()


class Reading:
    """A consumer that runs, and what it has said so far."""

    def __init__(self, world, process, may_see_all):
        self.world, self.process, self.may_see_all = world, process, may_see_all
        self.records, self.errors, self.held, self.news = [], [], None, queue.Queue()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            one = json.loads(line)
            if "held" in one:
                self.held = one["held"]
            elif "error" in one:
                self.errors.append(one)
            else:
                event = json.loads(one["value"])
                assert self.may_see_all or "secret" not in event and "SECRET" not in line, line
                self.records.append({**one, "event": event})
        self.news.put("end")

    def ids(self):
        return {one["event"]["id"] for one in self.records}

    def until(self, check, what, seconds=WAIT):
        end = time.monotonic() + seconds
        while not check():
            if time.monotonic() > end or (self.process.poll() is not None and self.news.qsize()):
                raise AssertionError("%s did not happen; exit %s, held %s, %d records, errors %s, %s" % (
                    what, self.process.poll(), self.held, len(self.records), self.errors[-2:], self.world.stderr()))
            time.sleep(0.05)

    def has(self, ids, seconds=WAIT):
        wanted = set(ids)
        self.until(lambda: wanted <= self.ids(), "reading %d records" % len(wanted), seconds)

    def leave(self):
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("it does not end when asked") from None

    def kill(self):
        self.process.kill()
        self.process.wait()


def names(numbers):
    return {"o-%d" % n for n in numbers}


# The behaviours. Each is given a world and raises if it is not so.

def codecs(world):
    """Every codec, keys, headers; masked fields and hidden rows do not arrive, what is shown arrives in order."""
    shown, n = set(), 0
    for codec in world.client.codecs:
        records = []
        for _ in range(12):
            lane = "closed" if n % 4 == 3 else "open"
            records.append({"key": "k%d" % n, "value": order(n, lane, "x" * 300), "partition": n % 3, "headers": {"codec": codec}})
            if lane == "open":
                shown.add(n)
            n += 1
        world.publish(records, codec=codec)
    reading = world.consumer("codecs")
    reading.has(names(shown))
    assert reading.ids() == names(shown), reading.ids() ^ names(shown)
    for one in reading.records:
        assert one["key"] == "k%d" % one["event"]["n"], one
        assert one["headers"] == {"codec": world.client.codecs[one["event"]["n"] // 12]}, one
    for partition in range(3):
        offsets = [one["offset"] for one in reading.records if one["partition"] == partition]
        assert offsets == sorted(set(offsets)), offsets
    reading.leave()


def large(world):
    """A record of 900 KB and one after it."""
    note = "".join(chr(97 + index * 7 % 26) for index in range(900_000))
    codec = "lz4" if "lz4" in world.client.codecs else "none"
    world.publish([{"key": "a", "value": order(1, note=note)}], "large", 1)
    world.publish([{"key": "b", "value": order(2, note=note)}, {"key": "c", "value": order(3)}], "large", 1, codec=codec)
    reading = world.consumer("large", "large")
    reading.has(names([1, 2, 3]))
    assert all(one["event"]["note"] == note for one in reading.records if one["event"]["n"] < 3)
    reading.leave()


def groups(world):
    """Members join, leave and are killed while records come; nothing is lost."""
    name, group = "group", "g"
    wave = lambda first: world.publish(
        [{"key": "k", "value": order(n), "partition": n % 3} for n in range(first, first + 60)], name)
    everything = lambda members: set().union(*(one.ids() for one in members))
    wave(0)
    members = [world.consumer(group, name)]
    members[0].has(names(range(60)))
    members += [world.consumer(group, name), world.consumer(group, name)]
    shared = lambda: all(one.held is not None and len(one.held) == 1 for one in members) and len({p for one in members for p in one.held}) == 3
    members[0].until(shared, "each of three members having one partition (%s)" % [one.held for one in members])
    wave(60)
    members[0].until(lambda: names(range(120)) <= everything(members), "the group reading the second wave")
    members[1].leave()
    wave(120)
    left = [members[0], members[2]]
    members[0].until(lambda: names(range(180)) <= everything(members), "the group reading on after a member left")
    members[2].kill()
    wave(180)
    members[0].until(lambda: names(range(240)) <= everything(members), "the last member reading after another was killed")
    members[0].until(lambda: sorted(members[0].held) == [0, 1, 2], "the last member having all partitions")
    members[0].leave()
    assert left


def filtered_tail(world):
    """A partition that ends in hidden rows, and one that has nothing else, hold nobody up."""
    what = "tail"
    world.publish([{"key": "k", "value": order(n), "partition": 0} for n in range(3)], what)
    world.publish([{"key": "k", "value": order(n, "closed"), "partition": n % 2} for n in range(100, 180)], what)
    reading = world.consumer("tail", what)
    reading.has(names(range(3)))
    time.sleep(2)
    world.publish([{"key": "k", "value": order(n), "partition": n % 2} for n in range(200, 204)], what)
    reading.has(names([0, 1, 2, 200, 201, 202, 203]), 30)
    assert reading.ids() == names([0, 1, 2, 200, 201, 202, 203])
    assert not reading.errors, reading.errors
    reading.leave()
    again = world.consumer("tail", what)
    world.publish([{"key": "k", "value": order(300), "partition": 0}], what)
    again.has(names([300]), 30)
    assert again.ids() <= names([300]), "committed offsets were not kept: %s" % again.ids()
    again.leave()


def transactions(world):
    """Committed ones arrive whole, aborted ones not at all, and offsets go with them. A hub that has none says so."""
    what, offsets = "transactions", lambda at: {} if "transactional offsets" in world.client.but else {
        "group": world.topic("own"), "offsets": {str(partition): at for partition in range(3)}}
    give = lambda first, count: [{"key": "k", "value": order(n), "partition": n % 3} for n in range(first, first + count)]
    again = "transactional id again" not in world.client.but
    if not world.hub.has_transactions:
        told = world.produce(give(0, 1), what, transaction={"id": world.topic("t"), "end": "commit"})
        # kafkajs: it found no coordinator for it.
        assert re.search("transactional_?id|coordinator", told[0].get("error", "") + told[0].get("message", ""), re.I), told
        return "refused: " + told[0]["error"]
    world.publish(give(0, 12), what, transaction={"id": world.topic("t"), "end": "commit", **offsets(2)})
    world.publish(give(100, 12), what, transaction={"id": world.topic("t" if again else "t2"), "end": "abort", **offsets(4)})
    world.publish(give(200, 3), what)
    for isolation, expected in ("read_committed", {*range(12), *range(200, 203)}), (
            "read_uncommitted", {*range(12), *range(100, 112), *range(200, 203)}):
        reading = world.consumer(isolation, what, isolation=isolation)
        reading.has(names(expected))
        assert reading.ids() == names(expected), reading.ids() ^ names(expected)
        reading.leave()
    if "transactional offsets" not in world.client.but:
        reading = world.consumer("own", what, who=OWNER)
        reading.has(names({*range(6, 12), *range(200, 203)}))
        assert reading.ids() == names({*range(6, 12), *range(200, 203)}), "offsets of a transaction: %s" % reading.ids()
        reading.leave()


REFUSED = re.compile("INVALID_?RECORD|validat|rejected|quality|InvalidRecord|reject|contract|invalid record", re.I)


def violation(world):
    """A record that breaks its contract is refused at the producer, in words; what came in other batches stays."""
    told = world.produce([{"key": "k", "value": json.dumps({"id": 5})}], "group", 1)
    assert "error" in told[0], told
    if "violation" in world.client.but:
        return "- " + world.client.but["violation"]
    assert REFUSED.search(told[0]["error"] + told[0].get("message", "")), told
    return told[0]["error"]


def revoked(world, what="brief", more={}):
    """A consumer whose grant ends is told so at its next fetch, and is given nothing more."""
    world.publish([{"key": "k", "value": order(1)}], what, 1)
    reading = world.consumer(what, what, **more)
    reading.has(names([1]))
    world.hub.revoke(world.topic(what))
    world.publish([{"key": "k", "value": order(2)}], what, 1)
    pattern = re.compile("AUTHORIZATION|Authorization|not authorized|Not authorized|UNKNOWN_TOPIC|Unknown topic|does not host", re.I)
    reading.until(lambda: any(pattern.search(one["error"] + one["message"]) for one in reading.errors), "an error", 40)
    assert reading.ids() == names([1]), reading.ids()
    told = next(one["error"] for one in reading.errors if pattern.search(one["error"] + one["message"]))
    reading.kill()
    return told


def newer_groups(world):
    """The newer protocol (KIP-848): members share, one leaves and the other takes over, offsets are resumed, a pattern finds
    the reader's own names. The embedded engine has only the classic one, and clients say so."""
    what, newer = "newer", {"protocol": "consumer"}
    wave = lambda first: world.publish(
        [{"key": "k", "value": order(n), "partition": n % 4} for n in range(first, first + 60)], what, 4)
    if not world.hub.has_transactions:
        reading = world.consumer("newer", what, **newer)
        clear = lambda: [one for one in reading.errors if re.search("support|protocol", one["error"] + one["message"], re.I)]
        reading.until(clear, "saying that the protocol is not supported", 60)
        reading.kill()
        return "refused: " + clear()[0]["error"]
    wave(0)
    members = [world.consumer("newer", what, **newer)]
    members[0].has(names(range(60)))
    members.append(world.consumer("newer", what, **newer))
    share = lambda: all(one.held is not None and len(one.held) == 2 for one in members) and sorted(
        partition for one in members for partition in one.held) == [0, 1, 2, 3]
    members[0].until(share, "two members sharing four partitions")
    everything = lambda: members[0].ids() | members[1].ids()
    wave(60)
    members[0].until(lambda: everything() == names(range(120)), "both reading the second wave")
    members[1].leave()
    members[0].until(lambda: members[0].held == [0, 1, 2, 3], "the one that stays having all partitions")
    wave(120)
    members[0].until(lambda: everything() == names(range(180)), "it reading the third wave")
    members[0].leave()
    wave(180)
    later = world.consumer("newer", what, **newer)
    later.has(names(range(180, 240)))
    assert later.ids() == names(range(180, 240)), "committed, and read again: %s" % (later.ids() - names(range(180, 240)))
    later.leave()
    finding = world.consumer("found", what, pattern=re.escape(READERS_NAME) + world.client.name + "-newe.", **newer)
    finding.has(names(range(240)))
    finding.leave()
    read = collections.Counter(one["event"]["id"] for one in members[0].records + members[1].records)
    return "%d of what was not committed came again" % sum(1 for times in read.values() if times > 1)


def newer_revoked(world):
    """The same for a consumer of the newer protocol whose grant ends."""
    return revoked(world, "newer-brief", {"protocol": "consumer"}) if world.hub.has_transactions else "- not offered"


def login(mechanism):
    def behaviour(world):
        if mechanism in world.client.but:
            return "- " + world.client.but[mechanism]
        more = {}
        if mechanism == "OAUTHBEARER":
            more["token"] = world.hub.token("maker-app", "publish:" + world.topic("login"))
            (world.work / (world.client.name + ".token")).write_text(more["token"])
        world.publish([{"key": "k", "value": order(1)}], "login", 1, mechanism=mechanism, **more)
    behaviour.__doc__ = "A producer proves who it is by %s." % mechanism
    return behaviour


def wrong_password(world):
    """A wrong key is told apart from an unreachable hub."""
    mechanism = "PLAIN" if SCRAM[0] in world.client.but else SCRAM[0]
    key = world.hub.key(OWNER)
    wrong = key[:-2] + ("A" if key[-2] != "A" else "B") + key[-1]
    told = world.produce([{"key": "k", "value": order(1)}], "login", 1, mechanism=mechanism, password=wrong)
    assert "error" in told[0], told
    if "wrong key" in world.client.but:
        return "- " + world.client.but["wrong key"]
    assert re.search("auth|sasl|credential", told[0]["error"] + told[0].get("message", ""), re.I), told


BEHAVIOURS = [
    ("PLAIN", login("PLAIN")), ("SCRAM-256", login("SCRAM-SHA-256")), ("SCRAM-512", login("SCRAM-SHA-512")),
    ("OAUTHBEARER", login("OAUTHBEARER")), ("wrong key", wrong_password), ("codecs", codecs), ("large", large), ("groups", groups),
    ("filtered tail", filtered_tail), ("transactions", transactions), ("violation", violation), ("revoked", revoked),
    ("newer groups", newer_groups), ("newer revoked", newer_revoked),
]
NEWER = ("newer groups", "newer revoked")


class Restart:
    """Killing the hub under all clients at once, some idle for a while before."""

    def __init__(self, hub):
        self.hub, self.readers = hub, {}

    def begin(self, world, what="restart", **more):
        world.publish([{"key": "k", "value": order(n), "partition": n % 3} for n in range(30)], what)
        reading = world.consumer(what, what, **more)
        reading.has(names(range(30)))
        self.readers[world.client.name, what] = reading

    def strike(self):
        time.sleep(8)  # Idle; and long enough for the last commit.
        self.hub.kill()
        time.sleep(1)
        self.hub.start()

    def idle(self, world, what="restart"):
        """What comes after eight idle seconds and a killed hub arrives at a consumer that was there before."""
        world.publish([{"key": "k", "value": order(n), "partition": n % 3} for n in range(30, 60)], what)
        reading = self.readers[world.client.name, what]
        try:
            reading.has(names(range(60)))
            twice = [name for name, times in collections.Counter(one["event"]["id"] for one in reading.records).items() if times > 1]
            # Kafka's promise is at least once: a member that is told to join anew goes back to what it committed, so that
            # what it read since then comes again. What was committed never does.
            assert not names(range(30)) & set(twice), "committed, and read again: %s" % sorted(names(range(30)) & set(twice))
            return "%d of what was not committed came again" % len(twice)
        finally:
            reading.leave()

    def resume(self, world):
        """A member that comes later goes on where the group had committed to. The member before it may have left without a
        commit, if its group had not come together again since the hub came back: then what it read is read again."""
        world.publish([{"key": "k", "value": order(n), "partition": n % 3} for n in range(60, 66)], "restart")
        reading = world.consumer("restart", "restart")
        reading.has(names(range(60, 66)))
        again = reading.ids() & names(range(30))
        assert not again, "read again, though committed before the kill: %s" % again
        reading.leave()


TOPICS = {"main": 3, "large": 1, "group": 3, "tail": 3, "brief": 1, "login": 1, "restart": 3, "transactions": 3, "newer": 4,
          "newer-brief": 1, "newer-restart": 3}


class Table:
    def __init__(self):
        self.rows, self.details, self.failed, self.lock = {}, [], set(), threading.Lock()
        self.panicked = False

    def put(self, client, behaviour, result, seconds=None):
        with self.lock:
            self.rows.setdefault(client, {})[behaviour] = result
            print("%-16s %-16s %s%s" % (client, behaviour, result, " (%.1f s)" % seconds if seconds else ""), flush=True)

    def attempt(self, client, behaviour, function, *arguments):
        begin = time.monotonic()
        try:
            remark = function(*arguments)
            self.put(client, behaviour, remark if str(remark).startswith("- ") else "ok", time.monotonic() - begin)
            if remark and not remark.startswith("- "):
                print("    as", remark, flush=True)
        except Exception as error:
            self.put(client, behaviour, "FAILED", time.monotonic() - begin)
            trace = "" if isinstance(error, AssertionError) else traceback.format_exc()
            with self.lock:
                self.failed.add((client, behaviour))
                self.details.append("%s, %s: %s %s" % (client, behaviour, str(error)[:1500], trace))

    def show(self):
        columns = list(dict.fromkeys(name for row in self.rows.values() for name in row))
        mark = lambda row, name: {"ok": "ok", None: "", "FAILED": "FAILED", "skipped": "skipped"}.get(row.get(name), "-")
        print("\n%-16s %s" % ("", " ".join("%-12s" % name for name in columns)))
        for client, row in self.rows.items():
            print("%-16s %s" % (client, " ".join("%-12s" % mark(row, name) for name in columns)))
        for line in self.details:
            print("\nFAILED", line)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tradelane", default="target/debug/tradelane")
    parser.add_argument("--kafka", default=os.environ.get("KAFKA_FOR_TESTS"))
    parser.add_argument("--engine", choices=("embedded", "kafka"), default="embedded")
    parser.add_argument("--only", help="behaviours, with commas")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--keep", action="store_true", help="leave the folder with the hub's log and the clients' remarks")
    parser.add_argument("client", nargs="*")
    options = parser.parse_args()
    able, missing = [], []
    for client in clients(options.kafka):
        if options.client and client.name not in options.client:
            continue
        if client.needs():
            able.append(client)
        else:
            missing.append(client.name)
            print("SKIPPED %s: it is not installed" % client.name, flush=True)
    only = set(options.only.split(",")) if options.only else None
    console_too = options.kafka and (not only or "console" in only) and (not options.client or "console" in options.client)
    table = run(options, able, only, console_too, options.jobs)
    if table.failed and not table.panicked:
        # Seven clients at once on two cores are a load of their own, and each has races of its own under it. What fails
        # alone, on a hub of its own, fails.
        print("\nOnce more, one at a time: %s" % ", ".join("%s (%s)" % pair for pair in sorted(table.failed)), flush=True)
        again, behaviours = {client for client, _ in table.failed}, {behaviour for _, behaviour in table.failed}
        if {"resume", "newer restart"} & behaviours:
            behaviours.add("restart")
        table = run(options, [client for client in able if client.name in again], behaviours, CONSOLE in again, jobs=1)
    required = missing if os.environ.get("TRADELANE_REQUIRE_SERVERS") == "1" else []
    sys.exit("%d failed; required and not installed: %s" % (len(table.details), required or "none") if table.details or required else 0)


def run(options, able, only, console_too, jobs):
    """All behaviours (or only those) of these clients against a hub of their own; the table of what came of it."""
    table = Table()
    work = tempfile.mkdtemp(prefix="tradelane-clients-")
    around = contextlib.ExitStack()
    cluster = around.enter_context(kafka(options.kafka, "--security", "sasl")).facts if options.engine == "kafka" else None
    hub = Hub(options.tradelane, work, cluster)
    worlds = [World(hub, work, client) for client in able]
    try:
        if any(client.name == "kafka-clients" for client in able):
            subprocess.run(["javac", "-nowarn", "-cp", options.kafka + "/libs/*", "-d", work, DRIVERS / "Driver.java"], check=True)
        hub.start()
        hub.people()
        topics = {world.topic(what): count for world in worlds for what, count in TOPICS.items()}
        hub.products(topics, READERS_NAME)
        hub.products({"console-main": 3})
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for name, behaviour in BEHAVIOURS:
                if not only or name in only:
                    for world in worlds:
                        if name in NEWER and not world.client.newer:
                            table.put(world.client.name, name, "- speaks the classic protocol")
                        elif name in READS and name in world.client.but:
                            table.put(world.client.name, name, "- " + world.client.but[name])
                        else:
                            pool.submit(table.attempt, world.client.name, name, behaviour, world)
            if console_too:
                pool.submit(console, table, hub, options.kafka, work)
        if not only or "restart" in only:
            kill_the_hub_under(table, hub, [world for world in worlds if "restart" not in world.client.but], jobs)
        table.show()
        if "panicked" in (hub.folder / "hub.log").read_text(errors="replace"):
            table.panicked = True
            table.details.append("the hub panicked: " + hub.log())
    finally:
        for world in worlds:
            world.end()
        hub.stop()
        around.close()
        if options.keep:
            print("kept:", work)
        else:
            shutil.rmtree(work, ignore_errors=True)
    return table


def kill_the_hub_under(table, hub, worlds, jobs):
    restart = Restart(hub)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        begun = {world: pool.submit(restart.begin, world) for world in worlds}
        newer = {world: pool.submit(restart.begin, world, "newer-restart", protocol="consumer")
                 for world in worlds if world.client.newer and hub.has_transactions}
    restart.strike()
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for world in worlds:
            def after(world=world):
                begun[world].result()
                return restart.idle(world)
            pool.submit(table.attempt, world.client.name, "restart", after)
        for world, before in newer.items():
            def after(world=world, before=before):
                before.result()
                return restart.idle(world, "newer-restart")
            pool.submit(table.attempt, world.client.name, "newer restart", after)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for world in worlds:
            pool.submit(table.attempt, world.client.name, "resume", restart.resume, world)


if __name__ == "__main__":
    main()
