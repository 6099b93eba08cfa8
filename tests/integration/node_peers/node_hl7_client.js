// node-hl7-client as a sender: node node_hl7_client.js PORT [CA CERT KEY]
// Reads messages from standard input, base64, one a line; prints each answer.
'use strict'
const { Client, Message } = require('node-hl7-client')
const { say, messages, tlsOf } = require('./lines.js')

async function main ([port, ...files]) {
  const tls = tlsOf(files)
  const client = new Client({ host: '127.0.0.1', ...(tls && { tls: { ...tls, servername: 'localhost' } }) })
  let answered
  const connection = client.createConnection({ port: Number(port) }, response => {
    say({ ack: response.getMessage().toString() })
    answered()
  })
  connection.on('client.error', error => say({ error: String(error) }))
  await new Promise(resolve => connection.once('connect', resolve))
  for await (const text of messages()) {
    const answer = new Promise(resolve => { answered = resolve })
    await connection.sendMessage(new Message({ text }))
    await answer
  }
  await connection.close()
  process.exit(0)
}

main(process.argv.slice(2))
