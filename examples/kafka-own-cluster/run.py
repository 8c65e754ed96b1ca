#!/usr/bin/env python3
"""Tradelane in front of a company's own cluster: what the company's programs have there stays where it is and as it is; what it
shares with partners goes through the hub, which keeps it in topics of its own beside the others.

    examples/kafka-own-cluster/run.py --tradelane target/release/tradelane --kafka DIR

DIR is what `tools/kafka/kafka.py fetch DIR` made; confluent-kafka for Python has to be installed. The company is acme of
../network. `forward.py` brings what an existing topic has into the product that partners are granted.
"""

import argparse
import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests/clients/kafka"))

from confluent_kafka import Consumer, Producer  # noqa: E402
from confluent_kafka.admin import AdminClient  # noqa: E402
from network import PASSWORD, cluster, hub_before  # noqa: E402

STOCK = (HERE.parent / "json/acme-stock.ndjson").read_text().splitlines()
# What the warehouse's programs have had all along, and the product that partners are granted.
OWN, SHARED = "wms.stock-levels", "acme-stock"
WMS = ("wms", "the-warehouses-password")


def publish(settings, topic, lines):
    failed = []
    producer = Producer(settings)
    for line in lines:
        producer.produce(topic, line, key=json.loads(line)["sku"], on_delivery=lambda error, _: error and failed.append(error))
    assert producer.flush(60) == 0 and not failed, failed[:1]


def read(settings, topic, count, group):
    consumer = Consumer({**settings, "group.id": group, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found, end = [], time.monotonic() + 60
    while len(found) < count and time.monotonic() < end:
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            found.append(message.value().decode())
    consumer.close()
    assert len(found) == count, "%d of %d" % (len(found), count)
    return found


def the_warehouse_works_as_ever(brokers):
    """Its topic, its user and its consumers, at the cluster itself."""
    brokers.user(*WMS)
    brokers.tool("topics", "--create", "--topic", OWN, "--partitions", "2", "--replication-factor", "1")
    for rule in (["--producer", "--topic", OWN], ["--consumer", "--topic", OWN, "--group", "wms-screen"],
                 ["--consumer", "--topic", OWN, "--group", "share-stock"]):
        brokers.tool("acls", "--add", "--allow-principal", "User:" + WMS[0], *rule)
    publish(brokers.client(*WMS), OWN, STOCK)
    assert sorted(read(brokers.client(*WMS), OWN, len(STOCK), "wms-screen")) == sorted(STOCK)


@contextlib.contextmanager
def forwarding(brokers, hub):
    """forward.py, as the company would run it beside its cluster."""
    settings = {"from": brokers.client(*WMS, group_id="share-stock", session_timeout_ms=6000), "to": hub.client("acme-desk"), "topics": {OWN: SHARED}}
    file = hub.folder / "forward.json"
    file.write_text(json.dumps(settings))
    process = subprocess.Popen([sys.executable, str(HERE / "forward.py"), str(file)], stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def partners_read_their_view(hub):
    found = [json.loads(line) for line in read(hub.client("corner-desk"), SHARED, len(STOCK), "replenishment")]
    assert all(event["onHand"] % 100 == 0 and not event["countedBy"] for event in found), found[0]
    print("    the first: " + json.dumps(found[0]))


def what_is_killed_half_way_repeats_no_more_than_it_had_not_committed(brokers, hub):
    """forward.py is killed; what the warehouse says meanwhile arrives when it is back."""
    with forwarding(brokers, hub) as process:
        time.sleep(5)
        process.kill()
        process.wait()
    publish(brokers.client(*WMS), OWN, STOCK)
    with forwarding(brokers, hub):
        seen = [json.loads(line)["eventId"] for line in read(hub.client("medidis-desk"), SHARED, 2 * granted(), "allocation")]
    assert all(seen.count(name) == 2 for name in set(seen)), seen


def granted():
    """Medidis is granted the articles that it carries."""
    return sum(json.loads(line)["sku"] in ("09506000134352", "09506000134376") for line in STOCK)


def partners_do_not_see_the_cluster(hub):
    for who in ("corner-desk", "acme-desk"):
        topics = set(AdminClient(hub.client(who)).list_topics(timeout=20).topics)
        assert SHARED in topics and OWN not in topics and not any(name.startswith(("wms", "shared.", "__")) for name in topics), topics


def refusal(settings, topic):
    """What is said to somebody who wants to know of it."""
    error = AdminClient(settings).list_topics(topic, 20).topics[topic].error
    return error and error.name()


def the_hub_cannot_read_the_companys_topics(brokers):
    """It has rights on its own topics and on no others; and they, on what is shared, see what is sealed."""
    for settings, topic in (brokers.client("tradelane", PASSWORD), OWN), (brokers.client(*WMS), "shared." + SHARED):
        told = refusal(settings, topic)
        assert told == "TOPIC_AUTHORIZATION_FAILED", (topic, told)
    seen = brokers.tool("console-consumer", "--topic", "shared." + SHARED, "--from-beginning", "--timeout-ms", "5000", "--max-messages", "3")
    assert seen and "Ines Duarte" not in seen and "Vesta Biologics" not in seen


def a_grant_that_ends_ends_at_once_and_the_warehouse_goes_on(brokers, hub):
    hub.tell("acme-desk", "grants", "revoke", "acme-stock-corner", "--reason", "the season is over")
    publish(hub.client("acme-desk"), SHARED, STOCK[:1])
    assert refusal(hub.client("corner-desk"), SHARED) == "TOPIC_AUTHORIZATION_FAILED"
    publish(brokers.client(*WMS), OWN, STOCK[:1])
    assert read(brokers.client(*WMS), OWN, 1, "wms-screen")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tradelane", default="target/release/tradelane")
    arguments.add_argument("--kafka", required=True)
    options = arguments.parse_args()
    count = 0

    def step(function, *given):
        nonlocal count
        count += 1
        function(*given)
        print("ok   " + function.__name__.replace("_", " "), flush=True)

    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tradelane-own-cluster-")))
        brokers = stack.enter_context(cluster(options.kafka))
        step(the_warehouse_works_as_ever, brokers)
        hub = stack.enter_context(hub_before(options.tradelane, folder, HERE.name, brokers))
        with forwarding(brokers, hub):
            step(partners_read_their_view, hub)
        step(what_is_killed_half_way_repeats_no_more_than_it_had_not_committed, brokers, hub)
        step(partners_do_not_see_the_cluster, hub)
        step(the_hub_cannot_read_the_companys_topics, brokers)
        step(a_grant_that_ends_ends_at_once_and_the_warehouse_goes_on, brokers, hub)
    print("%d passed, 0 failed" % count)


if __name__ == "__main__":
    main()
