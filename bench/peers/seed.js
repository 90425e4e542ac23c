// The design that this project grew from, as it describes itself: a row-level trigger notifies
// json_build_object(table, action, key, time); this listens, waits 100 ms of quiet for each key by
// a timer that every change restarts, reads the key by one SELECT, and sends to each client.
'use strict';

const http = require('http');
const {Client} = require('pg');
const {WebSocketServer, WebSocket} = require('ws');

const DEBOUNCE = 100;
const url = process.env.DATABASE_URL;
const table = process.env.TABLE;

const server = http.createServer((request, response) => response.writeHead(204).end());
const sockets = new WebSocketServer({server, path: '/sub', perMessageDeflate: false});
const timers = new Map();
let queries = 0;

async function main() {
  const listener = new Client({connectionString: url});
  const reader = new Client({connectionString: url});
  await listener.connect();
  await reader.connect();
  listener.on('notification', ({payload}) => {
    const {key} = JSON.parse(payload);
    clearTimeout(timers.get(key));
    timers.set(key, setTimeout(() => reload(reader, key), DEBOUNCE));
  });
  await listener.query('LISTEN seed');
  server.listen({port: Number(process.env.PORT), host: '127.0.0.1', backlog: 4096});
}

async function reload(reader, key) {
  timers.delete(key);
  queries += 1;
  const {rows} = await reader.query(`SELECT * FROM ${table} WHERE id = $1`, [key]);
  const message = JSON.stringify({table, key, row: rows[0] ?? null, queries});
  for (const client of sockets.clients) {
    if (client.readyState === WebSocket.OPEN) client.send(message);
  }
}

main();
