#!/usr/bin/env python3
"""Confluent's schema registry client and JSON serializers against a hub with the demo's organizations.

    tools/with-hub.py --tradelane target/debug/tradelane tests/clients/registry/clients.py

Acme's desk registers schemas and writes with Confluent's JSONSerializer; a partner reads with its JSONDeserializer, which
fetches the schema of the partner's view and checks every event against it. A client that is not installed is skipped,
loudly; with TRADELANE_REQUIRE_SERVERS=1 that is a failure.
"""

import importlib.util
import json
import os
import sys
import time
import urllib.request
import uuid
import ssl

URL, KAFKA, CA = os.environ["HUB_URL"], os.environ["HUB_KAFKA"], os.environ["HUB_CA"]
OWNER, PARTNER = (os.environ["HUB_KEY_" + who] for who in ("ACME_DESK", "CORNER_DESK"))
TOPIC = "acme-stock"
SUBJECT = TOPIC + "-value"
FIRST_VIEW_ID = 1 << 30

STOCK = json.dumps({
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "stock",
    "type": "object",
    "properties": {"eventId": {"type": "string"}, "onHand": {"type": "integer"}},
    "required": ["eventId", "onHand"],
})


def registry(key):
    from confluent_kafka.schema_registry import SchemaRegistryClient
    return SchemaRegistryClient({"url": URL + "/registry", "basic.auth.user.info": "anyone:" + key,
                                 "ssl.ca.location": CA})


def schema(text, **more):
    from confluent_kafka.schema_registry import Schema
    return Schema(text, "JSON", **more)


def refused(code, call, *arguments):
    from confluent_kafka.schema_registry.error import SchemaRegistryError
    try:
        call(*arguments)
    except SchemaRegistryError as error:
        assert error.error_code == code, (code, error)
        return error
    raise AssertionError("not refused with %d" % code)


def kafka(key, **more):
    return {"bootstrap.servers": KAFKA, "security.protocol": "SASL_SSL", "ssl.ca.location": CA,
            "sasl.mechanisms": "PLAIN", "sasl.username": "anyone", "sasl.password": key,
            **{name.replace("_", "."): value for name, value in more.items()}}


def events():
    with open(os.path.join(os.path.dirname(__file__), "../../../examples/json/acme-stock.ndjson")) as lines:
        return [json.loads(line) for line in lines]


def schemas_are_registered_found_and_deleted():
    client, subject = registry(OWNER), "made-" + uuid.uuid4().hex
    first = client.register_schema(subject, schema('{"type": "object"}'))
    assert client.register_schema(subject, schema('{ "type":"object" }')) == first
    assert json.loads(client.get_schema(first).schema_str) == {"type": "object"}
    assert subject in client.get_subjects() and client.get_versions(subject) == [1]
    found = client.lookup_schema(subject, schema('{"type":"object"}'))
    assert (found.schema_id, found.version, found.subject) == (first, 1, subject), found
    latest = client.get_latest_version(subject)
    assert (latest.version, latest.schema.schema_type) == (1, "JSON")
    assert client.get_version(subject, 1).schema_id == first
    refused(40402, client.get_version, subject, 9)
    refused(40401, client.get_versions, "nothing-" + subject)
    refused(40403, client.get_schema, 99999)
    refused(42201, client.register_schema, subject, schema('{"type": "strnig"}'))
    assert client.delete_subject(subject) == [1]
    refused(40404, client.delete_subject, subject)
    assert client.delete_subject(subject, True) == [1]


def references_are_resolved():
    from confluent_kafka.schema_registry import SchemaReference
    client, mark = registry(OWNER), uuid.uuid4().hex
    client.register_schema("address-" + mark, schema('{"type":"object","properties":{"city":{"type":"string"}}}'))
    text = '{"type":"object","properties":{"to":{"$ref":"address.json"}}}'
    reference = SchemaReference("address.json", "address-" + mark, 1)
    made = client.register_schema("order-" + mark, schema(text, references=[reference]))
    kept = client.get_schema(made, "order-" + mark)
    assert [(r.name, r.subject, r.version) for r in kept.references] == [("address.json", "address-" + mark, 1)]
    assert client.get_referenced_by("address-" + mark, 1) == [made]
    refused(42206, client.delete_subject, "address-" + mark)


def compatibility_is_kept_and_told():
    client, subject = registry(OWNER), "levels-" + uuid.uuid4().hex
    refused(40408, client.get_compatibility, subject)
    client.register_schema(subject, schema('{"type": "integer"}'))
    assert client.test_compatibility(subject, schema('{"type": "number"}'))
    assert not client.test_compatibility(subject, schema('{"type": "string"}'))
    error = refused(409, client.register_schema, subject, schema('{"type": "string"}'))
    assert "TYPE_CHANGED" in error.error_message, error
    client.set_compatibility(subject, "NONE")
    assert client.get_compatibility(subject) == "NONE"
    client.register_schema(subject, schema('{"type": "string"}'))
    assert client.get_versions(subject) == [1, 2]
    assert client.update_mode(subject, "READONLY") == "READONLY"
    refused(42205, client.register_schema, subject, schema('{"type": "null"}'))


def a_stranger_finds_nothing():
    client = registry(PARTNER)
    mine = registry(OWNER).register_schema("hidden-" + uuid.uuid4().hex, schema('{"const": "%s"}' % uuid.uuid4()))
    refused(40403, client.get_schema, mine)
    assert not [name for name in client.get_subjects() if name.startswith("hidden-")]
    refused(403, client.register_schema, SUBJECT, schema(STOCK))
    wrong = registry(PARTNER[:-1] + ("A" if PARTNER[-1] != "A" else "B"))
    refused(401, wrong.get_subjects)


def serializers_of_both_sides_understand_each_other():
    from confluent_kafka import Consumer, Producer
    from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext
    context = SerializationContext(TOPIC, MessageField.VALUE)
    serializer = JSONSerializer(STOCK, registry(OWNER))
    mark, sent = uuid.uuid4().hex, []
    producer = Producer(kafka(OWNER))

    def delivered(error, message):
        assert error is None, error
        sent.append(message.offset())

    for number, event in enumerate(events()[:3]):
        event["eventId"] = "%s-%d" % (mark, number)
        producer.produce(TOPIC, serializer(event, context), on_delivery=delivered)
    assert producer.flush(30) == 0 and len(sent) == 3, sent
    errors = []
    foreign = b"\0" + (123456).to_bytes(4, "big") + json.dumps(events()[0]).encode()
    producer.produce(TOPIC, foreign, on_delivery=lambda error, _: errors.append(error))
    producer.flush(30)
    assert errors[0] is not None and "INVALID_RECORD" in errors[0].name(), errors

    for key, is_owner in ((OWNER, True), (PARTNER, False)):
        deserializer = JSONDeserializer(None, schema_registry_client=registry(key))
        consumer = Consumer(kafka(key, group_id="sr-" + uuid.uuid4().hex, auto_offset_reset="earliest"))
        consumer.subscribe([TOPIC])
        seen, end = [], time.monotonic() + 60
        while len(seen) < 3 and time.monotonic() < end:
            message = consumer.poll(1)
            if message is None or message.error() or not message.value().startswith(b"\0"):
                continue
            named = int.from_bytes(message.value()[1:5], "big")
            assert (named < FIRST_VIEW_ID) == is_owner, named
            event = deserializer(message.value(), context)
            if event["eventId"].startswith(mark):
                seen.append(event)
        consumer.close()
        assert len(seen) == 3, seen
        assert is_owner == bool(seen[0].get("valuation")), seen[0]
        if not is_owner:
            assert all(event["onHand"] % 100 == 0 for event in seen), seen

    request = urllib.request.Request(URL + "/v1/products/%s/events?limit=1000" % TOPIC,
                                     headers={"Authorization": "Bearer " + PARTNER, "Accept": "application/json"})
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=CA)) as answer:
        plain = [one["event"]["eventId"] for one in json.load(answer)["events"]]
    assert sum(name.startswith(mark) for name in plain) == 3, "HTTP shows plain JSON"


TESTS = [schemas_are_registered_found_and_deleted, references_are_resolved, compatibility_is_kept_and_told,
         a_stranger_finds_nothing, serializers_of_both_sides_understand_each_other]


def main():
    missing = [name for name in ("confluent_kafka", "httpx", "authlib", "jsonschema", "pyrsistent", "orjson")
               if importlib.util.find_spec(name) is None]
    if missing:
        print("SKIPPED: %s not installed; see requirements.txt" % ", ".join(missing), flush=True)
        sys.exit(1 if os.environ.get("TRADELANE_REQUIRE_SERVERS") == "1" else 0)
    failed = []
    for test in TESTS:
        begin = time.monotonic()
        try:
            test()
            print("ok      %s (%.1f s)" % (test.__name__, time.monotonic() - begin), flush=True)
        except BaseException as error:  # A test that was cut off has failed like any other.
            failed.append(test.__name__)
            print("FAILED  %s: %s: %s" % (test.__name__, type(error).__name__, error), flush=True)
    sys.exit("failed: " + ", ".join(failed) if failed else 0)


if __name__ == "__main__":
    main()
