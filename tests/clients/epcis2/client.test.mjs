// The EPCIS 2.0 client library epcis2.js, unchanged, against a running hub: tools/with-hub.py starts one.
//
// What the library builds must be accepted and come back; what it computes must be what the hub computes; what it is not
// allowed to do must be refused.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, test } from 'node:test';

import epcis from 'epcis2.js';

const { capture, EPCISDocument, objectToEvent, setup } = epcis;
const { HUB_URL, HUB_KEY_ACME_DESK, HUB_KEY_MEDIDIS_DESK, HUB_KEY_CORNER_DESK } = process.env;
const PRODUCT = 'acme-shipments';
const BASE = `${HUB_URL}/epcis/${PRODUCT}`;
const EXAMPLE = JSON.parse(readFileSync(new URL('../../../examples/epcis/acme-shipments.json', import.meta.url)));

const as = (key) => ({ authorization: `Bearer ${key}` });

before(() => {
  assert.ok(HUB_URL, 'run through tools/with-hub.py');
  setup({
    apiUrl: BASE,
    headers: {
      'content-type': 'application/json',
      'gs1-epcis-version': '2.0.0',
      'gs1-cbv-version': '2.0.0',
      ...as(HUB_KEY_ACME_DESK),
    },
  });
});

// A document of the library's own making around one of the example's events, under another identity.
function document(eventID, change = {}) {
  const made = new EPCISDocument();
  made.setContext(EXAMPLE['@context']);
  made.setCreationDate('2026-11-19T09:00:00.000Z');
  const event = structuredClone(EXAMPLE.epcisBody.eventList[0]);
  made.addEvent(objectToEvent({ ...event, eventID, ...change }));
  return made;
}

const events = async (key, query) => {
  const response = await fetch(`${BASE}/events?${new URLSearchParams(query)}`, { headers: as(key) });
  return { status: response.status, body: await response.json() };
};

async function finished(location) {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const response = await fetch(new URL(location, HUB_URL), { headers: as(HUB_KEY_ACME_DESK) });
    assert.equal(response.status, 200);
    const job = await response.json();
    if (!job.running) return job;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('the capture job does not end');
}

test('a document built by the library is captured and found by a query', async () => {
  const eventID = 'urn:uuid:6b1e7a40-52c1-4d0e-9f11-0000000c0001';
  const response = await capture(document(eventID));
  assert.equal(response.status, 202);
  const job = await finished(response.headers.get('location'));
  assert.equal(job.success, true, JSON.stringify(job));
  const exact = await events(HUB_KEY_ACME_DESK, { EQ_eventID: eventID });
  assert.equal(exact.status, 200, JSON.stringify(exact.body));
  const list = exact.body.epcisBody.queryResults.resultsBody.eventList;
  assert.deepEqual(list.map((event) => event.eventID), [eventID]);
  const unknown = await events(HUB_KEY_ACME_DESK, { NO_such: eventID });
  assert.equal(unknown.status, 400, 'a parameter that the standard does not know is refused');
});

test('the same document captured again is refused as a duplicate', async () => {
  const eventID = 'urn:uuid:6b1e7a40-52c1-4d0e-9f11-0000000c0002';
  await finished((await capture(document(eventID))).headers.get('location'));
  const again = await finished((await capture(document(eventID))).headers.get('location'));
  assert.equal(again.success, false);
  assert.ok(again.errors.length > 0);
});

test('a document that the library would not send is refused with its place', async () => {
  const eventID = 'urn:uuid:6b1e7a40-52c1-4d0e-9f11-0000000c0003';
  const broken = document(eventID, { action: 'BORROW' });
  assert.throws(() => broken.isValid());
  const response = await capture(broken, { documentValidation: false });
  const problem = response.status === 202 ? (await finished(response.headers.get('location'))).errors : await response.json();
  assert.match(JSON.stringify(problem), /action/);
});

test('a reader may not capture', async () => {
  const eventID = 'urn:uuid:6b1e7a40-52c1-4d0e-9f11-0000000c0004';
  const response = await capture(document(eventID), { headers: as(HUB_KEY_CORNER_DESK) });
  assert.ok([403, 404].includes(response.status), `${response.status}`);
});

test('a reader gets the same events through its own view', async () => {
  const eventID = 'urn:uuid:6b1e7a40-52c1-4d0e-9f11-0000000c0005';
  await finished((await capture(document(eventID))).headers.get('location'));
  const seen = await events(HUB_KEY_MEDIDIS_DESK, { EQ_eventID: eventID });
  assert.equal(seen.status, 200, JSON.stringify(seen.body));
  const [event] = seen.body.epcisBody.queryResults.resultsBody.eventList;
  assert.equal(event.eventID, eventID);
  const original = EXAMPLE.epcisBody.eventList[0];
  assert.notDeepEqual(event['acme:shipTo'], original['acme:shipTo'], 'persons are not shown as they are');
});
