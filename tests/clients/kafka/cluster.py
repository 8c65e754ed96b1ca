#!/usr/bin/env python3
"""Two nodes of the hub in front of one cluster of Apache Kafka, with their journal in PostgreSQL: real clients, and one node
is killed under load.

    tests/clients/kafka/cluster.py --tradelane target/debug/tradelane --kafka DIR

DIR is what `tools/kafka/kafka.py fetch` made. Needs confluent-kafka and PostgreSQL; where one is missing it says so and does
nothing, and with TRADELANE_REQUIRE_SERVERS=1 that is a failure.
"""

import argparse
import contextlib
import glob
import importlib.util
import json
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from brokers import kafka
from hub import OWNER, READER, Hub

TOPIC, CHANGES, CHECKED, PREFIX = "orders", "changes", "checked", "hub."
PLANTED = "planted-4711-secret"

CONFIG = """
data = "%(folder)s/data"
root_key = "%(root)s"
public_url = "https://hub.test"
audit_origin = "hub.test/%(name)s"
[listen]
address = "127.0.0.1:%(http)d"
[kafka]
enabled = true
engine = "kafka"
address = "127.0.0.1:%(kafka)d"
plain_loopback = true
advertised_host = "localhost"
[cluster]
bootstrap = %(bootstrap)s
mechanism = "SCRAM-SHA-512"
username = "%(user)s"
password_file = "%(password)s"
topic_prefix = "hub."
nodes = %(brokers)d
[storage]
postgres = "%(postgres)s"
"""


class Node(Hub):
    """A node of the hub; the first one's folder holds what all share."""

    def __init__(self, tradelane, folder, shared, cluster, postgres):
        super().__init__(tradelane, folder)
        password = shared / "password"
        password.write_text(cluster["password"] + "\n")
        values = dict(name=folder.name, folder=folder, root=shared / "root.key", http=self.http, kafka=self.port, postgres=postgres)
        bootstrap = cluster["bootstrap"].split(",")
        values |= dict(bootstrap=json.dumps(bootstrap), brokers=len(bootstrap), user=cluster["user"], password=password)
        (folder / "hub.toml").write_text(CONFIG % values)


@contextlib.contextmanager
def postgres(folder):
    binaries = pathlib.Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
    folder.mkdir()
    as_user = []
    if os.getuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        folder.parent.chmod(0o755)
        as_user = ["setpriv", "--reuid=%d" % user.pw_uid, "--regid=%d" % user.pw_gid, "--clear-groups", "--"]
    options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D", folder / "db"]
    subprocess.run([*as_user, binaries / "initdb", *options], check=True, cwd=folder, capture_output=True)
    settings = ["-c", "listen_addresses=", "-c", "fsync=off", "-k", folder, "-D", folder / "db"]
    server = subprocess.Popen([*as_user, binaries / "postgres", *settings], cwd=folder, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            if subprocess.run([binaries / "pg_isready", "-q", "-h", folder]).returncode == 0:
                break
            time.sleep(0.1)
        yield "host=%s user=postgres dbname=postgres" % folder
    finally:
        server.terminate()
        server.wait(30)


def client(nodes, who, **settings):
    common = {"bootstrap.servers": ",".join(node.kafka for node in nodes), "security.protocol": "SASL_PLAINTEXT",
              "sasl.mechanisms": "PLAIN", "sasl.username": "x", "sasl.password": nodes[0].key(who),
              "reconnect.backoff.max.ms": 500, "topic.metadata.refresh.interval.ms": 5000, "log_level": 2}
    return common | {name.replace("_", "."): value for name, value in settings.items()}


def order(n, secret="s"):
    return json.dumps(dict(id="o%d" % n, n=n, lane="open", secret=secret))


def read_all(nodes, who, topic, isolation="read_committed", quiet=8):
    """Everything that is in the topic now, as that reader sees it: (key, value) by record."""
    from confluent_kafka import Consumer, TopicPartition
    consumer = Consumer(client(nodes, who, group_id="all-%f" % time.time(), enable_auto_commit=False,
                               isolation_level=isolation))
    partitions = sorted(consumer.list_topics(topic, 30).topics[topic].partitions)
    ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), 30)[1] for p in partitions}
    consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
    found, still, until = [], time.monotonic() + quiet, time.monotonic() + 120
    # A transaction's marker is an offset without a record, so that the end is when nothing comes any more.
    while time.monotonic() < min(still, until):
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            found.append((message.key(), message.value()))
            still = time.monotonic() + quiet
            if any(ends.values()) and len(found) > 10 * sum(ends.values()):
                break
    consumer.close()
    return found


def a_node_is_killed_and_nothing_is_lost_or_repeated(nodes):
    from confluent_kafka import Consumer, Producer
    acknowledged, failed, read, stop = set(), [], [], threading.Event()

    def consume():
        consumer = Consumer(client(nodes, READER, group_id="readers", auto_offset_reset="earliest"))
        consumer.subscribe([TOPIC])
        while not stop.is_set():
            message = consumer.poll(0.5)
            if message is not None and message.error() is None:
                read.append(json.loads(message.value())["n"])
        consumer.close()

    consuming = threading.Thread(target=consume)
    consuming.start()
    producer = Producer(client(nodes, OWNER, enable_idempotence=True, linger_ms=20, compression_type="lz4"))
    total, n = 12_000, 0

    def told(error, message):
        (failed.append(error) if error else acknowledged.add(int(message.key())))

    while n < total:
        try:
            producer.produce(TOPIC, key=str(n), value=order(n, PLANTED), on_delivery=told)
        except BufferError:
            producer.poll(0.2)
            continue
        n += 1
        producer.poll(0)
        if n % 100 == 0:
            time.sleep(0.05)
        if n == total // 3:
            assert acknowledged, "nothing was acknowledged yet"
            nodes[0].kill()
    left = producer.flush(120)
    assert left == 0 and not failed, (left, failed[:3])
    assert len(acknowledged) == total
    alive = nodes[1:]
    end = time.monotonic() + 90
    while len(set(read)) < total and time.monotonic() < end:
        time.sleep(0.5)
    stop.set()
    consuming.join()
    assert set(read) == acknowledged, "%d of %d were read" % (len(set(read)), total)
    stored = [json.loads(value)["n"] for _, value in read_all(alive, OWNER, TOPIC)]
    assert sorted(stored) == list(range(total)), "%d records for %d acknowledged" % (len(stored), total)
    again = len(read) - len(set(read))
    print("  %d records, each stored once; the group read %d of them again after the kill" % (total, again))


def transactions_are_whole_or_not_at_all(nodes):
    from confluent_kafka import KafkaException, Producer
    producer = Producer(client(nodes, OWNER, transactional_id="tx", transaction_timeout_ms=20_000))
    producer.init_transactions(60)
    committed = set()
    for transaction in range(20):
        try:
            producer.begin_transaction()
            for part in range(5):
                n = 1_000_000 + transaction * 10 + part
                producer.produce(CHANGES, key="t%d" % n, value=order(n))
            producer.flush(30)
            if transaction % 4 == 3:
                producer.abort_transaction(60)
            else:
                producer.commit_transaction(60)
                committed.add(transaction)
        except KafkaException as error:
            raise AssertionError(error) from error
    seen = {}
    for _, value in read_all(nodes, READER, CHANGES):
        n = json.loads(value)["n"] - 1_000_000
        seen.setdefault(n // 10, []).append(n % 10)
    assert set(seen) == committed, (set(seen) ^ committed)
    assert all(sorted(parts) == [0, 1, 2, 3, 4] for parts in seen.values()), seen
    uncommitted = read_all(nodes, READER, CHANGES, "read_uncommitted")
    assert len(uncommitted) == 100, len(uncommitted)


def what_breaks_the_contract_is_refused_and_the_producer_goes_on(nodes):
    from confluent_kafka import Producer
    outcomes = []
    producer = Producer(client(nodes, OWNER, enable_idempotence=True))
    told = lambda error, message: outcomes.append(error.name() if error else None)
    for value in (order(1), '{"id": "no contract"}', order(2)):
        producer.produce(CHECKED, value=value, partition=0, on_delivery=told)
        producer.flush(30)
    assert outcomes == [None, "INVALID_RECORD", None], outcomes


def a_revoked_grant_reads_nothing_on_any_node(nodes):
    from confluent_kafka import Consumer, Producer, TopicPartition
    consumer = Consumer(client(nodes, READER, group_id="revoked", auto_offset_reset="earliest"))
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    message = consumer.poll(30)
    assert message is not None and message.error() is None, message
    nodes[0].revoke(TOPIC)
    # The other nodes follow the journal.
    time.sleep(3)
    producer = Producer(client(nodes, OWNER))
    producer.produce(TOPIC, key="late", value=order(77_777_777), partition=0)
    assert producer.flush(30) == 0
    end = time.monotonic() + 12
    while time.monotonic() < end:
        message = consumer.poll(0.5)
        # What was fetched before may still lie in the client.
        assert message is None or message.error() or json.loads(message.value())["n"] != 77_777_777
    consumer.close()
    assert any(key == b"late" for key, _ in read_all(nodes, OWNER, TOPIC)), "the owner does not see it either"


def http_sends_nobody_past_the_cluster(nodes):
    """Events that are not in the cluster would be read by nobody, so that they are refused."""
    done = subprocess.run([nodes[0].tradelane, "--url", nodes[0].url, "--ca", nodes[0].ca, "--key-file",
                           nodes[0].folder / (OWNER + ".key"), "publish", TOPIC, "-"], input=order(1), text=True,
                          capture_output=True, env=nodes[0].environment)
    assert done.returncode != 0 and "Kafka" in done.stdout + done.stderr, done


def no_plain_text_lies_in_the_cluster(data):
    sizes = 0
    for path in pathlib.Path(data).rglob("*.log"):
        if PREFIX in str(path):
            content = path.read_bytes()
            sizes += len(content)
            assert PLANTED.encode() not in content, "%s holds a confidential value" % path
    assert sizes > 1_000_000, "only %d bytes are in the cluster" % sizes


def missing():
    if importlib.util.find_spec("confluent_kafka") is None:
        yield "confluent-kafka"
    if not glob.glob("/usr/lib/postgresql/*/bin/initdb"):
        yield "PostgreSQL"
    if not shutil.which("java"):
        yield "Java"


def two_nodes(stack, tradelane, work, cluster, database):
    """Two nodes of one hub, with its people."""
    nodes = []
    for name in ("a", "b"):
        folder = work / name
        folder.mkdir()
        node = Node(tradelane, folder, work, cluster, database)
        if nodes:
            for key in nodes[0].folder.glob("*.key"):
                shutil.copy(key, folder)
        node.start()
        stack.callback(node.stop)
        if not nodes:
            node.people()
        nodes.append(node)
    return nodes


def products_on_all(nodes, partitions_by_name):
    """Applied on one node; the others have them when they have followed the journal."""
    from confluent_kafka import Producer
    nodes[0].products(partitions_by_name)
    for node in nodes:
        asking, end = Producer(client([node], OWNER)), time.monotonic() + 60
        while not set(partitions_by_name) <= set(asking.list_topics(timeout=30).topics):
            assert time.monotonic() < end, "a node does not follow the journal"
            time.sleep(0.2)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tradelane", default="target/release/tradelane")
    arguments.add_argument("--kafka", required=True)
    options = arguments.parse_args()
    absent = list(missing())
    if absent:
        print("SKIPPED for want of: " + ", ".join(absent))
        sys.exit(os.environ.get("TRADELANE_REQUIRE_SERVERS") == "1")
    with contextlib.ExitStack() as stack:
        work = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tradelane-cluster-")))
        cluster = stack.enter_context(kafka(options.kafka, "--security", "sasl")).facts
        database = stack.enter_context(postgres(work / "postgres"))
        nodes = two_nodes(stack, options.tradelane, work, cluster, database)
        products_on_all(nodes, {TOPIC: 2, CHANGES: 1, CHECKED: 1})
        alive = nodes[1:]
        steps = ((what_breaks_the_contract_is_refused_and_the_producer_goes_on, nodes),
                 (transactions_are_whole_or_not_at_all, nodes), (http_sends_nobody_past_the_cluster, nodes),
                 (a_node_is_killed_and_nothing_is_lost_or_repeated, nodes),
                 (no_plain_text_lies_in_the_cluster, cluster["data"]),
                 (a_revoked_grant_reads_nothing_on_any_node, alive))
        for step, given in steps:
            step(given)
            print("ok   " + step.__name__.replace("_", " "), flush=True)
    print("%d passed, 0 failed" % len(steps))


if __name__ == "__main__":
    main()
