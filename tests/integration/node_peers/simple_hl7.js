// simple-hl7 as a receiver or as a sender; it speaks plain TCP only.
//   node simple_hl7.js server            prints {"port": N}, then a line for each message
//   node simple_hl7.js client PORT       reads messages from standard input, base64, one a line; prints each answer
'use strict'
const hl7 = require('simple-hl7')
const { say, messages } = require('./lines.js')

function serve () {
  const app = hl7.tcp()
  app.use((req, res, next) => {
    say({ control_id: req.msg.header.getField(8), body: req.raw })
    res.end()
  })
  app.start(0)
  const server = app.server.server
  server.on('listening', () => say({ port: server.address().port }))
}

async function send (port) {
  const client = hl7.Server.createTcpClient({ host: '127.0.0.1', port: Number(port), keepalive: true, callback () {} })
  const parser = new hl7.Parser({ segmentSeperator: '\r' })
  for await (const text of messages()) {
    await new Promise(resolve => {
      client.send(parser.parse(text), (error, ack) => {
        say(error ? { error: String(error) } : { ack: ack.toString() })
        resolve()
      })
    })
  }
  client.close()
}

const [mode, port] = process.argv.slice(2)
mode === 'server' ? serve() : send(port)
