import type { Clock } from "./clock.ts";
import { createHeap } from "./heap.ts";
import { isPromise } from "./maybe-promise.ts";
import type { Position, Primary, Storage } from "./storage.ts";

/** How a wait ended. */
export type WaitOutcome =
  /** The node has applied the position, or a primary is known. */
  | "reached"
  /** This node has become the primary, which never waits. */
  | "primary"
  /** Time is up. */
  | "timeout"
  /** Whoever waited is gone, or the proxy has closed. */
  | "aborted";

/** Requests that wait for one database: one watcher for all of them, whatever their number. */
export interface Waiters {
  /** Waits until this node has applied `target`, becomes the primary, or `timeout` milliseconds have passed. */
  forPosition(target: Position, timeout: number, signal: AbortSignal): Promise<WaitOutcome>;
  /** Waits until it is known who the primary is, or `timeout` milliseconds have passed. */
  forPrimary(timeout: number, signal: AbortSignal): Promise<WaitOutcome>;
  /** Returns how many requests are waiting. */
  size(): number;
  /** Ends all waits as aborted, now and from now on. */
  close(): void;
}

/** How often a storage that cannot notify is asked while somebody waits, in milliseconds. */
const POLL_INTERVAL = 1;

/** How often the role is asked while somebody waits, beside the notifications, in milliseconds. */
const ROLE_INTERVAL = 100;

interface Waiter {
  /** The position waited for; undefined when the wait is for a primary. */
  readonly target: Position | undefined;
  readonly deadline: number;
  /** When it came, in order of arrival. */
  readonly turn: number;
  done: boolean;
  settle(outcome: WaitOutcome): void;
}

/**
 * Creates the waiting room of one storage. The position is read at most once a millisecond while somebody waits and
 * never when nobody does; the waiters stand in a heap by position, so that one read wakes all whose time has come and
 * looks at no other.
 *
 * @param storage Where position and role come from.
 * @param clock The time.
 * @param onError Gets what the storage throws while it is watched; the waiters go on waiting.
 */
export function createWaiters(
  storage: Pick<Storage, "position" | "primary" | "subscribe">,
  clock: Clock,
  onError: (error: unknown) => void,
): Waiters {
  const byPosition = createHeap<Waiter>((a, b) => (a.target ?? "") < (b.target ?? ""));
  const byDeadline = createHeap<Waiter>((a, b) => a.deadline < b.deadline);
  const forRole = new Set<Waiter>();
  const interval = storage.subscribe === undefined ? POLL_INTERVAL : ROLE_INTERVAL;
  let waiting = 0;
  let turns = 0;
  let closed = false;
  let timer: unknown;
  let timerAt = Infinity;
  let unsubscribe: (() => void) | undefined;
  let lastRole = -Infinity;
  let looking = false;
  let lookAgain = false;

  function add(
    target: Position | undefined,
    timeout: number,
    signal: AbortSignal,
  ): Promise<WaitOutcome> {
    if (closed || signal.aborted) return Promise.resolve("aborted");
    return new Promise((resolve) => {
      const abort = (): void => finish(waiter, "aborted");
      const waiter: Waiter = {
        target,
        deadline: clock.now() + timeout,
        turn: turns++,
        done: false,
        settle: (outcome) => {
          signal.removeEventListener("abort", abort);
          resolve(outcome);
        },
      };
      signal.addEventListener("abort", abort, { once: true });
      waiting++;
      byDeadline.push(waiter);
      if (target === undefined) forRole.add(waiter);
      else byPosition.push(waiter);
      if (storage.subscribe !== undefined) unsubscribe ??= storage.subscribe(moved);
      // What moved between the caller's own look and the subscription would be missed without this one.
      void look(true);
    });
  }

  function finish(waiter: Waiter, outcome: WaitOutcome): void {
    if (waiter.done) return;
    waiter.done = true;
    waiting--;
    forRole.delete(waiter);
    byPosition.forget();
    byDeadline.forget();
    if (waiting === 0) rest();
    waiter.settle(outcome);
  }

  function rest(): void {
    clock.clearTimeout(timer);
    timer = undefined;
    timerAt = Infinity;
    unsubscribe?.();
    unsubscribe = undefined;
    byPosition.clear();
    byDeadline.clear();
  }

  function moved(): void {
    void look(true);
  }

  /** Sets the one timer to the next time at which anything can happen by itself. */
  function schedule(): void {
    if (waiting === 0) return;
    const now = clock.now();
    // While a look is under way there is nothing to be asked, but deadlines come.
    const poll = looking ? Infinity : interval;
    const at = Math.min(now + poll, byDeadline.peek()?.deadline ?? Infinity);
    if (timer !== undefined && timerAt <= at) return;
    clock.clearTimeout(timer);
    timerAt = at;
    timer = clock.setTimeout(
      () => {
        timer = undefined;
        timerAt = Infinity;
        void look(clock.now() - lastRole >= ROLE_INTERVAL);
      },
      Math.max(0, at - now),
    );
  }

  /** Looks once at what the waiters wait for; looks that are asked for meanwhile become one more look afterwards. */
  async function look(withRole: boolean): Promise<void> {
    if (looking) {
      lookAgain ||= withRole;
      expire();
      schedule();
      return;
    }
    looking = true;
    try {
      if (byPosition.peek() !== undefined) {
        const position = storage.position();
        const reached = isPromise(position) ? await answer(position) : position;
        if (reached !== undefined) wake(reached);
      }
      if (waiting > 0 && (withRole || forRole.size > 0)) {
        lastRole = clock.now();
        const primary = storage.primary();
        tell(isPromise(primary) ? await answer(primary) : primary);
      }
    } catch (error) {
      onError(error);
    }
    expire();
    looking = false;
    if (lookAgain && waiting > 0) {
      lookAgain = false;
      void look(true);
      return;
    }
    lookAgain = false;
    schedule();
  }

  /** Returns what the storage answers; a storage that takes its time must not hold those whose time is up. */
  function answer<T>(pending: Promise<T>): Promise<T> {
    schedule();
    return pending;
  }

  /** Ends all waits whose position is reached, in the order in which they began. */
  function wake(position: Position): void {
    const woken: Waiter[] = [];
    for (let waiter = byPosition.peek(); waiter !== undefined; waiter = byPosition.peek()) {
      if (!waiter.done && (waiter.target ?? "") > position) break;
      byPosition.pop();
      woken.push(waiter);
    }
    woken.sort((a, b) => a.turn - b.turn);
    for (const waiter of woken) finish(waiter, "reached");
  }

  function tell(primary: Primary): void {
    if (primary.at === "unknown") return;
    for (const waiter of forRole) finish(waiter, "reached");
    if (primary.at !== "here") return;
    for (let waiter = byPosition.pop(); waiter !== undefined; waiter = byPosition.pop())
      finish(waiter, "primary");
  }

  function expire(): void {
    const time = clock.now();
    for (let waiter = byDeadline.peek(); waiter !== undefined; waiter = byDeadline.peek()) {
      if (!waiter.done && waiter.deadline > time) return;
      byDeadline.pop();
      finish(waiter, "timeout");
    }
  }

  return {
    forPosition: add,
    forPrimary: (timeout, signal) => add(undefined, timeout, signal),
    size: () => waiting,
    close: () => {
      closed = true;
      for (let waiter = byDeadline.pop(); waiter !== undefined; waiter = byDeadline.pop())
        finish(waiter, "aborted");
    },
  };
}
