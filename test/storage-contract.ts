import { describe, it } from "node:test";
import assert from "node:assert/strict";
import type { MaybePromise, Position, Primary, Storage } from "../src/storage.ts";
import { until } from "./until.ts";

/** A storage under test and the hands on what lies behind it. Each hand returns once its change is made. */
export interface StorageFixture {
  /** The storage; its database exists. */
  readonly storage: Storage;
  /** Commits once and returns the position after it, as a source other than the storage tells it. */
  advance(): MaybePromise<Position>;
  /** Takes the database back to an earlier position and returns that. */
  rewind?(): MaybePromise<Position>;
  /** Removes the database; the next `advance()` creates it again. */
  drop?(): MaybePromise<void>;
  /** Makes the position unreadable until the next `advance()`. */
  spoil?(): MaybePromise<void>;
  /** Moves the primary. */
  setPrimary?(primary: Primary): MaybePromise<void>;
  /** Sets the lag in milliseconds, `undefined` for a node that does not tell. */
  setLag?(lag: number | undefined): MaybePromise<void>;
  /** Gives back everything but the storage, which may be closed already. */
  cleanup(): MaybePromise<void>;
}

/** What a fixture may be unable to do; the cases that need it are left out. */
export type Lack = "rewind" | "drop" | "spoil" | "setPrimary" | "setLag";

/**
 * Declares the cases that each storage with notifications and lag must pass.
 *
 * @param name What is under test, for the report.
 * @param open Makes a fixture; it is called for each case.
 * @param lacks What the fixture cannot do.
 */
export function storageContract(
  name: string,
  open: () => MaybePromise<StorageFixture>,
  lacks: readonly Lack[] = [],
): void {
  /** Declares a case that needs some hands of the fixture; without them there is nothing to declare. */
  const test = (title: string, needs: readonly Lack[], run: () => Promise<void>): void => {
    if (!needs.some((need) => lacks.includes(need))) it(title, { timeout: 30_000 }, run);
  };

  /** Runs a case on a fixture of its own. */
  const on =
    (run: (fixture: Required<StorageFixture>) => Promise<void>) => async (): Promise<void> => {
      const fixture = await open();
      const refuse = (): never => assert.fail("the fixture cannot do this");
      try {
        await run({
          rewind: refuse,
          drop: refuse,
          spoil: refuse,
          setPrimary: refuse,
          setLag: refuse,
          ...fixture,
        });
      } finally {
        await fixture.storage.close?.();
        await fixture.cleanup();
      }
    };

  describe(`storage contract: ${name}`, () => {
    describe("position()", () => {
      test(
        "follows the commits",
        [],
        on(async ({ storage, advance }) => {
          for (let commit = 0; commit < 5; commit++) {
            const position = await advance();
            await untilTrue(async () => (await storage.position()) === position);
          }
        }),
      );

      test(
        "orders commits by the order of their texts",
        [],
        on(async ({ storage, advance }) => {
          const seen: Position[] = [];
          for (let commit = 0; commit < 20; commit++) {
            const position = await advance();
            await untilTrue(async () => (await storage.position()) === position);
            seen.push(position);
          }
          assert.deepEqual(seen.toSorted(), seen);
          assert.equal(new Set(seen).size, seen.length);
          assert.equal(new Set(seen.map((position) => position.length)).size, 1);
        }),
      );

      test(
        "is no more than what seen() covers, and follows it",
        [],
        on(async ({ storage, advance }) => {
          const position = await advance();
          await untilTrue(async () => (await storage.position()) === position);
          const seen = storage.seen === undefined ? position : await storage.seen();
          assert.ok(seen !== undefined && seen >= position);
          await untilTrue(async () => ((await storage.position()) ?? "") >= seen);
        }),
      );

      test(
        "goes down when an earlier state is restored",
        ["rewind"],
        on(async ({ storage, advance, rewind }) => {
          await advance();
          const high = await advance();
          await untilTrue(async () => (await storage.position()) === high);
          const low = await rewind();
          assert.ok(low < high);
          await untilTrue(async () => (await storage.position()) === low);
        }),
      );

      test(
        "is undefined without a database and follows one that comes back",
        ["drop"],
        on(async ({ storage, advance, drop }) => {
          const first = await advance();
          await untilTrue(async () => (await storage.position()) === first);
          await drop();
          await untilTrue(async () => (await storage.position()) === undefined);
          const second = await advance();
          await untilTrue(async () => (await storage.position()) === second);
        }),
      );

      test(
        "throws when it cannot be read and never returns a position instead",
        ["spoil"],
        on(async ({ storage, advance, spoil }) => {
          await advance();
          await spoil();
          for (let read = 0; read < 3; read++) {
            await assert.rejects(async () => storage.position(), Error);
          }
          const position = await advance();
          await untilTrue(async () => (await storage.position()) === position);
        }),
      );

      test(
        "answers many calls at once alike",
        [],
        on(async ({ storage, advance }) => {
          const position = await advance();
          await untilTrue(async () => (await storage.position()) === position);
          const answers = await Promise.all(
            Array.from({ length: 200 }, async () => storage.position()),
          );
          assert.deepEqual(new Set(answers), new Set([position]));
        }),
      );
    });

    describe("historyAt()", () => {
      test(
        "returns words that a token can carry, and the same ones as long as the history goes on",
        [],
        on(async ({ storage, advance }) => {
          const found = new Map<Position, string | undefined>();
          for (let commit = 0; commit < 5; commit++) {
            const position = await advance();
            await untilTrue(async () => (await storage.position()) === position);
            found.set(position, await storage.historyAt?.(position));
          }
          for (const [position, history] of found) {
            assert.equal(await storage.historyAt?.(position), history);
            if (history !== undefined) assert.match(history, /^[\w.~-]{1,64}$/);
          }
        }),
      );

      test(
        "tells the histories apart that use a position twice",
        ["rewind"],
        on(async ({ storage, advance, rewind }) => {
          await advance();
          const twice = await advance();
          await untilTrue(async () => (await storage.position()) === twice);
          const before = await storage.historyAt?.(twice);
          await rewind();
          for (let position = await advance(); position < twice;) position = await advance();
          await untilTrue(async () => (await storage.position()) === twice);
          const after = await storage.historyAt?.(twice);
          if (storage.historyAt !== undefined) assert.notEqual(after, before);
        }),
      );
    });

    describe("primary()", () => {
      const roles: readonly Primary[] = [
        { at: "here" },
        { at: "elsewhere", hostname: "node-b" },
        { at: "unknown" },
        { at: "elsewhere", hostname: "node-c" },
        { at: "here" },
      ];

      test(
        "tells here, elsewhere and unknown as the primary moves",
        ["setPrimary"],
        on(async ({ storage, setPrimary }) => {
          for (const role of roles) {
            await setPrimary(role);
            await untilTrue(async () => isSameRole(await storage.primary(), role));
          }
        }),
      );

      test(
        "answers many calls at once alike",
        ["setPrimary"],
        on(async ({ storage, setPrimary }) => {
          await setPrimary({ at: "elsewhere", hostname: "node-b" });
          await untilTrue(async () =>
            isSameRole(await storage.primary(), { at: "elsewhere", hostname: "node-b" }),
          );
          const answers = await Promise.all(
            Array.from({ length: 200 }, async () => storage.primary()),
          );
          for (const answer of answers)
            assert.deepEqual(answer, { at: "elsewhere", hostname: "node-b" });
        }),
      );
    });

    describe("lag()", () => {
      for (const lag of [0, 42, 150_000, Infinity, undefined]) {
        test(
          `returns ${lag}`,
          ["setPrimary", "setLag"],
          on(async ({ storage, setPrimary, setLag }) => {
            await setPrimary({ at: "elsewhere", hostname: "node-b" });
            await setLag(7);
            await untilTrue(async () => (await storage.lag?.()) === 7);
            await setLag(lag);
            await untilTrue(async () => (await storage.lag?.()) === lag);
          }),
        );
      }
    });

    describe("subscribe()", () => {
      test(
        "calls back after a commit, when the position can be read",
        [],
        on(async ({ storage, advance }) => {
          const first = await advance();
          await untilTrue(async () => (await storage.position()) === first);
          const seen: (Position | undefined)[] = [];
          const unsubscribe = subscribe(storage, async () => {
            seen.push(await storage.position());
          });
          const position = await advance();
          await untilTrue(() => seen.includes(position));
          unsubscribe();
        }),
      );

      test(
        "calls back for each of many subscribers",
        [],
        on(async ({ storage, advance }) => {
          const first = await advance();
          await untilTrue(async () => (await storage.position()) === first);
          const called = Array.from({ length: 50 }, () => false);
          const unsubscribe = called.map((_, index) =>
            subscribe(storage, () => {
              called[index] = true;
            }),
          );
          await advance();
          await untilTrue(() => called.every(Boolean));
          for (const end of unsubscribe) end();
        }),
      );

      test(
        "calls back after the primary has moved",
        ["setPrimary"],
        on(async ({ storage, setPrimary }) => {
          await setPrimary({ at: "here" });
          await untilTrue(async () => isSameRole(await storage.primary(), { at: "here" }));
          let moved = false;
          const unsubscribe = subscribe(storage, async () => {
            if (isSameRole(await storage.primary(), { at: "elsewhere", hostname: "node-b" }))
              moved = true;
          });
          await setPrimary({ at: "elsewhere", hostname: "node-b" });
          await untilTrue(() => moved);
          unsubscribe();
        }),
      );

      test(
        "stops after unsubscribing, also from within, and leaves the others alone",
        [],
        on(async ({ storage, advance }) => {
          let ended = 0;
          let once = 0;
          let kept = 0;
          const end = subscribe(storage, () => ended++);
          const endOnce = subscribe(storage, () => {
            once++;
            endOnce();
          });
          const endKept = subscribe(storage, () => kept++);
          end();
          end();
          await advance();
          await untilTrue(() => once > 0 && kept > 0);
          const before = kept;
          await advance();
          await untilTrue(() => kept > before);
          assert.equal(ended, 0);
          assert.equal(once, 1);
          endKept();
        }),
      );

      test(
        "does not call a subscriber whom another one has removed",
        [],
        on(async ({ storage, advance }) => {
          const called: string[] = [];
          const end: (() => void)[] = [];
          for (const name of ["first", "second"]) {
            end.push(
              subscribe(storage, () => {
                called.push(name);
                for (const unsubscribe of end) unsubscribe();
              }),
            );
          }
          await advance();
          await untilTrue(() => called.length > 0);
          await advance();
          assert.equal(called.length, 1);
        }),
      );

      test(
        "calls a subscriber who subscribes anew when called once for each change",
        [],
        on(async ({ storage, advance }) => {
          const ends: (() => void)[] = [];
          let called = 0;
          const changed = (): void => {
            called++;
            ends.pop()?.();
            // A storage that called whom it has just added would never come to an end.
            if (called < 10_000) ends.push(subscribe(storage, changed));
          };
          ends.push(subscribe(storage, changed));
          await advance();
          await untilTrue(() => called > 0);
          for (const end of ends) end();
          assert.ok(called < 100);
        }),
      );

      test(
        "keeps two subscriptions of one function apart",
        [],
        on(async ({ storage, advance }) => {
          let called = 0;
          const changed = (): void => {
            called++;
          };
          const end = subscribe(storage, changed);
          const endOther = subscribe(storage, changed);
          end();
          await advance();
          await untilTrue(() => called > 0);
          endOther();
        }),
      );

      test(
        "can be used again after the last subscriber has gone",
        [],
        on(async ({ storage, advance }) => {
          for (let turn = 0; turn < 3; turn++) {
            let called = false;
            const unsubscribe = subscribe(storage, () => {
              called = true;
            });
            await advance();
            await untilTrue(() => called);
            unsubscribe();
          }
        }),
      );
    });

    describe("close()", () => {
      test(
        "can be called twice",
        [],
        on(async ({ storage, advance }) => {
          await advance();
          await storage.position();
          await storage.primary();
          await storage.close?.();
          await storage.close?.();
        }),
      );

      test(
        "can be called before anything else",
        [],
        on(async ({ storage }) => {
          await storage.close?.();
        }),
      );

      test(
        "ends all subscriptions",
        [],
        on(async ({ storage, advance }) => {
          let called = 0;
          const unsubscribe = subscribe(storage, () => called++);
          await advance();
          await untilTrue(() => called > 0);
          await storage.close?.();
          const before = called;
          await advance();
          assert.equal(called, before);
          unsubscribe();
        }),
      );
    });
  });
}

/**
 * Resolves once `condition` holds.
 *
 * @param condition What must become true; it is asked every other millisecond.
 * @throws {Error} When it does not within ten seconds.
 */
export async function untilTrue(condition: () => MaybePromise<boolean>): Promise<void> {
  await until(condition.toString(), condition, 10_000);
}

function subscribe(storage: Storage, changed: () => void): () => void {
  assert.ok(storage.subscribe !== undefined);
  return storage.subscribe(changed);
}

function isSameRole(a: Primary, b: Primary): boolean {
  if (a.at === "elsewhere" && b.at === "elsewhere") return a.hostname === b.hostname;
  return a.at === b.at;
}
