// How the peers talk with the tests: JSON lines out, base64 lines in.
'use strict'
const readline = require('readline')

exports.say = value => process.stdout.write(JSON.stringify(value) + '\n')

exports.messages = async function * () {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    yield Buffer.from(line, 'base64').toString('utf-8')
  }
}

exports.tlsOf = files => {
  const { readFileSync } = require('fs')
  if (files.length === 0) return undefined
  const [ca, cert, key] = files.map(file => readFileSync(file))
  return { ca, cert, key }
}
