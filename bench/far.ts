/**
 * A relay that makes a server be far away: it passes on every byte, both ways, so many milliseconds late. In a process of
 * its own, for an embedded replica that waits for an answer stops the event loop of the process that it is in. It ends
 * when its standard input does.
 *
 * @module
 */
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import process from "node:process";

const [, , port = "", delay = ""] = process.argv;

/** Passes on what comes, late. */
function pass(from: Socket, to: Socket): void {
  const late = (act: () => void): void => void setTimeout(act, Number(delay));
  from.on("data", (bytes) => late(() => to.write(bytes)));
  from.on("end", () => late(() => to.end()));
  from.on("error", () => late(() => to.destroy()));
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
  const far = connect({ port: Number(port), host: "127.0.0.1", allowHalfOpen: true });
  far.setNoDelay();
  pass(near, far);
  pass(far, near);
});
server.listen(0, "127.0.0.1", () => {
  // A server on TCP has no other kind of address.
  const { port: own } = server.address() as AddressInfo;
  process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${own}` })}\n`);
});
process.stdin.resume().once("close", () => process.exit(0));
