// kafkajs, driven as README.md says. It knows gzip; other codecs come from packages beside it.

import kafkajs from 'kafkajs'
import SnappyCodec from 'kafkajs-snappy'
import { compressFrame, decompressFrame } from 'lz4-napi'
import * as zstd from '@bokuweb/zstd-wasm'
import { ca, ended, lines, say, settings } from './shared.mjs'

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs
CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => compressFrame(encoder.buffer),
  decompress: buffer => decompressFrame(buffer)
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer))
})

const mechanism = settings.mechanism.toLowerCase()
const sasl = mechanism === 'oauthbearer'
  ? { mechanism, oauthBearerProvider: async () => ({ value: settings.token }) }
  : { mechanism, username: settings.user, password: settings.password }
const kafka = new Kafka({
  brokers: [settings.bootstrap], ssl: { ca: [ca] }, sasl, logLevel: logLevel.NOTHING, connectionTimeout: 10000,
  retry: { initialRetryTime: 200, maxRetryTime: 1000, retries: 30 }
})
const failure = error => {
  const cause = error.cause ?? error
  return { error: cause.type ?? cause.name, message: `${error.name}: ${error.message}` }
}

async function produce () {
  await zstd.init()
  const compression = CompressionTypes[{ snappy: 'Snappy', gzip: 'GZIP', lz4: 'LZ4', zstd: 'ZSTD' }[settings.codec] ?? 'None']
  const { transaction } = settings
  const producer = kafka.producer({
    idempotent: transaction !== undefined || settings.codec === 'none', retry: { retries: 8 },
    ...(transaction ? { transactionalId: transaction.id, maxInFlightRequests: 1 } : {})
  })
  const all = await lines()
  let sender = producer
  try {
    await producer.connect()
    if (transaction) sender = await producer.transaction()
  } catch (error) {
    all.forEach(() => say(failure(error)))
    return
  }
  // It says only where each partition's batch begins: the records of each partition go out in one request.
  const partitions = new Map()
  all.forEach((one, index) => {
    const partition = one.partition ?? index % (settings.partitions ?? 1)
    partitions.set(partition, [...partitions.get(partition) ?? [], { index, ...one, partition }])
  })
  const told = []
  for (const [partition, messages] of partitions) {
    try {
      const [at] = await sender.send({ topic: settings.topic, compression, messages })
      messages.forEach((one, place) => { told[one.index] = { partition, offset: Number(at.baseOffset) + place } })
    } catch (error) {
      messages.forEach(one => { told[one.index] = failure(error) })
    }
  }
  if (transaction) await end(sender, transaction)
  told.forEach(say)
  await producer.disconnect()
}

async function end (sender, { group, offsets, end }) {
  if (group) {
    const partitions = Object.entries(offsets).map(([partition, offset]) => ({ partition: Number(partition), offset: String(offset) }))
    await sender.sendOffsets({ consumerGroupId: group, topics: [{ topic: settings.topic, partitions }] })
  }
  await (end === 'commit' ? sender.commit() : sender.abort())
}

async function consume () {
  await zstd.init()
  const consumer = kafka.consumer({
    readUncommitted: settings.isolation === 'read_uncommitted',
    groupId: settings.group, sessionTimeout: 6000, heartbeatInterval: 1000, rebalanceTimeout: 10000, maxWaitTimeInMs: 500,
    maxBytesPerPartition: 4000000, retry: { retries: 30, initialRetryTime: 200, maxRetryTime: 1000, restartOnFailure: async () => true }
  })
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => say({ held: payload.memberAssignment[settings.topic] ?? [] }))
  consumer.on(consumer.events.CRASH, ({ payload }) => say(failure(payload.error)))
  await consumer.connect()
  await consumer.subscribe({ topic: settings.topic, fromBeginning: true })
  await consumer.run({
    autoCommitInterval: 500,
    eachMessage: async ({ partition, message }) => {
      const headers = Object.fromEntries(Object.entries(message.headers ?? {}).map(([name, value]) => [name, value.toString()]))
      say({ partition, offset: Number(message.offset), key: message.key?.toString() ?? null, value: message.value.toString(), headers })
    }
  })
  await ended()
  await consumer.disconnect()
}

await (process.argv[2] === 'produce' ? produce() : consume())
process.exit(0)
