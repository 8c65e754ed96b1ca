"""confluent-kafka (librdkafka), driven as README.md says."""

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from shared import lines, main, say, settings, still


def common():
    both = {"bootstrap.servers": settings["bootstrap"], "security.protocol": "SASL_SSL", "ssl.ca.location": settings["ca"],
            "sasl.mechanisms": settings["mechanism"], "reconnect.backoff.max.ms": 500}
    if settings["mechanism"] == "OAUTHBEARER":
        import time
        return {**both, "oauth_cb": lambda _: (settings["token"], time.time() + 300)}
    return {**both, "sasl.username": settings["user"], "sasl.password": settings["password"]}


def failure(error):
    return {"error": error.name(), "message": error.str()}


def produce():
    broken, transaction = [], settings.get("transaction")
    producer = Producer({**common(), "compression.type": settings.get("codec", "none"), "enable.idempotence": True,
                         "linger.ms": 20, "message.timeout.ms": 30000, "message.max.bytes": 4000000,
                         **({"transactional.id": transaction["id"]} if transaction else {}), "error_cb": broken.append})
    sent = lines()
    if transaction:
        try:
            producer.init_transactions(20)
        except KafkaException as refused:
            return [say(failure(refused.args[0])) for _ in sent]
        producer.begin_transaction()
    told = [None] * len(sent)
    for index, one in enumerate(sent):
        def delivered(error, message, index=index):
            told[index] = failure(error) if error else {"partition": message.partition(), "offset": message.offset()}
        more = {"partition": one["partition"]} if one.get("partition") is not None else {}
        producer.produce(settings["topic"], one["value"].encode(), key=one.get("key"),
                         headers={name: value.encode() for name, value in one.get("headers", {}).items()},
                         on_delivery=delivered, **more)
        producer.poll(0)
    for _ in range(40):
        # A wrong password is tried again for ever: a program has to listen to its error callback.
        refused = [error for error in broken if error.name() == "_AUTHENTICATION"]
        if not producer.flush(1) or refused:
            break
    if transaction:
        end(producer, transaction)
    for one in told:
        say(one or failure(broken[-1]))


def end(producer, transaction):
    if transaction.get("group"):
        offsets = [TopicPartition(settings["topic"], int(partition), offset) for partition, offset in transaction["offsets"].items()]
        member = Consumer({**common(), "group.id": transaction["group"]})
        producer.send_offsets_to_transaction(offsets, member.consumer_group_metadata(), 20)
        member.close()
    (producer.commit_transaction if transaction["end"] == "commit" else producer.abort_transaction)(30)


def consume():
    newer = {"group.protocol": settings["protocol"]} if settings.get("protocol") else None
    consumer = Consumer({**common(), "group.id": settings["group"], "auto.offset.reset": "earliest",
                         **(newer or {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}), "auto.commit.interval.ms": 500,
                         "isolation.level": settings.get("isolation", "read_committed"),
                         "error_cb": lambda error: error.name() in ("_TRANSPORT", "_ALL_BROKERS_DOWN") or say(failure(error))})
    held = set()

    def assigned(_, of):
        # The newer protocol tells what is new, the older one all.
        held.update(one.partition for one in of) if newer else (held.clear(), held.update(one.partition for one in of))
        say({"held": sorted(held)})

    def revoked(_, of):
        held.difference_update(one.partition for one in of)
        if newer:
            say({"held": sorted(held)})

    pattern = settings.get("pattern")
    consumer.subscribe(["^" + pattern if pattern else settings["topic"]], on_assign=assigned, on_revoke=revoked)
    while still():
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error():
            say(failure(message.error()))
            continue
        say({"partition": message.partition(), "offset": message.offset(), "key": message.key().decode() if message.key() else None,
             "value": message.value().decode(), "headers": {name: value.decode() for name, value in message.headers() or []}})
    try:
        consumer.close()
    except KafkaException:
        pass


main(produce, consume)
