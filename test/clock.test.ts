import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { steadyClock } from "../adapters/storage/clock.ts";
import { type Clock, systemClock } from "../src/clock.ts";

const clocks: readonly (readonly [name: string, clock: Clock])[] = [
  ["systemClock", systemClock],
  ["steadyClock", steadyClock],
];

for (const [name, clock] of clocks) {
  describe(name, () => {
    for (const delay of [Infinity, 2 ** 31]) {
      it(`does not call at once with a delay of ${delay} ms, which is more than timers know`, async () => {
        let calls = 0;
        const timer = clock.setTimeout(() => calls++, delay);
        await new Promise((resolve) => setTimeout(resolve, 20));
        clock.clearTimeout(timer);
        assert.equal(calls, 0);
      });
    }
  });
}
