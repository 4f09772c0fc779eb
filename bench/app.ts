// An app that answers every request without a body at once with 1 KiB: what a proxy adds to it is what is measured.
import { createServer } from "node:net";

const body = "x".repeat(1024);
const answer = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

const server = createServer({ noDelay: true }, (socket) => {
  let tail = "";
  socket.on("error", () => {});
  socket.on("data", (bytes: Buffer) => {
    const heads = (tail + bytes.toString("latin1")).split("\r\n\r\n");
    tail = heads.pop() ?? "";
    if (heads.length > 0) socket.write(answer.repeat(heads.length));
  });
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
  const address = server.address();
  if (address !== null && typeof address === "object") process.stdout.write(`${address.port}\n`);
});
