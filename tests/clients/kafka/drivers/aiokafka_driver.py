"""aiokafka, driven as README.md says."""

import asyncio
import ssl

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError
from shared import lines, main, say, settings, still


class Token(AbstractTokenProvider):
    async def token(self):
        return settings["token"]


def common():
    both = dict(bootstrap_servers=settings["bootstrap"], security_protocol="SASL_SSL", sasl_mechanism=settings["mechanism"],
                ssl_context=ssl.create_default_context(cafile=settings["ca"]))
    if settings["mechanism"] == "OAUTHBEARER":
        return dict(**both, sasl_oauth_token_provider=Token())
    return dict(**both, sasl_plain_username=settings["user"], sasl_plain_password=settings["password"])


def failure(error):
    return {"error": type(error).__name__, "message": str(error)}


async def produce():
    codec, transaction = settings.get("codec", "none"), settings.get("transaction")
    producer = AIOKafkaProducer(**common(), enable_idempotence=True, linger_ms=20, max_request_size=4000000,
                                compression_type=None if codec == "none" else codec,
                                transactional_id=transaction and transaction["id"])
    sent = lines()
    try:
        await producer.start()
    except KafkaError as error:
        await producer.stop()
        return [say(failure(error)) for _ in sent]
    if transaction:
        await producer.begin_transaction()
    waiting = []
    for one in sent:
        waiting.append(await producer.send(
            settings["topic"], one["value"].encode(), key=one["key"].encode() if one.get("key") else None,
            partition=one.get("partition"), headers=[(name, value.encode()) for name, value in one.get("headers", {}).items()]))
    for one in waiting:
        try:
            at = await one
            say({"partition": at.partition, "offset": at.offset})
        except KafkaError as error:
            say(failure(error))
    if transaction:
        await end(producer, transaction)
    await producer.stop()


async def end(producer, transaction):
    if transaction.get("group"):
        offsets = {TopicPartition(settings["topic"], int(partition)): offset for partition, offset in transaction["offsets"].items()}
        await producer.send_offsets_to_transaction(offsets, transaction["group"])
    await (producer.commit_transaction() if transaction["end"] == "commit" else producer.abort_transaction())


class Listener(ConsumerRebalanceListener):
    async def on_partitions_revoked(self, revoked):
        pass

    async def on_partitions_assigned(self, assigned):
        say({"held": sorted(one.partition for one in assigned)})


async def consume():
    consumer = AIOKafkaConsumer(**common(), group_id=settings["group"], auto_offset_reset="earliest", session_timeout_ms=6000,
                                heartbeat_interval_ms=1000, auto_commit_interval_ms=500, max_partition_fetch_bytes=4000000,
                                retry_backoff_ms=200, isolation_level=settings.get("isolation", "read_committed"))
    consumer.subscribe([settings["topic"]], listener=Listener())
    await consumer.start()
    while still():
        try:
            found = await consumer.getmany(timeout_ms=200)
        except KafkaError as error:
            say(failure(error))
            await asyncio.sleep(0.5)
            continue
        for messages in found.values():
            for one in messages:
                say({"partition": one.partition, "offset": one.offset, "key": one.key.decode() if one.key else None,
                     "value": one.value.decode(), "headers": {name: value.decode() for name, value in one.headers}})
    await consumer.stop()


main(lambda: asyncio.run(produce()), lambda: asyncio.run(consume()))
