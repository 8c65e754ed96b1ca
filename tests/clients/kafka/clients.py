#!/usr/bin/env python3
"""Real Kafka clients against a hub with the demo's organizations: kcat, confluent-kafka, aiokafka, kafka-python.

    tools/with-hub.py --tradelane target/debug/tradelane tests/clients/kafka/clients.py [NAME...]

Each client publishes as Acme's desk and reads as a partner, who sees its view and nothing else. A client that is not
installed is skipped, loudly; with TRADELANE_REQUIRE_SERVERS=1 that is a failure.
"""

import asyncio
import importlib.util
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
import uuid

KAFKA, CA = os.environ["HUB_KAFKA"], os.environ["HUB_CA"]
OWNER, PARTNER, OTHER = (os.environ["HUB_KEY_" + who] for who in ("ACME_DESK", "CORNER_DESK", "MEDIDIS_DESK"))
TOPIC, HIDDEN = "acme-stock", "northline-cold-chain"


def stock(number, note="k"):
    """An event that keeps the contract of acme-stock."""
    with open(os.path.join(os.path.dirname(__file__), "../../../examples/json/acme-stock.ndjson")) as lines:
        events = [json.loads(line) for line in lines]
    event = events[number % len(events)]
    event.update(onHand=number, reserved=0, available=number)
    return json.dumps(event)


def is_masked(value):
    """As the grant says: stock on hand in steps of a hundred, no confidential field."""
    event = json.loads(value)
    assert event["onHand"] % 100 == 0, event
    return True


def until(check, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return
    raise AssertionError("not within %d seconds" % seconds)


# kcat

def kcat(key, *arguments, give=None, mechanism="PLAIN", user="anyone"):
    command = ["kcat", "-b", KAFKA, "-X", "security.protocol=SASL_SSL", "-X", "ssl.ca.location=" + CA,
               "-X", "broker.address.family=v4",
               "-X", "sasl.mechanisms=" + mechanism, "-X", "sasl.username=" + user, "-X", "sasl.password=" + key]
    return subprocess.run(command + list(arguments), input=give, capture_output=True, text=True, timeout=90)


def kcat_publishes_and_a_partner_reads_its_view():
    sent = kcat(OWNER, "-P", "-t", TOPIC, give="\n".join(stock(n) for n in range(101, 106)) + "\n")
    assert sent.returncode == 0, sent.stderr
    read = kcat(PARTNER, "-C", "-t", TOPIC, "-o", "beginning", "-e", "-q")
    assert read.returncode == 0, read.stderr
    lines = read.stdout.splitlines()
    assert len(lines) >= 5 and all(is_masked(line) for line in lines), lines


def kcat_lists_granted_topics_only():
    listed = kcat(PARTNER, "-L", "-J")
    topics = {topic["topic"] for topic in json.loads(listed.stdout)["topics"]}
    assert TOPIC in topics and HIDDEN not in topics, topics
    hidden, missing = (kcat(PARTNER, "-C", "-t", topic, "-o", "beginning", "-e") for topic in (HIDDEN, "no-such-topic"))
    assert hidden.stderr.replace(HIDDEN, "X") == missing.stderr.replace("no-such-topic", "X"), (hidden, missing)


def kcat_proves_its_key_by_scram():
    for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
        listed = kcat(PARTNER, "-L", "-J", mechanism=mechanism, user=PARTNER.split("_")[1])
        assert TOPIC in listed.stdout, listed.stderr
        wrong = kcat(PARTNER[:-1] + ("A" if PARTNER[-1] != "A" else "B"), "-L", mechanism=mechanism,
                     user=PARTNER.split("_")[1])
        assert wrong.returncode != 0 and "Authentication failed" in wrong.stderr, wrong


# confluent-kafka (librdkafka)

def librdkafka(key, **more):
    return {"bootstrap.servers": KAFKA, "security.protocol": "SASL_SSL", "ssl.ca.location": CA,
            "sasl.mechanisms": "PLAIN", "sasl.username": "anyone", "sasl.password": key,
            **{name.replace("_", "."): value for name, value in more.items()}}


def confluent_publishes_with_every_codec_and_reads_in_a_group():
    from confluent_kafka import Consumer, Producer
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        producer = Producer(librdkafka(OWNER, enable_idempotence=True, compression_type=codec, linger_ms=20))
        offsets = []

        def delivered(error, message):
            assert error is None, error
            offsets.append(message.offset())

        for number in range(20):
            producer.produce(TOPIC, stock(number + 200), key=b"k%d" % number, headers={"codec": codec.encode()},
                             on_delivery=delivered)
        assert producer.flush(30) == 0
        assert offsets == list(range(offsets[0], offsets[0] + 20)), offsets
    group = "g-" + uuid.uuid4().hex
    seen = []
    consumer = Consumer(librdkafka(PARTNER, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False))
    consumer.subscribe([TOPIC])

    def more():
        message = consumer.poll(1)
        if message is not None:
            assert message.error() is None, message.error()
            assert is_masked(message.value())
            seen.append(message)
        return len(seen) >= 100

    until(more)
    consumer.commit(message=seen[49], asynchronous=False)
    consumer.close()
    again = Consumer(librdkafka(PARTNER, group_id=group, auto_offset_reset="earliest"))
    again.subscribe([TOPIC])
    first = []
    until(lambda: first.append(again.poll(1)) or first[-1] is not None)
    assert first[-1].offset() == seen[49].offset() + 1, (first[-1].offset(), seen[49].offset())
    again.close()


def confluent_two_members_share_a_group():
    from confluent_kafka import Consumer
    group = "two-" + uuid.uuid4().hex
    held = [None, None]
    stop = threading.Event()

    def member(number):
        consumer = Consumer(librdkafka(PARTNER, group_id=group, auto_offset_reset="earliest", session_timeout_ms=6000))
        consumer.subscribe([TOPIC, "acme-shipments"])
        while not stop.is_set():
            consumer.poll(0.2)
            held[number] = {(p.topic, p.partition) for p in consumer.assignment()}
        consumer.close()

    members = [threading.Thread(target=member, args=(number,)) for number in (0, 1)]
    for thread in members:
        thread.start()
    try:
        until(lambda: time.sleep(0.2) or (held[0] is not None and held[1] is not None
                                          and len(held[0] | held[1]) >= 1 and not held[0] & held[1]
                                          and (held[0] or held[1])))
    finally:
        stop.set()
        for thread in members:
            thread.join()


def confluent_is_told_which_records_were_refused():
    from confluent_kafka import Producer
    producer = Producer(librdkafka(OWNER))
    errors = []
    producer.produce(TOPIC, '{"sku": 5}', on_delivery=lambda error, _: errors.append(error))
    producer.flush(30)
    assert errors and errors[0] is not None and errors[0].name() in ("INVALID_RECORD", "_INVALID_RECORD"), errors


def confluent_has_no_transactions():
    from confluent_kafka import KafkaException, Producer
    producer = Producer(librdkafka(OWNER, transactional_id="t"))
    try:
        producer.init_transactions(20)
    except KafkaException as refused:
        assert "TRANSACTIONAL_ID_AUTHORIZATION_FAILED" in refused.args[0].name(), refused
    else:
        raise AssertionError("transactions were begun")


def confluent_admin_sees_what_a_partner_may_see():
    from confluent_kafka.admin import AdminClient, ConfigResource
    admin = AdminClient(librdkafka(PARTNER))
    topics = admin.list_topics(timeout=20).topics
    assert TOPIC in topics and HIDDEN not in topics, topics
    settings = list(admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, TOPIC)]).values())[0].result(20)
    assert settings["cleanup.policy"].value == "delete"
    groups = admin.list_consumer_groups().result(20)
    assert not groups.errors, groups.errors
    cluster = admin.describe_cluster().result(20)
    assert len(cluster.nodes) == 1


# aiokafka

def aiokafka_publishes_and_reads():
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    def settings(key):
        return dict(bootstrap_servers=KAFKA, security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-256",
                    ssl_context=ssl.create_default_context(cafile=CA), sasl_plain_username=key.split("_")[1],
                    sasl_plain_password=key)

    async def run():
        producer = AIOKafkaProducer(**settings(OWNER), enable_idempotence=True, compression_type="gzip")
        await producer.start()
        sent = [await producer.send_and_wait(TOPIC, stock(n).encode()) for n in range(300, 310)]
        await producer.stop()
        consumer = AIOKafkaConsumer(TOPIC, **settings(PARTNER), group_id="aio-" + uuid.uuid4().hex,
                                    auto_offset_reset="earliest")
        await consumer.start()
        try:
            last = -1
            while last < sent[-1].offset:
                message = await asyncio.wait_for(consumer.getone(), 60)
                assert is_masked(message.value)
                last = message.offset
            await consumer.commit()
        finally:
            await consumer.stop()

    asyncio.run(run())


# kafka-python

def kafka_python_publishes_and_reads():
    from kafka import KafkaConsumer, KafkaProducer

    def settings(key):
        return dict(bootstrap_servers=KAFKA, security_protocol="SASL_SSL", sasl_mechanism="PLAIN", ssl_cafile=CA,
                    sasl_plain_username="anyone", sasl_plain_password=key)

    producer = KafkaProducer(**settings(OWNER))
    sent = [producer.send(TOPIC, stock(n).encode()).get(30) for n in range(400, 405)]
    producer.close()
    consumer = KafkaConsumer(TOPIC, **settings(PARTNER), group_id="kp-" + uuid.uuid4().hex,
                             auto_offset_reset="earliest", consumer_timeout_ms=30000)
    for message in consumer:
        assert is_masked(message.value)
        if message.offset >= sent[-1].offset:
            break
    else:
        raise AssertionError("not everything came")
    consumer.close()


NEEDS = {"kcat": lambda: shutil.which("kcat"),
         "confluent": lambda: importlib.util.find_spec("confluent_kafka"),
         "aiokafka": lambda: importlib.util.find_spec("aiokafka"),
         "kafka_python": lambda: importlib.util.find_spec("kafka")}


def main():
    wanted = sys.argv[1:]
    tests = [(name, test) for name, test in globals().items()
             if any(name.startswith(client + "_") for client in NEEDS) and callable(test)]
    failed = []
    for name, test in tests:
        if wanted and not any(name.startswith(word) for word in wanted):
            continue
        client = next(client for client in NEEDS if name.startswith(client + "_"))
        if not NEEDS[client]():
            print("SKIPPED %s: %s is not installed" % (name, client), flush=True)
            if os.environ.get("TRADELANE_REQUIRE_SERVERS") == "1":
                failed.append(name)
            continue
        begin = time.monotonic()
        try:
            test()
            print("ok      %s (%.1f s)" % (name, time.monotonic() - begin), flush=True)
        except BaseException as error:  # A test that was cut off has failed like any other.
            failed.append(name)
            print("FAILED  %s: %s: %s" % (name, type(error).__name__, error), flush=True)
    sys.exit("failed: " + ", ".join(failed) if failed else 0)


if __name__ == "__main__":
    main()
