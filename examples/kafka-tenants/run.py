#!/usr/bin/env python3
"""A cluster that many organizations share, with a hub in front of it: each tenant has its own topics, groups, transactions and
quotas, sees what it is granted, and tries in vain to cross over to the others, in every Kafka API that a client has.

    examples/kafka-tenants/run.py --tradelane target/release/tradelane --kafka DIR

DIR is what `tools/kafka/kafka.py fetch DIR` made; confluent-kafka for Python has to be installed. The tenants are those of
../network, the hub's configuration and its rights at the cluster are beside this file.
"""

import argparse
import concurrent.futures
import contextlib
import json
import pathlib
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests/clients/kafka"))

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition  # noqa: E402
from confluent_kafka.admin import (AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient,  # noqa: E402
                                   AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourcePatternType, ResourceType)
from confluent_kafka import ElectionType, TopicCollection  # noqa: E402
from network import cluster, hub_before  # noqa: E402

STOCK = (HERE.parent / "json/acme-stock.ndjson").read_text().splitlines()
# Acme's; granted to medidis and corner, each with a view of its own.
SHARED = "acme-stock"
# Northline's, granted to acme and to nobody else; and one that there is not.
THEIRS, NOWHERE = "northline-tracking", "northline-nothing"
WAIT = 20


def publish(settings, topic, lines):
    failed = []
    producer = Producer(settings)
    for line in lines:
        producer.produce(topic, line, on_delivery=lambda error, _: error and failed.append(error))
    assert producer.flush(60) == 0 and not failed, failed[:1]


def read(settings, topic, count, group):
    consumer = Consumer({**settings, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe([topic])
    found, end = [], time.monotonic() + 60
    while len(found) < count and time.monotonic() < end:
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            found.append(json.loads(message.value()))
    consumer.commit(asynchronous=False)
    consumer.close()
    assert len(found) == count, "%d of %d" % (len(found), count)
    return found


def each_tenant_has_its_own_view(hub):
    publish(hub.client("acme-desk"), SHARED, STOCK)
    carried = ("09506000134352", "09506000134376")
    corner = read(hub.client("corner-desk"), SHARED, len(STOCK), "planning")
    medidis = read(hub.client("medidis-desk"), SHARED, sum(json.loads(line)["sku"] in carried for line in STOCK), "planning")
    assert all(event["onHand"] % 100 == 0 and "reserved" not in event for event in corner), corner[0]
    assert all(event["sku"] in carried and "reserved" in event for event in medidis), medidis[0]


def what_is_not_granted_does_not_exist(hub):
    visible = {who: set(AdminClient(hub.client(who)).list_topics(timeout=WAIT).topics)
               for who in ("acme-desk", "northline-desk", "corner-desk")}
    assert SHARED in visible["acme-desk"] and SHARED in visible["corner-desk"], visible
    assert THEIRS in visible["northline-desk"] and THEIRS not in visible["corner-desk"], visible
    assert not any(name.startswith("tenants.") or name.startswith("__") for names in visible.values() for name in names), visible


def outcome(attempt, *arguments):
    """What comes of it, with names and addresses left out: an error, or what was answered."""
    try:
        return "done: %s" % attempt(*arguments)
    except (KafkaException, SystemError) as error:
        # Callbacks that are called while an error is on its way turn it into a SystemError.
        return (error if isinstance(error, KafkaException) else error.__cause__).args[0].name()


def first(futures):
    return next(iter(futures.values())).result(WAIT)


def fetched(settings, topic):
    consumer = Consumer({**settings, "group.id": "thief", "topic.metadata.refresh.interval.ms": 1000})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        message = consumer.poll(8)
        if message is not None and message.error():
            raise KafkaException(message.error())
        return message and message.value()
    finally:
        consumer.close()


def sent(settings, topic, **more):
    told = []
    producer = Producer({**settings, "message.timeout.ms": 8000, **more})
    producer.produce(topic, STOCK[0], partition=0, on_delivery=lambda error, _: told.append(error))
    producer.flush(WAIT)
    if told and told[0]:
        raise KafkaException(told[0])
    return "stored"


def asked(settings, group="thief"):
    return Consumer({**settings, "group.id": group})


def crossings(settings):
    """Every way that a client has to a topic: by name, a function of the topic."""
    admin = AdminClient(settings)
    at = lambda topic, offset=0: TopicPartition(topic, 0, offset)
    short = ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
    config = lambda topic, *changes: ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=list(changes) or None)
    return {
        "metadata": lambda topic: admin.list_topics(topic, WAIT).topics[topic].error,
        "describe topics": lambda topic: first(admin.describe_topics(TopicCollection([topic]))),
        "describe configs": lambda topic: first(admin.describe_configs([config(topic)])),
        "alter configs": lambda topic: first(admin.incremental_alter_configs([config(topic, short)])),
        "create": lambda topic: first(admin.create_topics([NewTopic(topic, 1, 1)])),
        "delete": lambda topic: first(admin.delete_topics([topic])),
        "more partitions": lambda topic: first(admin.create_partitions([NewPartitions(topic, 9)])),
        "delete records": lambda topic: first(admin.delete_records([at(topic, 1)])),
        "list offsets": lambda topic: first(admin.list_offsets({at(topic): OffsetSpec.latest()})),
        "watermarks": lambda topic: asked(settings).get_watermark_offsets(at(topic), WAIT),
        "offsets by time": lambda topic: [one.error for one in asked(settings).offsets_for_times([at(topic, 1)], WAIT)],
        "fetch": lambda topic: fetched(settings, topic),
        "produce": lambda topic: sent(settings, topic),
        "produce, idempotent": lambda topic: sent(settings, topic, **{"enable.idempotence": True}),
        "commit": lambda topic: [one.error for one in asked(settings).commit(offsets=[at(topic, 7)], asynchronous=False)],
        "committed": lambda topic: [(one.offset, one.error) for one in asked(settings).committed([at(topic)], WAIT)],
        "alter offsets": lambda topic: [one.error for one in first(admin.alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions("thief", [at(topic, 7)])])).topic_partitions],
        "elect leaders": lambda topic: admin.elect_leaders(ElectionType.PREFERRED, [at(topic)]).result(WAIT),
        "create access rules": lambda topic: first(admin.create_acls([AclBinding(
            ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:corner-desk", "*", AclOperation.ALL, AclPermissionType.ALLOW)])),
        "describe access rules": lambda topic: admin.describe_acls(AclBindingFilter(
            ResourceType.TOPIC, topic, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY)).result(WAIT),
    }


def no_api_leads_to_anothers_topic(hub):
    """The answer for a topic of others is that for a topic which does not exist at all: nothing is told apart."""
    before = dict.fromkeys(("northline-desk",), ends(hub, "northline-desk", THEIRS))
    tries = crossings(hub.client("corner-desk"))

    def both(item):
        name, attempt = item
        told = [outcome(attempt, topic).replace(topic, "TOPIC") for topic in (THEIRS, NOWHERE)]
        return name, told

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for name, (theirs, nowhere) in pool.map(both, tries.items()):
            assert theirs == nowhere, "%s tells them apart: %s / %s" % (name, theirs, nowhere)
            harmless = theirs.startswith("done") and ("UNKNOWN_TOPIC" in theirs or "-1001" in theirs or "None" in theirs)
            assert harmless or not theirs.startswith("done"), "%s: %s" % (name, theirs)
            print("    %-24s %s" % (name, theirs if len(theirs) < 60 else theirs[:57] + "..."))
    assert before["northline-desk"] == ends(hub, "northline-desk", THEIRS)


def ends(hub, who, topic):
    return asked(hub.client(who), "ends").get_watermark_offsets(TopicPartition(topic, 0), WAIT)


def a_grant_to_read_is_none_to_write(hub):
    assert outcome(lambda: sent(hub.client("corner-desk"), SHARED)) == "TOPIC_AUTHORIZATION_FAILED"


def groups_of_the_same_name_are_two(hub):
    """Both tenants have a group `planning`; what one does to it, the other's does not notice."""
    medidis, corner = (AdminClient(hub.client(who)) for who in ("medidis-desk", "corner-desk"))
    offset = lambda who: asked(hub.client(who), "planning").committed([TopicPartition(SHARED, 0)], WAIT)[0].offset
    before = offset("medidis-desk")
    assert before > 0 and offset("corner-desk") > 0
    names = lambda admin: {group.group_id for group in admin.list_consumer_groups().result(WAIT).valid}
    read(hub.client("medidis-desk"), SHARED, 1, "secret-plans")
    assert "secret-plans" in names(medidis) and "secret-plans" not in names(corner), names(corner)
    for name, attempt in {
        "describe": lambda group: str(first(corner.describe_consumer_groups([group])).state),
        "offsets": lambda group: [one.offset for one in first(corner.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group)])).topic_partitions],
        "delete": lambda group: first(corner.delete_consumer_groups([group])),
    }.items():
        told = [outcome(attempt, group) for group in ("secret-plans", "no-such-plans")]
        assert told[0] == told[1], (name, told)
    first(corner.alter_consumer_group_offsets([ConsumerGroupTopicPartitions("planning", [TopicPartition(SHARED, 0, 1)])]))
    assert (offset("corner-desk"), offset("medidis-desk")) == (1, before)
    first(corner.delete_consumer_groups(["planning"]))
    assert offset("medidis-desk") == before, "deleted by another tenant"


def transactions_of_the_same_name_are_two(hub):
    """A second producer with a transactional id fences the first; one of another tenant does not."""
    producers = []
    for who in ("acme-desk", "northline-desk"):
        producers.append(Producer(hub.client(who, transactional_id="nightly")))
        producers[-1].init_transactions(30)
    producers[0].begin_transaction()
    producers[0].produce(SHARED, STOCK[0])
    producers[0].commit_transaction(30)


def one_tenants_flood_slows_nobody_else(hub):
    """Kafka's own throttle time, by organization."""
    slowed = {"northline-desk": [], "acme-desk": []}
    tracking = (HERE.parent / "json/northline-tracking.ndjson").read_text().splitlines()
    flood = Producer(hub.client("northline-desk", linger_ms=50) | {"throttle_cb": slowed["northline-desk"].append})
    calm = Producer(hub.client("acme-desk") | {"throttle_cb": slowed["acme-desk"].append})
    for round in range(40):
        for _ in range(60):
            flood.produce(THEIRS, tracking[round % len(tracking)])
        calm.produce(SHARED, STOCK[round % len(STOCK)])
        flood.poll(0)
        calm.poll(0.05)
    assert calm.flush(60) == 0 and flood.flush(90) == 0
    assert any(event.throttle_time > 0 for event in slowed["northline-desk"]), "the flood was not slowed down"
    assert not any(event.throttle_time > 0 for event in slowed["acme-desk"]), "the calm tenant was"


def nobody_goes_round_the_hub(hub, brokers):
    """A tenant's key is nothing at the cluster, another user of the cluster's has no rights, and its administrator sees no values."""
    brokers.user("stranger", "strangers-password")
    for settings in (brokers.client("corner-desk", hub.key("corner-desk")), brokers.client("stranger", "strangers-password")):
        told = outcome(lambda: fetched(settings, "tenants." + SHARED))
        assert told in ("done: None", "_ALL_BROKERS_DOWN", "_AUTHENTICATION", "GROUP_AUTHORIZATION_FAILED", "TOPIC_AUTHORIZATION_FAILED"), told
    seen = brokers.tool("console-consumer", "--topic", "tenants." + SHARED, "--from-beginning", "--timeout-ms", "5000", "--max-messages", "3")
    assert seen and "Ines Duarte" not in seen and "Vesta Biologics" not in seen


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tradelane", default="target/release/tradelane")
    arguments.add_argument("--kafka", required=True)
    options = arguments.parse_args()
    count = 0
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tradelane-tenants-")))
        brokers = stack.enter_context(cluster(options.kafka))
        hub = stack.enter_context(hub_before(options.tradelane, folder, HERE.name, brokers))
        for step in (each_tenant_has_its_own_view, what_is_not_granted_does_not_exist, no_api_leads_to_anothers_topic,
                     a_grant_to_read_is_none_to_write, groups_of_the_same_name_are_two, transactions_of_the_same_name_are_two,
                     one_tenants_flood_slows_nobody_else, nobody_goes_round_the_hub):
            step(hub, brokers) if step is nobody_goes_round_the_hub else step(hub)
            count += 1
            print("ok   " + step.__name__.replace("_", " "), flush=True)
    print("%d passed, 0 failed" % count)


if __name__ == "__main__":
    main()
