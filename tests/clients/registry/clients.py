#!/usr/bin/env python3
"""Confluent's schema registry client and its Avro, JSON and Protobuf serializers against a hub with the demo's organizations.

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


def schema(text, kind="JSON", **more):
    from confluent_kafka.schema_registry import Schema
    return Schema(text, kind, **more)


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


ORDER = {"type": "record", "name": "Order", "namespace": "acme.sales",
         "fields": [{"name": "id", "type": "string"}, {"name": "to", "type": "acme.sales.Address"}]}
ADDRESS = {"type": "record", "name": "Address", "namespace": "acme.sales",
           "fields": [{"name": "city", "type": "string"}]}


def avro_serializers_resolve_references_and_other_versions():
    from confluent_kafka.schema_registry import SchemaReference
    from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext
    client, topic = registry(OWNER), "avro-" + uuid.uuid4().hex
    client.register_schema(topic + "-address", schema(json.dumps(ADDRESS), "AVRO"))
    reference = SchemaReference("acme.sales.Address", topic + "-address", 1)
    context = SerializationContext(topic, MessageField.VALUE)
    first = schema(json.dumps(ORDER), "AVRO", references=[reference])
    written = AvroSerializer(client, first)({"id": "A-1", "to": {"city": "Bonn"}}, context)
    assert written[:1] == b"\0"
    latest = client.get_latest_version(topic + "-value")
    assert (latest.schema_id, latest.schema.schema_type) == (int.from_bytes(written[1:5], "big"), "AVRO"), latest
    more = dict(ORDER, fields=ORDER["fields"] + [{"name": "qty", "type": "int", "default": 1}])
    second = schema(json.dumps(more), "AVRO", references=[reference])
    client.register_schema(topic + "-value", second)
    read = AvroDeserializer(client, second)(written, context)
    assert read == {"id": "A-1", "to": {"city": "Bonn"}, "qty": 1}, read
    broken = dict(ORDER, fields=ORDER["fields"] + [{"name": "note", "type": "string"}])
    error = refused(409, client.register_schema, topic + "-value",
                    schema(json.dumps(broken), "AVRO", references=[reference]))
    assert "READER_FIELD_MISSING_DEFAULT_VALUE" in error.error_message and "note" in error.error_message, error
    assert not client.test_compatibility(topic + "-value", schema('"string"', "AVRO"))
    shuffled = {name: ORDER[name] for name in reversed(list(ORDER))}
    found = client.lookup_schema(topic + "-value", schema(json.dumps(shuffled), "AVRO", references=[reference]),
                                 normalize_schemas=True)
    assert found.version == 1, found
    refused(42206, client.delete_subject, topic + "-address")


def protobuf_class(file_name, build, *imports):
    """A message class such as protoc makes, of the first message of a file."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    for name, make in imports + ((file_name, build),):
        file = descriptor_pb2.FileDescriptorProto(name=name, syntax="proto3", package="acme.sales")
        make(file)
        pool.Add(file)
    message = pool.FindFileByName(file_name).message_types_by_name
    return {name: message_factory.GetMessageClass(found) for name, found in message.items()}


def add_field(message, name, number, kind, type_name=None, repeated=False):
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
    message.field.add(name=name, json_name=name, number=number, type=getattr(Field, "TYPE_" + kind),
                      label=Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL, type_name=type_name)


def protobuf_serializers_register_what_they_import_and_say_which_message():
    from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext
    client, topic = registry(OWNER), "protobuf-" + uuid.uuid4().hex
    address_file = topic + "/address.proto"

    def address(file):
        add_field(file.message_type.add(name="Address"), "city", 1, "STRING")

    def order(file):
        file.dependency.extend([address_file, "google/protobuf/timestamp.proto"])
        add_field(file.message_type.add(name="Unused"), "nothing", 1, "BOOL")
        message = file.message_type.add(name="Order")
        add_field(message, "id", 1, "STRING")
        add_field(message, "to", 2, "MESSAGE", ".acme.sales.Address")
        add_field(message, "at", 3, "MESSAGE", ".google.protobuf.Timestamp")
        add_field(message, "lines", 4, "MESSAGE", ".acme.sales.Order.Line", repeated=True)
        add_field(message.nested_type.add(name="Line"), "sku", 1, "STRING")

    made = protobuf_class(topic + "/order.proto", order, (address_file, address))
    Order, context = made["Order"], SerializationContext(topic, MessageField.VALUE)
    sent = Order(id="A-1", lines=[{"sku": "X"}])
    sent.to.city = "Bonn"
    sent.at.seconds = 7
    written = ProtobufSerializer(Order, client, {"use.deprecated.format": False})(sent, context)
    # The second message of its file: one level, place 1, as zigzag varints.
    assert written[5:7] == b"\x02\x02", written[:9]
    latest = client.get_latest_version(topic + "-value")
    assert latest.schema.schema_type == "PROTOBUF" and "message Order {" in latest.schema.schema_str, latest
    assert [r.name for r in latest.schema.references] == [address_file], latest.schema.references
    for conf in ({"use.deprecated.format": False}, {"use.deprecated.format": False, "use.latest.version": True}):
        # A client keeps what it fetched, as text; a deserializer wants descriptors.
        assert ProtobufDeserializer(Order, conf, registry(OWNER))(written, context) == sent
    again = ProtobufSerializer(Order, registry(OWNER), {"use.deprecated.format": False})(sent, context)
    assert again[:5] == written[:5], "the same schema keeps its id"
    assert client.get_versions(topic + "-value") == [1]
    text = latest.schema.schema_str.replace("string id = 1", "int32 id = 1")
    error = refused(409, client.register_schema, topic + "-value",
                    schema(text, "PROTOBUF", references=latest.schema.references))
    assert "FIELD_SCALAR_KIND_CHANGED" in error.error_message and "#/Order/1" in error.error_message, error
    text = latest.schema.schema_str.replace("string id = 1;", "string id = 1; int32 more = 9;")
    assert client.test_compatibility(topic + "-value", schema(text, "PROTOBUF", references=latest.schema.references))
    refused(42206, client.delete_subject, address_file)


def directions_of_compatibility_are_kept():
    client = registry(OWNER)
    field = {"name": "more", "type": "string"}
    narrow, wide = ORDER["fields"][:1], ORDER["fields"][:1] + [field]
    texts = [json.dumps(dict(ORDER, fields=fields)) for fields in (narrow, wide)]
    for level, forth, back in (("BACKWARD", False, True), ("FORWARD", True, False), ("FULL", False, False),
                               ("BACKWARD_TRANSITIVE", False, True), ("FULL_TRANSITIVE", False, False),
                               ("NONE", True, True)):
        for (one, other), expected in (((0, 1), forth), ((1, 0), back)):
            subject = "direction-" + uuid.uuid4().hex
            client.register_schema(subject, schema(texts[one], "AVRO"))
            client.set_compatibility(subject, level)
            assert client.test_compatibility(subject, schema(texts[other], "AVRO")) == expected, (level, one, other)


CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: %(id)s
tenant: acme
version: 1.0.0
status: active
schema:
  - name: order
    properties:
      - {name: id, logicalType: string, required: true, classification: public}
      - {name: email, logicalType: string, classification: pii, customProperties: [{property: subject, value: /id}]}
      - {name: price, logicalType: number, classification: confidential}
      - {name: due, logicalType: %(due)s, classification: confidential}
      - name: lines
        logicalType: array
        items:
          logicalType: object
          properties:
            - {name: sku, logicalType: string, classification: public}
            - {name: qty, logicalType: integer, classification: confidential}
      - name: labels
        logicalType: object
customProperties:
  - property: tradelane
    value:
      format: %(format)s
      fields: [{at: /labels/color, class: public}, {at: "/labels/{}", class: pii, subject: /id}]
"""

PRODUCT = """
apiVersion: tradelane/v1
kind: Product
spec: {id: %(id)s, owner: acme, contract: %(id)s}
---
apiVersion: tradelane/v1
kind: Grant
spec:
  id: %(id)s-corner
  product: %(id)s
  consumer: corner
  purpose: replenishment
  view:
    classes: {pii: pseudonym}
    fields:
      /due: {generalize: {date: month}}
      /lines/*/qty: {generalize: {number: {bucket: 10}}}
"""

AVRO_EVENT = {"type": "record", "name": "acme.Shipped", "fields": [
    {"name": "id", "type": "string"},
    {"name": "email", "type": ["null", "string"]},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    {"name": "due", "type": {"type": "int", "logicalType": "date"}},
    {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": [
        {"name": "sku", "type": "string"}, {"name": "qty", "type": "long"}]}}},
    {"name": "labels", "type": {"type": "map", "values": "string"}}]}

PROTOBUF_EVENT = """syntax = "proto3";
package acme.sales;
import "google/protobuf/timestamp.proto";
message Unused {}
message Shipped {
  string id = 1;
  optional string email = 2;
  double price = 3;
  google.protobuf.Timestamp due = 4;
  repeated Line lines = 5;
  map<string, string> labels = 6;
  message Line { string sku = 1; int64 qty = 2; }
}
"""


def apply(*texts):
    files = [{"name": "%d.yaml" % at, "text": text} for at, text in enumerate(texts)]
    request = urllib.request.Request(URL + "/v1/apply", json.dumps({"files": files}).encode(), method="POST", headers={
        "Authorization": "Bearer " + OWNER, "Content-Type": "application/json"})
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=CA)) as answer:
        return json.load(answer)


def sent(topic, values):
    """Publishes values, and gives back what was refused."""
    from confluent_kafka import Producer
    producer, failed = Producer(kafka(OWNER)), []
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: failed.append(error) if error else None)
    assert producer.flush(30) == 0
    return failed


def received(topic, key, count):
    """So many values as the owner of a key finds them."""
    from confluent_kafka import Consumer
    consumer = Consumer(kafka(key, group_id="sr-" + uuid.uuid4().hex, auto_offset_reset="earliest"))
    consumer.subscribe([topic])
    found, end = [], time.monotonic() + 60
    while len(found) < count and time.monotonic() < end:
        message = consumer.poll(1)
        if message is not None and not message.error():
            found.append(message.value())
    consumer.close()
    assert len(found) == count, "%d of %d came" % (len(found), count)
    return found


def sent_and_received(topic, values, key):
    """Publishes values, and gives back the first that the owner of a key finds."""
    failed = sent(topic, values)
    assert not failed, failed
    return received(topic, key, 1)[0]


def shown_over_http(topic, key):
    request = urllib.request.Request(URL + "/v1/products/%s/events?limit=10" % topic,
                                     headers={"Authorization": "Bearer " + key, "Accept": "application/json"})
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=CA)) as answer:
        return [one["event"] for one in json.load(answer)["events"]]


def avro_products_are_read_in_the_schema_of_the_view_and_in_the_readers_own():
    import datetime
    import decimal
    from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext
    topic = "acme-avro-" + uuid.uuid4().hex[:8]
    text = CONTRACT % {"id": topic, "format": "avro", "due": "date"} + "      avroSchema: '%s'\n" % json.dumps(AVRO_EVENT)
    apply(text, PRODUCT % {"id": topic})
    context = SerializationContext(topic, MessageField.VALUE)
    event = {"id": "S-1", "email": "anna@example.org", "price": decimal.Decimal("12.50"),
             "due": datetime.date(2026, 11, 21), "lines": [{"sku": "X", "qty": 47}, {"sku": "Y", "qty": 3}],
             "labels": {"color": "red", "anna": "vip"}}
    written = AvroSerializer(registry(OWNER), json.dumps(AVRO_EVENT))(event, context)
    assert sent_and_received(topic, [written], OWNER) == written, "the owner gets the bytes that were sent"
    shown = sent_and_received(topic, [written], PARTNER)
    assert int.from_bytes(shown[1:5], "big") >= FIRST_VIEW_ID
    assert b"anna" not in shown and b"vip" not in shown, shown
    view = AvroDeserializer(registry(PARTNER))(shown, context)
    assert view["email"].startswith("p-"), view
    expected = {"id": "S-1", "email": view["email"], "price": decimal.Decimal("0.00"),
                "due": datetime.date(2026, 11, 1), "lines": [{"sku": "X", "qty": 40}, {"sku": "Y", "qty": 0}],
                "labels": {"color": "red"}}
    assert view == expected, view
    own = dict(AVRO_EVENT, fields=AVRO_EVENT["fields"][:2] + [{"name": "carrier", "type": "string", "default": "?"}])
    mine = AvroDeserializer(registry(PARTNER), json.dumps(own))(shown, context)
    assert mine == {"id": "S-1", "email": view["email"], "carrier": "?"}, mine
    over_http = shown_over_http(topic, PARTNER)[0]
    assert over_http["due"] == "2026-11-01" and "price" not in over_http and over_http["email"] == view["email"], over_http


def protobuf_products_are_read_as_messages_of_the_readers_own():
    from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext
    topic = "acme-proto-" + uuid.uuid4().hex[:8]
    indented = PROTOBUF_EVENT.replace("\n", "\n        ")
    text = CONTRACT % {"id": topic, "format": "protobuf", "due": "timestamp"}
    apply(text + "      protobufMessage: acme.sales.Shipped\n      protobufSchema: |\n        %s\n" % indented,
          PRODUCT % {"id": topic})
    registry(OWNER).register_schema(topic + "-value", schema(PROTOBUF_EVENT, "PROTOBUF"))

    def shipped(file):
        file.dependency.append("google/protobuf/timestamp.proto")
        file.message_type.add(name="Unused")
        message = file.message_type.add(name="Shipped")
        add_field(message, "id", 1, "STRING")
        add_field(message, "email", 2, "STRING")
        message.oneof_decl.add(name="_email")
        message.field[-1].oneof_index, message.field[-1].proto3_optional = 0, True
        add_field(message, "price", 3, "DOUBLE")
        add_field(message, "due", 4, "MESSAGE", ".google.protobuf.Timestamp")
        add_field(message, "lines", 5, "MESSAGE", ".acme.sales.Shipped.Line", repeated=True)
        add_field(message, "labels", 6, "MESSAGE", ".acme.sales.Shipped.LabelsEntry", repeated=True)
        line = message.nested_type.add(name="Line")
        add_field(line, "sku", 1, "STRING")
        add_field(line, "qty", 2, "INT64")
        entry = message.nested_type.add(name="LabelsEntry")
        entry.options.map_entry = True
        add_field(entry, "key", 1, "STRING")
        add_field(entry, "value", 2, "STRING")

    Shipped = protobuf_class("shipped.proto", shipped)["Shipped"]
    context = SerializationContext(topic, MessageField.VALUE)
    sent = Shipped(id="S-1", email="anna@example.org", price=12.5, lines=[{"sku": "X", "qty": 47}],
                   labels={"color": "red", "anna": "vip"})
    sent.due.seconds = 1795225600
    conf = {"use.deprecated.format": False}
    settings = {"auto.register.schemas": False, "use.latest.version": True, **conf}
    written = ProtobufSerializer(Shipped, registry(OWNER), settings)(sent, context)
    assert sent_and_received(topic, [written], OWNER) == written, "the owner gets the bytes that were sent"
    shown = sent_and_received(topic, [written], PARTNER)
    assert int.from_bytes(shown[1:5], "big") >= FIRST_VIEW_ID
    assert b"anna" not in shown and b"vip" not in shown, shown
    view = ProtobufDeserializer(Shipped, conf, registry(PARTNER))(shown, context)
    assert view.email.startswith("p-") and view.price == 0 and dict(view.labels) == {"color": "red"}, view
    assert view.id == "S-1" and [(one.sku, one.qty) for one in view.lines] == [("X", 40)], view
    assert view.due.ToJsonString() == "2026-11-01T00:00:00Z", view
    over_http = shown_over_http(topic, PARTNER)[0]
    assert over_http["lines"] == [{"sku": "X", "qty": 40}] and "price" not in over_http, over_http


def producers_of_earlier_versions_go_on_and_everybody_reads_them():
    import datetime
    import decimal
    from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext
    topic = "acme-moves-" + uuid.uuid4().hex[:8]
    context = SerializationContext(topic, MessageField.VALUE)

    def contract(version, event, more, notice=""):
        text = (CONTRACT % {"id": topic, "format": "avro", "due": "date"}).replace("version: 1.0.0", "version: " + version)
        text = text.replace("    properties:\n", "    properties:\n" + more, 1)
        return text + "      avroSchema: '%s'\n" % json.dumps(event) + notice

    def event(number, **more):
        return {"id": "S-%d" % number, "email": None, "price": decimal.Decimal("1.00"), "due": datetime.date(2026, 11, 21),
                "lines": [], "labels": {}, **more}

    apply(contract("1.0.0", AVRO_EVENT, ""), PRODUCT % {"id": topic})
    first = AvroSerializer(registry(OWNER), json.dumps(AVRO_EVENT))
    assert not sent(topic, [first(event(1), context)])
    # A minor version more: what is added must be there, and has a default in the schema.
    carrier = {"name": "carrier", "type": "string", "default": "?"}
    minor = dict(AVRO_EVENT, fields=AVRO_EVENT["fields"] + [carrier])
    named = "      - {name: carrier, logicalType: string, required: true, classification: public}\n"
    apply(contract("1.1.0", minor, named))
    second = AvroSerializer(registry(OWNER), json.dumps(minor))
    values = [first(event(2), context), second(event(3, carrier="N"), context)]
    assert not sent(topic, values), "a producer that lags behind is taken"
    read = AvroDeserializer(registry(PARTNER), json.dumps(minor))
    shown = [read(value, context) for value in received(topic, PARTNER, 3)]
    assert [(one["id"], one["carrier"]) for one in shown] == [("S-1", "?"), ("S-2", "?"), ("S-3", "N")], shown
    # Another major version: the id is a number, and nothing says which of an earlier one.
    fields = [{"name": "serial", "type": "long"}] + minor["fields"]
    major = dict(minor, fields=fields)
    more = named + "      - {name: serial, logicalType: integer, required: true, classification: public}\n"
    apply(contract("2.0.0", major, more, "      evolution: {notice: P30D}\n"))
    owner = registry(OWNER)
    owner.set_compatibility(topic + "-value", "NONE")
    third = AvroSerializer(owner, json.dumps(major))
    assert not sent(topic, [second(event(4, carrier="M"), context), third(event(5, serial=7, carrier="L"), context)])
    shown = [read(value, context) for value in received(topic, PARTNER, 5)]
    assert [(one["id"], one["carrier"]) for one in shown][3:] == [("S-4", "M"), ("S-5", "L")], shown
    unknown = dict(minor, fields=minor["fields"] + [{"name": "x", "type": "int"}])
    refused_now = sent(topic, [AvroSerializer(owner, json.dumps(unknown))(event(6, x=1, carrier="K"), context)])
    assert refused_now and "INVALID_RECORD" in refused_now[0].name(), refused_now


def contracts_import_what_serializers_register():
    from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext
    topic = "acme-parcel-" + uuid.uuid4().hex[:8]
    address_file = topic + "/address.proto"

    def address(file):
        file.package = "common"
        message = file.message_type.add(name="Address")
        add_field(message, "city", 1, "STRING")
        add_field(message, "street", 2, "STRING")

    def parcel(file):
        file.dependency.append(address_file)
        message = file.message_type.add(name="Parcel")
        add_field(message, "id", 1, "STRING")
        add_field(message, "to", 2, "MESSAGE", ".common.Address")

    Parcel = protobuf_class(topic + "/parcel.proto", parcel, (address_file, address))["Parcel"]
    client, context = registry(OWNER), SerializationContext(topic, MessageField.VALUE)
    conf = {"use.deprecated.format": False}
    value = Parcel(id="P-1")
    value.to.city, value.to.street = "Oslo", "Gate 1"
    # The serializer registers both files; the contract takes the one that the other imports from there.
    written = ProtobufSerializer(Parcel, client, conf)(value, context)
    kept = client.get_latest_version(topic + "-value").schema
    [reference] = kept.references
    text = """
apiVersion: v3.1.0
kind: DataContract
id: %(id)s
tenant: acme
version: 1.0.0
status: active
schema:
  - name: parcel
    properties:
      - {name: id, logicalType: string, required: true, classification: public}
      - name: to
        logicalType: object
        properties:
          - {name: city, logicalType: string, classification: public}
          - {name: street, logicalType: string, classification: confidential}
customProperties:
  - property: tradelane
    value:
      format: protobuf
      protobufMessage: acme.sales.Parcel
      references: [{name: %(name)s, subject: %(subject)s, version: %(version)d}]
      protobufSchema: |
        %(schema)s
""" % {"id": topic, "name": reference.name, "subject": reference.subject, "version": reference.version,
       "schema": kept.schema_str.replace("\n", "\n        ")}
    product = (PRODUCT % {"id": topic}).partition("    classes:")[0].replace("  view:\n", "")
    apply(text, product)
    assert sent_and_received(topic, [written], OWNER) == written
    shown = sent_and_received(topic, [written], PARTNER)
    view = ProtobufDeserializer(Parcel, conf, registry(PARTNER))(shown, context)
    assert (view.id, view.to.city, view.to.street) == ("P-1", "Oslo", ""), view
    text = registry(PARTNER).get_schema(int.from_bytes(shown[1:5], "big")).schema_str
    assert "import" not in text and "message Address" in text, text


TESTS = [schemas_are_registered_found_and_deleted, avro_serializers_resolve_references_and_other_versions,
         protobuf_serializers_register_what_they_import_and_say_which_message, directions_of_compatibility_are_kept, references_are_resolved, compatibility_is_kept_and_told,
         a_stranger_finds_nothing, serializers_of_both_sides_understand_each_other,
         avro_products_are_read_in_the_schema_of_the_view_and_in_the_readers_own,
         protobuf_products_are_read_as_messages_of_the_readers_own,
         producers_of_earlier_versions_go_on_and_everybody_reads_them, contracts_import_what_serializers_register]


def is_installed(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # The package that it is in is not there.
        return False


def main():
    missing = [name for name in ("confluent_kafka", "httpx", "authlib", "jsonschema", "pyrsistent", "orjson", "fastavro",
                                "google.protobuf", "google.type")
               if not is_installed(name)]
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
