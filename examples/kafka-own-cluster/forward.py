#!/usr/bin/env python3
"""Brings what existing topics of a company's cluster have into the products that it shares through the hub.

    forward.py SETTINGS.json

Settings: `from` and `to`, librdkafka's settings for the cluster (with a `group.id`) and for the hub; `topics`, products by topic.
Each record is published with its key, timestamp and headers. Offsets are committed when the hub has acknowledged, so that what
was not comes again. What breaks its contract is said on standard error and left behind: it would be refused each time.
"""

import json
import pathlib
import signal
import sys
import threading

from confluent_kafka import Consumer, KafkaError, Producer

AT_ONCE, PAUSE = 500, 0.5


def main():
    settings = json.loads(pathlib.Path(sys.argv[1]).read_text())
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    consumer = Consumer({"auto.offset.reset": "earliest", **settings["from"], "enable.auto.commit": False})
    producer = Producer({"enable.idempotence": True, "linger.ms": 5, **settings["to"]})
    consumer.subscribe(list(settings["topics"]))
    while not stop.is_set():
        forward(consumer.consume(AT_ONCE, PAUSE), settings["topics"], consumer, producer)
    consumer.close()


def forward(messages, products, consumer, producer):
    messages = [message for message in messages if message.error() is None]
    failed = []

    def told(message):
        def tell(error, _):
            if error is None:
                return
            place = "%s/%d/%d" % (message.topic(), message.partition(), message.offset())
            print("%s is not published: %s" % (place, error.str()), file=sys.stderr, flush=True)
            if error.code() not in (KafkaError.INVALID_RECORD, KafkaError.MSG_SIZE_TOO_LARGE):
                failed.append(error)
        return tell

    for message in messages:
        kind, time = message.timestamp()
        producer.produce(products[message.topic()], message.value(), message.key(), headers=message.headers() or [],
                         timestamp=time if kind else 0, on_delivery=told(message))
    producer.flush()
    if failed:
        sys.exit("the hub does not take it; what was not committed comes again")
    if messages:
        consumer.commit(asynchronous=False)


if __name__ == "__main__":
    main()
