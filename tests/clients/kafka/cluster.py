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
import http.client
import importlib.util
import json
import os
import pathlib
import pwd
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

from brokers import kafka
from hub import OWNER, READER, Hub

TOPIC, CHANGES, CHECKED, MIXED, RETRIED = "orders", "changes", "checked", "mixed", "retried"
PREFIX = "hub."
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


def asked(node, who, path, body=None, **headers):
    """Asks over HTTP: the answer, to be read."""
    request = urllib.request.Request(node.url + path, data=body and body.encode())
    for name, value in dict(headers, Authorization="Bearer " + node.key(who)).items():
        request.add_header(name.replace("_", "-"), value)
    return urllib.request.urlopen(request, context=ssl.create_default_context(cafile=node.ca), timeout=60)


def over_http(node, who, topic, partition=0):
    """Everything that is there now: the event by its offset."""
    found, at = {}, 0
    while True:
        path = "/v1/products/%s/events?from=%d&limit=500&partition=%d" % (topic, at, partition)
        with asked(node, who, path, Accept="application/json") as answer:
            page = json.load(answer)
        found.update((event["offset"], event["event"]) for event in page["events"])
        if page["next"] >= page["end"]:
            return found
        at = page["next"]


def publish(node, topic, orders, key=None):
    path = "/v1/products/%s/events?partition=0" % topic
    headers = dict(Content_Type="application/x-ndjson", **({"Idempotency_Key": '"%s"' % key} if key else {}))
    with asked(node, OWNER, path, "".join(one + "\n" for one in orders), **headers) as answer:
        return json.load(answer)


def events_of(stream):
    """Offset and event of each that comes."""
    at = None
    for line in stream:
        name, _, value = line.decode().strip().partition(":")
        if name == "id":
            at = int(value)
        elif name == "data":
            yield at, json.loads(value)


def http_and_kafka_show_the_same(nodes):
    from confluent_kafka import Producer
    stored = publish(nodes[0], MIXED, [order(1), order(2, PLANTED)])
    assert (stored["offset"], stored["count"]) == (0, 2), stored
    producer = Producer(client(nodes, OWNER))
    producer.produce(MIXED, key="k", value=order(3, PLANTED), partition=0)
    hidden = json.dumps(dict(id="o4", n=4, lane="closed", secret="s"))
    producer.produce(MIXED, key="k", value=hidden, partition=0)
    assert producer.flush(30) == 0
    publish(nodes[1], MIXED, [order(5)])
    stream = asked(nodes[1], READER, "/v1/products/%s/events?from=1" % MIXED, Accept="text/event-stream")
    seen = {}
    for at, event in events_of(stream):
        seen[at] = event
        if len(seen) == 3:
            publish(nodes[0], MIXED, [order(6)])
        if at == 5:
            break
    stream.close()
    shown = over_http(nodes[0], READER, MIXED)
    assert sorted(shown) == [0, 1, 2, 4, 5], "what the row filter holds back is a gap: %s" % shown
    assert seen == {at: event for at, event in shown.items() if at}, (seen, shown)
    assert not any("secret" in event for event in shown.values()), shown
    over_kafka = [json.loads(value) for _, value in read_all(nodes, READER, MIXED)]
    assert over_kafka == list(shown.values()), (over_kafka, shown)
    assert over_http(nodes[1], OWNER, MIXED)[2]["secret"] == PLANTED


def aborted_transactions_are_not_read_over_http(nodes):
    over_kafka = sorted(json.loads(value)["n"] for _, value in read_all(nodes, READER, CHANGES))
    assert sorted(event["n"] for event in over_http(nodes[1], READER, CHANGES).values()) == over_kafka


def requests_that_are_retried_after_a_kill_are_stored_once(nodes):
    """A node is killed while requests with keys are under way; each is retried on the other until it has an answer."""
    total, done, lock, retried = 300, {}, threading.Lock(), []

    def send(numbers):
        for n in numbers:
            node = nodes[0]
            for _ in range(60):
                try:
                    stored = publish(node, RETRIED, [order(n), order(n + 10_000)], "key-%d" % n)
                except (OSError, http.client.HTTPException) as error:
                    if isinstance(error, urllib.error.HTTPError) and error.code not in (409, 429, 503):
                        raise
                    retried.append(n)
                    node = nodes[1]
                    time.sleep(0.2)
                    continue
                with lock:
                    done[n] = stored["offset"]
                break

    senders = [threading.Thread(target=send, args=(range(first, total, 6),)) for first in range(6)]
    for sender in senders:
        sender.start()
    while len(done) < total // 3 and any(sender.is_alive() for sender in senders):
        time.sleep(0.02)
    nodes[0].kill()
    for sender in senders:
        sender.join()
    assert len(done) == total, "%d of %d have an answer" % (len(done), total)
    assert retried, "nothing was under way when the node was killed"
    for n in range(0, total, 7):
        again = publish(nodes[1], RETRIED, [order(n), order(n + 10_000)], "key-%d" % n)
        assert (again["offset"], again["duplicate"]) == (done[n], True), (again, done[n])
    stored = over_http(nodes[1], OWNER, RETRIED)
    assert sorted(event["n"] for event in stored.values()) == sorted([*range(total), *range(10_000, 10_000 + total)])
    assert all(stored[at]["n"] == n for n, at in done.items())
    print("  %d requests, each stored once; %d tries had no answer" % (total, len(retried)))
    nodes[0].start()


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
        products_on_all(nodes, {TOPIC: 2, CHANGES: 1, CHECKED: 1, MIXED: 1, RETRIED: 1})
        alive = nodes[1:]
        steps = ((what_breaks_the_contract_is_refused_and_the_producer_goes_on, nodes),
                 (transactions_are_whole_or_not_at_all, nodes), (http_and_kafka_show_the_same, nodes),
                 (aborted_transactions_are_not_read_over_http, nodes),
                 (requests_that_are_retried_after_a_kill_are_stored_once, nodes),
                 (a_node_is_killed_and_nothing_is_lost_or_repeated, nodes),
                 (no_plain_text_lies_in_the_cluster, cluster["data"]),
                 (a_revoked_grant_reads_nothing_on_any_node, alive))
        for step, given in steps:
            step(given)
            print("ok   " + step.__name__.replace("_", " "), flush=True)
    print("%d passed, 0 failed" % len(steps))


if __name__ == "__main__":
    main()
