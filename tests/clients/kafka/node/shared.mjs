// What the drivers for Node have in common: settings in, lines of JSON in and out, an end.

import { createInterface } from 'node:readline'
import { readFileSync } from 'node:fs'

export const settings = JSON.parse(process.env.SETTINGS)
export const ca = readFileSync(settings.ca)
export const say = what => process.stdout.write(JSON.stringify(what) + '\n')

export async function lines () {
  const all = []
  for await (const line of createInterface({ input: process.stdin })) all.push(JSON.parse(line))
  return all
}

export function ended () {
  return new Promise(resolve => process.stdin.on('end', resolve).on('error', resolve).resume())
}
