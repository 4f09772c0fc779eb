import { connect, type Socket } from "node:net";

/** How long a connection may take to open, in milliseconds. */
const PATIENCE = 5000;

/**
 * Connects, and sees what it sends first answered.
 *
 * @param opening What that is; a head alone answers it. Left out: nothing is sent.
 */
export function open(port: number, opening?: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    const fail = (): void => reject(new Error("The connection broke before it was open"));
    socket.once("error", reject);
    socket.once("close", fail);
    socket.setTimeout(PATIENCE, () => socket.destroy());
    const done = (): void => {
      socket.setTimeout(0);
      socket.off("close", fail);
      socket.off("error", reject);
      socket.on("error", () => {});
      resolve(socket);
    };
    socket.once("connect", () => {
      if (opening === undefined) return done();
      socket.write(opening);
      takeHead(socket, (head) => {
        if (/^HTTP\/1\.1 (?:101|2)/.test(head)) return done();
        socket.off("close", fail);
        socket.destroy();
        reject(new Error(head.slice(0, head.indexOf("\r\n"))));
      });
    });
  });
}

/** Takes the head of an answer from a socket, which stands still then; what has come behind it is the next reader's. */
function takeHead(socket: Socket, take: (head: string) => void): void {
  let text = "";
  const read = (piece: Buffer): void => {
    text += piece.toString("latin1");
    const end = text.indexOf("\r\n\r\n");
    if (end === -1) return;
    socket.off("data", read);
    socket.pause();
    const rest = text.slice(end + 4);
    if (rest !== "") socket.unshift(Buffer.from(rest, "latin1"));
    take(text);
  };
  socket.on("data", read);
}
