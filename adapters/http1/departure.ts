/**
 * What tells that a client has left. A signal of its own for each request would cost a third of the time that Node spends
 * on a small one, and an event listener on it a part of the rest: the first listener is called as a function, and once it
 * is done the next request of the connection has the same signal.
 */
export interface Departure {
  /** Aborts when the client leaves. */
  readonly signal: AbortSignal;
  /** Returns whether whoever has listened is done, and nobody else had to be given an event listener; and forgets it. */
  renew(): boolean;
  /** Tells that the client has left. */
  tell(): void;
}

/** What there is of a departure. */
interface State {
  /** Who is called. */
  listener: (() => void) | undefined;
  /** Whether it has been listened to, and is no longer. */
  isDone: boolean;
}

const states = new WeakMap<AbortSignal, State>();

/** Creates what tells that a client has left. */
export function createDeparture(): Departure {
  const controller = new AbortController();
  const { signal } = controller;
  const state: State = { listener: undefined, isDone: false };
  states.set(signal, state);
  return {
    signal,
    renew: () => {
      const { isDone } = state;
      state.isDone = false;
      return isDone;
    },
    tell: () => {
      state.listener?.();
      controller.abort();
    },
  };
}

/** Has a function called when a signal aborts, whoever has made the signal. */
export function listen(signal: AbortSignal, listener: () => void): void {
  const state = states.get(signal);
  if (state === undefined || state.listener !== undefined || state.isDone)
    signal.addEventListener("abort", listener);
  else state.listener = listener;
}

/** Has it no longer called. */
export function unlisten(signal: AbortSignal, listener: () => void): void {
  const state = states.get(signal);
  if (state?.listener !== listener) {
    signal.removeEventListener("abort", listener);
    return;
  }
  state.listener = undefined;
  state.isDone = true;
}
