"""kafka-python, driven as README.md says."""

import time

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata
from shared import lines, main, say, settings, still

try:
    from kafka.net.sasl.oauth import AbstractTokenProvider
except ImportError:
    from kafka.sasl.oauth import AbstractTokenProvider


class Token(AbstractTokenProvider):
    def __init__(self, **config):
        super().__init__()

    def token(self):
        return settings["token"]


def common():
    both = dict(bootstrap_servers=settings["bootstrap"], security_protocol="SASL_SSL", sasl_mechanism=settings["mechanism"],
                ssl_cafile=settings["ca"], reconnect_backoff_max_ms=500)
    if settings["mechanism"] == "OAUTHBEARER":
        return dict(**both, sasl_oauth_token_provider=Token())
    return dict(**both, sasl_plain_username=settings["user"], sasl_plain_password=settings["password"])


def failure(error):
    return {"error": type(error).__name__, "message": str(error)}


def produce():
    codec, transaction = settings.get("codec", "none"), settings.get("transaction")
    sent = lines()
    try:
        producer = KafkaProducer(**common(), linger_ms=20, max_request_size=4000000, max_block_ms=20000,
                                 compression_type=None if codec == "none" else codec,
                                 transactional_id=transaction and transaction["id"])
        if transaction:
            producer.init_transactions()
            producer.begin_transaction()
        waiting = [producer.send(
            settings["topic"], one["value"].encode(), key=one["key"].encode() if one.get("key") else None,
            partition=one.get("partition"), headers=[(name, value.encode()) for name, value in one.get("headers", {}).items()])
            for one in sent]
    except KafkaError as error:
        return [say(failure(error)) for _ in sent]
    for one in waiting:
        try:
            at = one.get(40)
            say({"partition": at.partition, "offset": at.offset})
        except KafkaError as error:
            say(failure(error))
    if transaction:
        end(producer, transaction)
    producer.close()


def end(producer, transaction):
    if transaction.get("group"):
        offsets = {TopicPartition(settings["topic"], int(partition)): OffsetAndMetadata(offset, "", -1)
                   for partition, offset in transaction["offsets"].items()}
        producer.send_offsets_to_transaction(offsets, transaction["group"])
    (producer.commit_transaction if transaction["end"] == "commit" else producer.abort_transaction)()


class Listener(ConsumerRebalanceListener):
    def on_partitions_revoked(self, revoked):
        pass

    def on_partitions_assigned(self, assigned):
        say({"held": sorted(one.partition for one in assigned)})


def consume():
    consumer = KafkaConsumer(**common(), group_id=settings["group"], auto_offset_reset="earliest", session_timeout_ms=6000,
                             isolation_level=settings.get("isolation", "read_committed"), heartbeat_interval_ms=1000,
                             auto_commit_interval_ms=500, max_partition_fetch_bytes=4000000)
    consumer.subscribe([settings["topic"]], listener=Listener())
    while still():
        try:
            # Long enough for a group to come together: 3.0.12 loses its assignment if the time is up between SyncGroup and its
            # answer, and then waits for ever.
            found = consumer.poll(timeout_ms=3000)
        except KafkaError as error:
            say(failure(error))
            time.sleep(0.5)
            continue
        for messages in found.values():
            for one in messages:
                say({"partition": one.partition, "offset": one.offset, "key": one.key.decode() if one.key else None,
                     "value": one.value.decode(), "headers": {name: value.decode() for name, value in one.headers}})
    consumer.close()


main(produce, consume)
