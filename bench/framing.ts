/** Takes what a connection brings, piece by piece, and tells how many answers have ended in it, and how many of them were bad. */
export type Framing = () => (piece: Buffer) => Ended;

/** What has ended in a piece. */
interface Ended {
  readonly answers: number;
  readonly errors: number;
}

const END_OF_HEAD = Buffer.from("\r\n\r\n");

const END_OF_CHUNKS = Buffer.from("0\r\n\r\n");

/** Finds the ends of HTTP answers that have a length, or whose chunks end with a piece. */
export const httpFraming: Framing = () => {
  let held = Buffer.alloc(0);
  let left = 0;
  let isChunked = false;
  let isError = false;
  return (piece) => {
    let answers = 0;
    let errors = 0;
    const end = (): void => {
      answers++;
      if (isError) errors++;
    };
    let rest = held.length > 0 ? Buffer.concat([held, piece]) : piece;
    held = Buffer.alloc(0);
    while (rest.length > 0) {
      if (isChunked) {
        const tail = rest.subarray(-END_OF_CHUNKS.length);
        if (tail.equals(END_OF_CHUNKS)) {
          isChunked = false;
          end();
        } else held = Buffer.from(tail);
        break;
      }
      if (left > 0) {
        const taken = Math.min(left, rest.length);
        left -= taken;
        rest = rest.subarray(taken);
        if (left === 0) end();
        continue;
      }
      const head = rest.indexOf(END_OF_HEAD);
      if (head === -1) {
        held = Buffer.from(rest);
        break;
      }
      const lines = rest.toString("latin1", 0, head);
      rest = rest.subarray(head + END_OF_HEAD.length);
      isError = !/^HTTP\/1\.1 [23]/.test(lines);
      isChunked = /\r\ntransfer-encoding: *chunked/i.test(lines);
      left = isChunked ? 0 : Number(/\r\ncontent-length: *(\d+)/i.exec(lines)?.[1] ?? 0);
      if (!isChunked && left === 0) end();
    }
    return { answers, errors };
  };
};

/** Counts answers that all have one length. */
export function fixedFraming(length: number): Framing {
  return () => {
    let have = 0;
    return (piece) => {
      have += piece.length;
      const answers = Math.floor(have / length);
      have -= answers * length;
      return { answers, errors: 0 };
    };
  };
}
