import type { Socket } from "node:net";

/** A body on its way from a socket to whoever reads it: pushed on one side, pulled on the other. */
export interface Channel {
  /** Takes a piece of the body; dropped once the body is over or its reader has left. */
  push(piece: Uint8Array): void;
  /** Ends the body. */
  end(): void;
  /** Breaks the body off: the reader gets the error instead of an end. */
  fail(error: Error): void;
  /** The body; it can be read once. */
  readonly body: AsyncIterable<Uint8Array>;
}

/** Names the method with which a reader gives a piece back. */
export const GIVE_BACK: unique symbol = Symbol("give back");

/** Reads a body. */
export interface PieceSource extends AsyncIterator<Uint8Array> {
  /**
   * Takes a piece back that its reader needs no more, and frees its memory. Garbage collection lags far behind a large
   * body: without this it takes three times the memory on Deno.
   */
  [GIVE_BACK]?(piece: Uint8Array): void;
}

/** How many bytes may wait for the reader before the socket is paused. */
const HIGH_WATER = 64 * 1024;

/**
 * Creates a channel. While the reader is slow the socket is paused, so that its sender slows down too.
 *
 * @param socket Where the body comes from.
 * @param onPull Called once, when somebody begins to read.
 * @param onLeave Called when the reader stops before the end.
 */
export function createChannel(socket: Socket, onPull: () => void, onLeave: () => void): Channel {
  const pieces: Uint8Array[] = [];
  let waiting = 0;
  let paused = false;
  let pulled = false;
  let over = false;
  let failure: Error | undefined;
  let reader:
    | { resolve(result: IteratorResult<Uint8Array>): void; reject(error: Error): void }
    | undefined;

  function settle(): void {
    if (reader === undefined) return;
    const { resolve, reject } = reader;
    const piece = pieces.shift();
    if (piece === undefined && !over) return;
    reader = undefined;
    if (piece !== undefined) resolve({ done: false, value: piece });
    else if (failure === undefined) resolve({ done: true, value: undefined });
    else reject(failure);
  }

  function resume(): void {
    if (!paused) return;
    paused = false;
    socket.resume();
  }

  function next(): Promise<IteratorResult<Uint8Array>> {
    if (!pulled) {
      pulled = true;
      onPull();
    }
    const piece = pieces.shift();
    if (piece !== undefined) {
      waiting -= piece.length;
      if (waiting < HIGH_WATER / 2) resume();
      return Promise.resolve({ done: false, value: piece });
    }
    if (over) return failure === undefined ? Promise.resolve(END) : Promise.reject(failure);
    resume();
    return new Promise((resolve, reject) => {
      reader = { resolve, reject };
    });
  }

  return {
    push: (piece) => {
      if (over) return;
      pieces.push(piece);
      if (reader !== undefined) {
        settle();
        return;
      }
      waiting += piece.length;
      if (waiting >= HIGH_WATER && !paused) {
        paused = true;
        socket.pause();
      }
    },
    end: () => {
      if (over) return;
      over = true;
      // What comes now belongs to the next message and is somebody else's to bound.
      resume();
      settle();
    },
    fail: (error) => {
      if (over) return;
      over = true;
      failure = error;
      // As at an end; and whoever reads on what had come by then has no say in the connection any more.
      resume();
      settle();
    },
    body: {
      [Symbol.asyncIterator]: (): PieceSource => ({
        next,
        [GIVE_BACK]: free,
        return: () => {
          pieces.length = 0;
          if (!over) {
            over = true;
            // A paused socket would not tell that its peer is gone; what still comes is dropped.
            resume();
            settle();
            onLeave();
          }
          return Promise.resolve(END);
        },
      }),
    },
  };
}

const END: IteratorReturnResult<undefined> = { done: true, value: undefined };

// Node 20 does not have it, and the types not yet.
const { transfer } = ArrayBuffer.prototype as { transfer?(length: number): ArrayBuffer };

/** Frees the memory of a piece that shares it with no other. */
function free({ byteLength, buffer }: Uint8Array): void {
  if (byteLength === buffer.byteLength && buffer instanceof ArrayBuffer) transfer?.call(buffer, 0);
}
