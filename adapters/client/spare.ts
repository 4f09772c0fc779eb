/** How much of a body is kept, in bytes: as much as the proxy keeps of one for a replay. */
const MOST = 2 ** 20;

/** A copy of a body, for the case that it must be sent once more. */
export interface Spare {
  /** Returns the whole body; undefined: it is too large, or has broken off. */
  read(): Promise<Blob | undefined>;
  /** Lets go of it, so that whoever makes the body learns when nobody else reads it either. */
  drop(): void;
}

/**
 * Keeps a copy of a request's body while that is sent. What is larger than is kept goes on without a copy, for it may be a
 * stream that fits into no memory.
 *
 * The request's own stream is not looked at: Deno would send it in chunks from then on, and what has no length cannot be
 * replayed.
 *
 * @param request The request, whose body nobody has read yet.
 * @returns The copy, or undefined when there is no body.
 */
export function keepBody(request: Request): Spare | undefined {
  const reader = request.clone().body?.getReader();
  if (reader === undefined) return undefined;
  // The other reader of the body may be long at it yet.
  const drop = (): void => void reader.cancel().catch(() => {});
  const whole = collect(reader, drop).catch(() => undefined);
  return { read: () => whole, drop };
}

async function collect(
  reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>,
  drop: () => void,
): Promise<Blob | undefined> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return new Blob(chunks);
    size += value.byteLength;
    if (size > MOST) {
      drop();
      return undefined;
    }
    chunks.push(value);
  }
}
