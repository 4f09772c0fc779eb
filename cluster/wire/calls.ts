/** Calls to the other end of a wire whose answers are still to come. */
export interface Calls {
  /**
   * Makes a call and resolves to what it is answered with.
   *
   * @param send Sends it with a number, which its answer has too.
   * @throws {Error} When the answer says so, when none comes in time, or when the other end is gone.
   */
  make(send: (id: number) => void): Promise<unknown>;
  /** Takes the answer to a call. */
  answer(id: number, answer: { readonly result?: unknown; readonly error?: string }): void;
  /** Fails every call, now and from here on: the other end is gone. */
  end(): void;
}

/** A call whose answer is awaited. */
interface Call {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/**
 * Creates a set without calls.
 *
 * @param name What the other end is called.
 * @param timeout How long an answer may take, in milliseconds.
 */
export function createCalls(name: string, timeout: number): Calls {
  const waiting = new Map<number, Call>();
  let last = 0;
  let isOpen = true;
  const gone = (): Error => new Error(`Cannot reach ${name}: it is gone`);

  function take(id: number): Call | undefined {
    const call = waiting.get(id);
    waiting.delete(id);
    return call;
  }

  return {
    async make(send) {
      if (!isOpen) {
        throw gone();
      }
      last += 1;
      const id = last;
      const timer = setTimeout(() => {
        take(id)?.reject(new Error(`Cannot reach ${name}: it does not answer`));
      }, timeout);
      try {
        return await new Promise((resolve, reject) => {
          waiting.set(id, { resolve, reject });
          send(id);
        });
      } finally {
        clearTimeout(timer);
      }
    },
    answer(id, { result, error }) {
      const call = take(id);
      if (error === undefined) {
        call?.resolve(result);
        return;
      }
      call?.reject(new Error(`${name}: ${error}`));
    },
    end() {
      isOpen = false;
      for (const id of waiting.keys()) {
        take(id)?.reject(gone());
      }
    },
  };
}
