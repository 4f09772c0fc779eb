import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Position, Primary, Storage } from "../src/index.ts";
import { createWaiters, type WaitOutcome, type Waiters } from "../src/waiters.ts";
import { fakeClock, type FakeClock, settled } from "./fake-clock.ts";

const never = new AbortController().signal;

interface Room {
  waiters: Waiters;
  clock: FakeClock;
  storage: { position: Position | undefined; primary: Primary; reads: number; broken: boolean };
  errors: unknown[];
  changed: () => void;
  subscribers: () => number;
}

function open({ subscribable = true }: { subscribable?: boolean } = {}): Room {
  const clock = fakeClock();
  const errors: unknown[] = [];
  const listeners = new Set<() => void>();
  const state = {
    position: txid(0) as Position | undefined,
    primary: { at: "elsewhere", hostname: "p" } as Primary,
    reads: 0,
    broken: false,
  };
  const storage: Storage = {
    position: () => {
      state.reads++;
      if (state.broken) throw new Error("unreadable");
      return state.position;
    },
    primary: () => state.primary,
  };
  if (subscribable) {
    storage.subscribe = (changed) => {
      listeners.add(changed);
      return () => listeners.delete(changed);
    };
  }
  return {
    waiters: createWaiters(storage, clock, (error) => errors.push(error)),
    clock,
    storage: state,
    errors,
    changed: () => listeners.forEach((listener) => listener()),
    subscribers: () => listeners.size,
  };
}

function txid(value: number): Position {
  return value.toString(16).padStart(16, "0");
}

/** Notes the outcome of a wait as soon as there is one. */
function watch(wait: Promise<WaitOutcome>): { outcome: WaitOutcome | undefined } {
  const seen: { outcome: WaitOutcome | undefined } = { outcome: undefined };
  void wait.then((outcome) => (seen.outcome = outcome));
  return seen;
}

describe("createWaiters()", () => {
  it("wakes who waits for what the node has applied, and nobody else", async () => {
    const room = open();
    const [one, two, three] = [1, 2, 3].map((at) =>
      watch(room.waiters.forPosition(txid(at), 5000, never)),
    );
    room.storage.position = txid(2);
    room.changed();
    await settled();
    assert.deepEqual(
      [one?.outcome, two?.outcome, three?.outcome],
      ["reached", "reached", undefined],
    );
    assert.equal(room.waiters.size(), 1);
  });

  it("times out at the deadline and not before", async () => {
    const room = open();
    const wait = watch(room.waiters.forPosition(txid(1), 5000, never));
    await room.clock.advance(4999);
    assert.equal(wait.outcome, undefined);
    await room.clock.advance(1);
    assert.equal(wait.outcome, "timeout");
  });

  it("times out at the deadline although the storage does not answer", async () => {
    const clock = fakeClock();
    const silent: Storage = {
      position: () => new Promise(() => {}),
      primary: () => ({ at: "elsewhere", hostname: "p" }),
      subscribe: () => () => {},
    };
    const waiters = createWaiters(silent, clock, () => {});
    const [early, late] = [100, 5000].map((timeout) =>
      watch(waiters.forPosition(txid(1), timeout, never)),
    );
    await clock.advance(100);
    assert.deepEqual([early?.outcome, late?.outcome], ["timeout", undefined]);
    await clock.advance(4900);
    assert.equal(late?.outcome, "timeout");
    assert.equal(clock.timers(), 0);
  });

  it("lets go of a client that leaves", async () => {
    const room = open();
    const client = new AbortController();
    const wait = watch(room.waiters.forPosition(txid(1), 5000, client.signal));
    client.abort();
    await settled();
    assert.equal(wait.outcome, "aborted");
    assert.equal(room.waiters.size(), 0);
    assert.equal(room.clock.timers(), 0);
  });

  it("answers at once when the client has left before", async () => {
    assert.equal(await open().waiters.forPosition(txid(1), 5000, AbortSignal.abort()), "aborted");
  });

  it("wakes everybody when the node becomes the primary", async () => {
    const room = open();
    const waits = [1, 9].map((at) => watch(room.waiters.forPosition(txid(at), 5000, never)));
    room.storage.primary = { at: "here" };
    room.changed();
    await settled();
    assert.deepEqual(
      waits.map((wait) => wait.outcome),
      ["primary", "primary"],
    );
  });

  it("notices within moments that the node became the primary when nobody says so", async () => {
    const room = open();
    const wait = watch(room.waiters.forPosition(txid(1), 5000, never));
    room.storage.primary = { at: "here" };
    await room.clock.advance(250);
    assert.equal(wait.outcome, "primary");
  });

  it("waits for a primary, here or elsewhere", async () => {
    const room = open();
    room.storage.primary = { at: "unknown" };
    const first = watch(room.waiters.forPrimary(5000, never));
    await room.clock.advance(10);
    assert.equal(first.outcome, undefined);
    room.storage.primary = { at: "elsewhere", hostname: "q" };
    room.changed();
    await settled();
    assert.equal(first.outcome, "reached");
    room.storage.primary = { at: "unknown" };
    const second = watch(room.waiters.forPrimary(100, never));
    await room.clock.advance(100);
    assert.equal(second.outcome, "timeout");
  });

  it("sets one timer and one subscription for any number of waiters, and none for nobody", async () => {
    const room = open();
    for (let at = 1; at <= 1000; at++) void room.waiters.forPosition(txid(at), 5000, never);
    await settled();
    assert.equal(room.clock.timers(), 1);
    assert.equal(room.subscribers(), 1);
    room.storage.position = txid(1000);
    room.changed();
    await settled();
    assert.equal(room.waiters.size(), 0);
    assert.equal(room.clock.timers(), 0);
    assert.equal(room.subscribers(), 0);
  });

  it("reads the position at most once a millisecond, whoever waits, and never for nobody", async () => {
    const room = open({ subscribable: false });
    for (let at = 1; at <= 1000; at++) void room.waiters.forPosition(txid(at), 5000, never);
    await settled();
    room.storage.reads = 0;
    await room.clock.advance(50);
    assert.ok(room.storage.reads <= 51, `${room.storage.reads} reads in 50 ms`);
    room.storage.position = txid(1000);
    await room.clock.advance(2);
    room.storage.reads = 0;
    await room.clock.advance(100);
    assert.equal(room.storage.reads, 0);
  });

  it("goes on waiting while the position cannot be read, and reports it", async () => {
    const room = open({ subscribable: false });
    const wait = watch(room.waiters.forPosition(txid(1), 5000, never));
    room.storage.broken = true;
    await room.clock.advance(10);
    assert.equal(wait.outcome, undefined);
    assert.ok(room.errors.length > 0);
    room.storage.broken = false;
    room.storage.position = txid(1);
    await room.clock.advance(2);
    assert.equal(wait.outcome, "reached");
  });

  it("sees a move that came between the caller's look and the subscription", async () => {
    const room = open();
    room.storage.position = txid(5);
    assert.equal(await room.waiters.forPosition(txid(5), 5000, never), "reached");
  });

  it("sends everybody away when it closes", async () => {
    const room = open();
    const wait = watch(room.waiters.forPosition(txid(1), 5000, never));
    room.waiters.close();
    await settled();
    assert.equal(wait.outcome, "aborted");
    assert.equal(await room.waiters.forPosition(txid(1), 5000, never), "aborted");
    assert.equal(room.clock.timers(), 0);
  });

  it("agrees with a list that is searched from end to end", async () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant("wait" as const),
        at: fc.integer({ min: 1, max: 30 }),
        timeout: fc.integer({ min: 1, max: 60 }),
      }),
      fc.record({ kind: fc.constant("move" as const), at: fc.integer({ min: 0, max: 30 }) }),
      fc.record({ kind: fc.constant("abort" as const), which: fc.nat(40) }),
      fc.record({ kind: fc.constant("time" as const), by: fc.integer({ min: 1, max: 30 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const room = open();
        const model: {
          at: number;
          deadline: number;
          expected: WaitOutcome | undefined;
          client: AbortController;
          seen: { outcome: WaitOutcome | undefined };
        }[] = [];
        let position = 0;
        let time = 0;
        const judge = (): void => {
          for (const wait of model) {
            if (wait.expected === undefined && position >= wait.at) wait.expected = "reached";
            else if (wait.expected === undefined && time >= wait.deadline)
              wait.expected = "timeout";
          }
        };
        for (const one of steps) {
          if (one.kind === "wait") {
            const client = new AbortController();
            const seen = watch(room.waiters.forPosition(txid(one.at), one.timeout, client.signal));
            model.push({
              at: one.at,
              deadline: time + one.timeout,
              expected: undefined,
              client,
              seen,
            });
          } else if (one.kind === "move") {
            position = one.at;
            room.storage.position = txid(position);
            room.changed();
          } else if (one.kind === "abort") {
            const wait = model[one.which];
            if (wait !== undefined) {
              wait.client.abort();
              wait.expected ??= "aborted";
            }
          } else {
            time += one.by;
            await room.clock.advance(one.by);
          }
          await settled();
          judge();
          assert.deepEqual(
            model.map((wait) => wait.seen.outcome),
            model.map((wait) => wait.expected),
          );
        }
        assert.equal(
          room.waiters.size(),
          model.filter((wait) => wait.expected === undefined).length,
        );
      }),
      { numRuns: 300 },
    );
  });
});
