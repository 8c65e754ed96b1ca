// @platformatic/kafka, driven as README.md says.

import { Consumer, Producer, stringDeserializers, stringSerializers } from '@platformatic/kafka'
import { ca, ended, lines, say, settings } from './shared.mjs'

const common = {
  clientId: 'tradelane-test', bootstrapBrokers: [settings.bootstrap], tls: { ca: [ca] }, retries: 20, retryDelay: 300,
  sasl: settings.mechanism === 'OAUTHBEARER'
    ? { mechanism: 'OAUTHBEARER', token: settings.token }
    : { mechanism: settings.mechanism, username: settings.user, password: settings.password }
}

function failure (error) {
  const causes = [error]
  for (const one of causes) causes.push(...(one.errors ?? []), ...(one.cause ? [one.cause] : []))
  const named = causes.find(one => one.apiId)
  return { error: named?.apiId ?? error.code ?? error.name, message: causes.map(one => one.message).join(' / ') }
}

async function produce () {
  const { transaction } = settings
  const more = transaction ? { idempotent: true, transactionalId: transaction.id } : { idempotent: false }
  const producer = new Producer({ ...common, retries: 10, serializers: stringSerializers, ...more })
  const all = await lines()
  let sender = producer
  try {
    if (transaction) sender = await producer.beginTransaction()
  } catch (error) {
    all.forEach(() => say(failure(error)))
    return
  }
  const partitions = new Map()
  all.forEach((one, index) => {
    const partition = one.partition ?? index % (settings.partitions ?? 1)
    partitions.set(partition, [...partitions.get(partition) ?? [], { index, ...one, partition }])
  })
  const told = []
  for (const [partition, messages] of partitions) {
    try {
      const sent = messages.map(({ key, value, headers }) => ({ topic: settings.topic, partition, key, value, headers }))
      const { offsets } = await sender.send({ messages: sent, compression: settings.codec ?? 'none', acks: -1 })
      messages.forEach((one, place) => { told[one.index] = { partition, offset: Number(offsets[0].offset) + place } })
    } catch (error) {
      messages.forEach(one => { told[one.index] = failure(error) })
    }
  }
  if (transaction) await (transaction.end === 'commit' ? sender.commit() : sender.abort())
  told.forEach(say)
  await producer.close()
}

async function consume () {
  const consumer = new Consumer({
    ...common, groupId: settings.group, deserializers: stringDeserializers, sessionTimeout: 6000, heartbeatInterval: 1000,
    isolationLevel: settings.isolation === 'read_uncommitted' ? 0 : 1, rebalanceTimeout: 10000, maxWaitTime: 500, autocommit: 500, maxBytes: 4000000
  })
  consumer.on('consumer:group:join', ({ assignments }) => say({ held: assignments?.flatMap(one => one.partitions) ?? [] }))
  consumer.on('client:error', error => say(failure(error)))
  let over = false
  const end = ended().then(() => { over = true })
  while (!over) {
    let stream
    try {
      stream = await consumer.consume({ topics: [settings.topic], mode: 'committed', fallbackMode: 'earliest' })
      const closing = end.then(() => stream.close())
      for await (const one of stream) {
        const headers = Object.fromEntries([...one.headers].map(([name, value]) => [name, value.toString()]))
        say({ partition: one.partition, offset: Number(one.offset), key: one.key ?? null, value: one.value, headers })
      }
      await closing
    } catch (error) {
      if (over) break
      say(failure(error))
      await stream?.close().catch(() => {})
      await new Promise(resolve => setTimeout(resolve, 500))
    }
  }
  await consumer.close(true)
}

await (process.argv[2] === 'produce' ? produce() : consume())
process.exit(0)
