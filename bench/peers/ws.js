// Node's `ws` at its plainest: what is POSTed to /pub goes to every socket.
'use strict';

const http = require('http');
const {WebSocketServer, WebSocket} = require('ws');

const server = http.createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const message = Buffer.concat(parts);
    for (const client of sockets.clients) {
      if (client.readyState === WebSocket.OPEN) client.send(message, {binary: false});
    }
    response.writeHead(204).end();
  });
});
const sockets = new WebSocketServer({server, path: '/sub', perMessageDeflate: false});
server.keepAliveTimeout = 0;
server.listen({port: Number(process.env.PORT), host: '127.0.0.1', backlog: 4096});
