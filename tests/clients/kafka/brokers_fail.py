#!/usr/bin/env python3
"""Two nodes of the hub in front of three brokers of Apache Kafka, each record on all three and two of them enough: brokers are
stopped and killed under load, a node of the hub as well, and what was acknowledged is there, once.

    tests/clients/kafka/brokers_fail.py --tradelane target/debug/tradelane --kafka DIR

It needs what cluster.py needs, and skips and fails as that does.
"""

import argparse
import contextlib
import json
import os
import pathlib
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

from brokers import TOOL, Brokers
from cluster import client, missing, order, postgres, read_all, two_nodes
from hub import OWNER, READER, free_port

LOADED, MOVED, UNTOLD, KEPT, DAMAGED = "loaded", "moved", "untold", "kept", "damaged"
LOGIN = {"user": "hub", "password": "hub-secret"}


def readiness(node):
    """The status, and what each check says."""
    around = ssl.create_default_context(cafile=node.ca)
    try:
        with urllib.request.urlopen(node.url + "/readyz", context=around, timeout=10) as answer:
            status, body = answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        status, body = error.code, json.load(error)
    return status, {check["name"]: check["ok"] for check in body["checks"]}


def until(check, what, seconds=90):
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, what + " did not happen"
        time.sleep(0.1)


class Told:
    """What a producer was told of its records."""

    def __init__(self):
        self.acknowledged, self.failed = [], []

    def __call__(self, error, message):
        self.failed.append(error) if error else self.acknowledged.append(int(message.key()))


def a_hub_waits_for_its_cluster(nodes, start_brokers):
    """It starts without one, says that it is not ready and why, and serves when the cluster comes."""
    from confluent_kafka import Producer
    for node in nodes:
        status, checks = readiness(node)
        assert status == 503 and checks["kafka-cluster"] is False and checks["journal"], (status, checks)
        until(lambda: "the cluster cannot be used" in node.log(), "a warning in the log")
    told = Told()
    producer = Producer(client(nodes, OWNER))
    producer.produce(UNTOLD, key="0", value=order(0), on_delivery=told)
    assert producer.flush(2) == 1, "stored by nobody"
    brokers = start_brokers()
    assert producer.flush(90) == 0 and told.acknowledged == [0], told.failed
    for node in nodes:
        until(lambda: readiness(node)[0] == 200, "readiness")
        until(lambda: "the cluster answers" in node.log(), "word of the cluster in the log")
    return brokers


def brokers_go_and_come_under_load(nodes, brokers):
    """One is killed, another stops in good order, both come back: each record is stored once, and the group reads all."""
    from confluent_kafka import Consumer, Producer
    total, told, read, stop = 6_000, Told(), [], threading.Event()

    def consume():
        consumer = Consumer(client(nodes, READER, group_id="readers", auto_offset_reset="earliest"))
        consumer.subscribe([LOADED])
        while not stop.is_set():
            message = consumer.poll(0.5)
            if message is not None and message.error() is None:
                read.append(json.loads(message.value())["n"])
        consumer.close()

    consuming = threading.Thread(target=consume)
    consuming.start()
    producer = Producer(client(nodes, OWNER, enable_idempotence=True, linger_ms=20, compression_type="zstd"))
    changes = {1_000: ("kill", 1), 2_500: ("start", 1), 3_500: ("stop", 2), 4_500: ("start", 2)}
    for n in range(total):
        if n in changes:
            brokers.tell(*changes[n])
        producer.produce(LOADED, key=str(n), value=order(n), on_delivery=told)
        producer.poll(0)
        if n % 100 == 0:
            time.sleep(0.1)
    left = producer.flush(150)
    assert left == 0 and not told.failed, (left, told.failed[:3])
    end = time.monotonic() + 90
    while len(set(read)) < total and time.monotonic() < end:
        time.sleep(0.5)
    stop.set()
    consuming.join()
    assert set(read) == set(told.acknowledged) == set(range(total)), "%d of %d were read" % (len(set(read)), total)
    stored = sorted(json.loads(value)["n"] for _, value in read_all(nodes, OWNER, LOADED))
    assert stored == list(range(total)), "%d records for %d acknowledged" % (len(stored), total)
    print("  %d records, each stored once; the group read %d of them again" % (total, len(read) - total))


def leaders_move_by_hand(nodes, brokers):
    """Partitions are moved to other leaders while a producer and the transactions of another one go on."""
    from confluent_kafka import Producer
    told = Told()
    producer = Producer(client(nodes, OWNER, enable_idempotence=True, linger_ms=5))
    for n in range(300):
        producer.produce(MOVED, key=str(n), value=order(n), on_delivery=told, partition=0)
        producer.poll(0)
        if n % 100 == 50:
            now = [int(word) for word in leader_of(brokers, MOVED)]
            move(brokers, MOVED, 0, [(now[0] + step) % 3 for step in (1, 2, 0)])
        time.sleep(0.01)
    assert producer.flush(90) == 0 and not told.failed, told.failed[:3]
    stored = [json.loads(value)["n"] for _, value in read_all(nodes, OWNER, MOVED)]
    assert stored == list(range(300)), "one partition, in order, each once: %d" % len(stored)


def tool(brokers, name, *arguments):
    command = [sys.executable, TOOL, "tool", brokers.directory, name, "--bootstrap-server", brokers.facts["plain"]]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def leader_of(brokers, topic):
    described = tool(brokers, "topics", "--describe", "--topic", "hub." + topic)
    return [line.split("Leader:")[1].split()[0] for line in described.splitlines() if "Leader:" in line]


def move(brokers, topic, partition, replicas):
    text = {"version": 1, "partitions": [{"topic": "hub." + topic, "partition": partition, "replicas": replicas}]}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(text, file)
        file.flush()
        tool(brokers, "reassign-partitions", "--reassignment-json-file", file.name, "--execute")
        election = {"partitions": [{"topic": "hub." + topic, "partition": partition}]}
        file.seek(0)
        file.truncate()
        json.dump(election, file)
        file.flush()
        tool(brokers, "leader-election", "--election-type", "preferred", "--path-to-json-file", file.name)


def without_acknowledgements_nothing_is_repeated(nodes):
    """acks=0: no answer, no promise; while nothing fails all of it is there, and none of it twice."""
    from confluent_kafka import Producer
    producer = Producer(client(nodes, OWNER, acks=0, linger_ms=5))
    for n in range(1, 1_001):
        producer.produce(UNTOLD, key=str(n), value=order(n))
    assert producer.flush(60) == 0
    end, stored = time.monotonic() + 60, []
    while len(stored) < 1_001 and time.monotonic() < end:
        stored = sorted(json.loads(value)["n"] for _, value in read_all(nodes, OWNER, UNTOLD))
    assert stored == list(range(1_001)), len(stored)


def compaction_keeps_the_last_of_each_key(nodes, brokers):
    """The keys that the cluster sees are tokens, and equal for equal keys on both nodes."""
    from confluent_kafka import Producer
    compact = "cleanup.policy=compact,segment.ms=400,min.cleanable.dirty.ratio=0.01,max.compaction.lag.ms=1000,delete.retention.ms=100"
    tool(brokers, "topics", "--create", "--topic", "hub." + KEPT, "--partitions", "1", "--replication-factor", "3")
    tool(brokers, "configs", "--alter", "--entity-type", "topics", "--entity-name", "hub." + KEPT, "--add-config", compact)
    for turn in range(20):
        producer = Producer(client(nodes[turn % 2:turn % 2 + 1], OWNER, enable_idempotence=True))
        for key in range(10):
            producer.produce(KEPT, key="k%d" % key, value=order(turn))
        assert producer.flush(60) == 0
        time.sleep(0.1)
    end, left = time.monotonic() + 90, []
    while time.monotonic() < end:
        # What the cleaner may look at ends with the segment that is written.
        time.sleep(0.5)
        producer.produce(KEPT, key="another", value=order(0))
        assert producer.flush(60) == 0
        left = read_all(nodes, READER, KEPT, quiet=3)
        if sum(key != b"another" for key, _ in left) == 10:
            break
    kept = {key.decode(): json.loads(value)["n"] for key, value in left if key != b"another"}
    assert kept == {"k%d" % key: 19 for key in range(10)}, kept
    assert sum(key != b"another" for key, _ in left) == 10, "%d records are left" % len(left)


def a_damaged_batch_is_withheld_and_holds_nobody_up(nodes, brokers):
    """A byte is changed on the disks of all brokers, while all of them are down; a producer sends past the hub, too much."""
    from confluent_kafka import Producer
    producer = Producer(client(nodes, OWNER, enable_idempotence=True))
    for n in range(5):
        producer.produce(DAMAGED, key=str(n), value=order(n))
        assert producer.flush(60) == 0
    past = Producer({"bootstrap.servers": brokers.facts["plain"], "compression.type": "zstd", "linger.ms": 3000,
                     "batch.size": 200 << 20, "message.max.bytes": 200 << 20, "queue.buffering.max.kbytes": 1 << 20, "log_level": 0})
    for _ in range(70):
        past.produce("hub." + DAMAGED, value=bytes(1 << 20))
    assert past.flush(120) == 0
    del past
    brokers.tell("stop", 0, 1, 2)
    for file in pathlib.Path(brokers.facts["data"]).glob("broker-*/log/hub.%s-0/*.log" % DAMAGED):
        content = bytearray(file.read_bytes())
        at = 0
        for _ in range(2):
            at += 12 + int.from_bytes(content[at + 8:at + 12], "big")
        content[at + 80] ^= 1
        file.write_bytes(content)
    until(lambda: readiness(nodes[0])[0] == 503, "telling that the cluster is gone")
    brokers.tell("start", 0, 1, 2)
    until(lambda: readiness(nodes[0])[0] == 200, "telling that the cluster is back")
    producer.produce(DAMAGED, key="5", value=order(5))
    assert producer.flush(90) == 0
    for who in (READER, OWNER):
        found = [json.loads(value)["n"] for _, value in read_all(nodes, who, DAMAGED)]
        assert found == [0, 1, 3, 4, 5], found
    # Whichever node met them, both tell the same.
    reported = [json.dumps(node.tell(OWNER, "quarantine", DAMAGED)["events"]) for node in nodes]
    assert '"record": 2' in reported[0] and '"record": 5' in reported[0], reported[0]
    assert reported[0] == reported[1], reported


def transactions_outlive_a_node_of_the_hub(nodes):
    """It is killed between a transaction's records and its end: all are whole, those that were committed and no others."""
    from confluent_kafka import KafkaException, Producer
    producer = Producer(client(nodes, OWNER, transactional_id="moving", transaction_timeout_ms=30_000))
    producer.init_transactions(60)

    def attempt(transaction, commit):
        producer.begin_transaction()
        for part in range(5):
            n = 1_000 + transaction * 10 + part
            producer.produce(MOVED, key="t%d" % n, value=order(n))
        if transaction == 8:
            nodes[0].kill()
        end = producer.commit_transaction if commit else producer.abort_transaction
        for _ in range(20):
            try:
                return end(30)
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise

    committed = set()
    for transaction in range(20):
        commit = transaction % 4 != 3
        for _ in range(5):
            try:
                attempt(transaction, commit)
                break
            except KafkaException as error:
                assert error.args[0].txn_requires_abort(), error
                producer.abort_transaction(60)
        else:
            raise AssertionError("transaction %d could not be ended" % transaction)
        if commit:
            committed.add(transaction)
    seen = {}
    for _, value in read_all(nodes[1:], READER, MOVED):
        n = json.loads(value)["n"]
        if n >= 1_000:
            seen.setdefault((n - 1_000) // 10, []).append(n % 10)
    assert set(seen) == committed, set(seen) ^ committed
    assert all(sorted(parts) == [0, 1, 2, 3, 4] for parts in seen.values()), seen


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tradelane", default="target/debug/tradelane")
    arguments.add_argument("--kafka", required=True)
    options = arguments.parse_args()
    absent = list(missing())
    if absent:
        print("SKIPPED for want of: " + ", ".join(absent))
        sys.exit(os.environ.get("TRADELANE_REQUIRE_SERVERS") == "1")
    count = 0

    def step(function, *given):
        nonlocal count
        count, begin = count + 1, time.monotonic()
        result = function(*given)
        print("ok   %s (%.0f s)" % (function.__name__.replace("_", " "), time.monotonic() - begin), flush=True)
        return result

    with contextlib.ExitStack() as stack:
        work = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tradelane-brokers-")))
        database = stack.enter_context(postgres(work / "postgres"))
        ports = ",".join(str(free_port()) for _ in range(3))
        bootstrap = ",".join("127.0.0.1:" + port for port in ports.split(","))

        def start_brokers():
            settings = ["min.insync.replicas=2", "transaction.state.log.min.isr=2", "unclean.leader.election.enable=false"]
            settings = [part for setting in settings for part in ("--set", setting)]
            brokers = Brokers(options.kafka, "--brokers", "3", "--ports", ports, "--security", "sasl", *settings)
            stack.callback(brokers.stop)
            return brokers

        nodes = two_nodes(stack, options.tradelane, work, {"bootstrap": bootstrap, **LOGIN}, database)
        nodes[0].products({LOADED: 3, MOVED: 1, UNTOLD: 1, KEPT: 1, DAMAGED: 1})
        brokers = step(a_hub_waits_for_its_cluster, nodes, start_brokers)
        step(brokers_go_and_come_under_load, nodes, brokers)
        step(leaders_move_by_hand, nodes, brokers)
        step(without_acknowledgements_nothing_is_repeated, nodes)
        step(compaction_keeps_the_last_of_each_key, nodes, brokers)
        step(a_damaged_batch_is_withheld_and_holds_nobody_up, nodes, brokers)
        step(transactions_outlive_a_node_of_the_hub, nodes)
    print("%d passed, 0 failed" % count)


if __name__ == "__main__":
    main()
