// node-hl7-server as a receiver: node node_hl7_server.js [CA CERT KEY]
// Prints {"port": N}, then a line for each message.
'use strict'
const { Server } = require('node-hl7-server')
const { say, tlsOf } = require('./lines.js')

const tls = tlsOf(process.argv.slice(2))
const server = new Server({ bindAddress: '127.0.0.1', ...(tls && { tls: { ...tls, requestCert: true } }) })
const inbound = server.createInbound({ port: 0 }, async (req, res) => {
  const message = req.getMessage()
  say({ control_id: message.get('MSH.10').toString(), body: message.toString() })
  await res.sendResponse('AA')
})
inbound.on('listen', () => say({ port: inbound._socket.address().port }))
inbound.on('data.error', error => say({ error: String(error) }))
inbound.on('client.error', error => say({ error: String(error) }))
