// Kafka clients for Node.js, unchanged, against a running hub: tools/with-hub.py starts one.
//
// Each publishes as Acme's desk and reads as a partner, who sees its view and nothing else.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { Consumer, Producer, stringDeserializers, stringSerializers } from '@platformatic/kafka';
import kafkajs from 'kafkajs';

const { HUB_KAFKA, HUB_CA, HUB_KEY_ACME_DESK: OWNER, HUB_KEY_CORNER_DESK: PARTNER } = process.env;
const TOPIC = 'acme-stock';
const HIDDEN = 'northline-cold-chain';
const ca = [readFileSync(HUB_CA, 'utf8')];
const EVENT = JSON.parse(
  readFileSync(new URL('../../../examples/json/acme-stock.ndjson', import.meta.url), 'utf8').split('\n')[0],
);

const stock = (onHand) => JSON.stringify({ ...EVENT, onHand, reserved: 0, available: onHand });

// As the grant says: stock on hand in steps of a hundred.
const isMasked = (value) => assert.equal(JSON.parse(value).onHand % 100, 0);

const js = (key) =>
  new kafkajs.Kafka({
    brokers: [HUB_KAFKA],
    ssl: { ca },
    sasl: { mechanism: 'scram-sha-512', username: key.split('_')[1], password: key },
    logLevel: kafkajs.logLevel.ERROR,
  });

test('kafkajs publishes, and a group of two reads the view', { timeout: 120_000 }, async () => {
  const producer = js(OWNER).producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const messages = Array.from({ length: 20 }, (_, n) => ({ key: `k${n}`, value: stock(500 + n), headers: { n: `${n}` } }));
  const [{ baseOffset }] = await producer.send({ topic: TOPIC, messages });
  await producer.disconnect();
  const last = Number(baseOffset) + 19;
  const groupId = `js-${randomUUID()}`;
  const seen = new Set();
  let done;
  const all = new Promise((resolve) => (done = resolve));
  const members = [];
  for (let n = 0; n < 2; n++) {
    const consumer = js(PARTNER).consumer({ groupId, sessionTimeout: 10_000 });
    members.push(consumer);
    await consumer.connect();
    await consumer.subscribe({ topic: TOPIC, fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ message }) => {
        isMasked(message.value);
        seen.add(message.offset);
        if (Number(message.offset) === last) done();
      },
    });
  }
  await all;
  await Promise.all(members.map((member) => member.disconnect()));
  assert.ok(seen.size >= 20);
});

test('kafkajs sees granted topics only', { timeout: 60_000 }, async () => {
  const admin = js(PARTNER).admin();
  await admin.connect();
  const topics = await admin.listTopics();
  assert.ok(topics.includes(TOPIC) && !topics.includes(HIDDEN), topics.join());
  await assert.rejects(admin.fetchTopicMetadata({ topics: [HIDDEN] }));
  await admin.disconnect();
});

const platformatic = (key) => ({
  clientId: 'platformatic',
  bootstrapBrokers: [HUB_KAFKA],
  tls: { ca },
  sasl: { mechanism: 'PLAIN', username: 'anyone', password: key },
});

test('@platformatic/kafka publishes', { timeout: 60_000 }, async () => {
  const producer = new Producer({ ...platformatic(OWNER), serializers: stringSerializers });
  const sent = await producer.send({ messages: [{ topic: TOPIC, key: 'k', value: stock(700) }], acks: -1 });
  assert.ok(sent.offsets[0].offset >= 0n);
  await producer.close();
});

test('@platformatic/kafka reads the view', { timeout: 60_000 }, async () => {
  const consumer = new Consumer({
    ...platformatic(PARTNER),
    groupId: `pk-${randomUUID()}`,
    deserializers: stringDeserializers,
  });
  const stream = await consumer.consume({ topics: [TOPIC], mode: 'earliest', sessionTimeout: 10_000, maxWaitTime: 500 });
  let count = 0;
  for await (const message of stream) {
    isMasked(message.value);
    if (++count === 5) break;
  }
  await consumer.close(true);
});
