// httpxy as its documentation has it: `httpxy.ts PORT TARGET_PORT`
import { createServer } from "node:http";
import type { Socket } from "node:net";
import { createProxyServer } from "httpxy";

const [port, target] = process.argv.slice(2);
const proxy = createProxyServer({ target: `http://127.0.0.1:${target}`, ws: true, xfwd: true });
const server = createServer((request, response) => {
  proxy.web(request, response).catch(() => response.destroy());
});
server.on("upgrade", (request, socket, head) => {
  // An HTTP/1.1 server over TCP has no other sockets.
  proxy.ws(request, socket as Socket, {}, head).catch(() => socket.destroy());
});
server.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 });
