import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { DEVIATIONS, filled } from "./golden/deviations.ts";
import { play } from "./golden/play.ts";
import { type GoldenRecord, type Outcome, readGolden, recorded, titleOf } from "./golden/record.ts";

const { about, records } = readGolden();
const counts = new Map<string, number>(DEVIATIONS.map(({ name }) => [name, 0]));

/** What is expected of a record: what LiteFS did, but for what is meant to be otherwise. */
function expected(record: GoldenRecord): Outcome {
  let outcome = recorded(record);
  for (const { name, applies, expect } of DEVIATIONS) {
    if (!applies(record, outcome)) continue;
    const next = expect(outcome, record);
    if (!isDeepStrictEqual(next, outcome)) counts.set(name, (counts.get(name) ?? 0) + 1);
    outcome = next;
  }
  return outcome;
}

const cases = records.map((record) => ({
  record,
  title: titleOf(record),
  outcome: expected(record),
}));

describe("serve() beside LiteFS 0.5.14", () => {
  for (const section of Object.keys(about.sections)) {
    describe(`section ${section}`, () => {
      for (const { record, title, outcome } of cases.filter(
        (one) => one.record.section === section,
      )) {
        it(title, async () => {
          const played = await play(record);
          assert.deepEqual(played.outcome, filled(outcome, played.fill));
        });
      }
    });
  }

  it("has each record once and uses each deviation", () => {
    assert.equal(new Set(cases.map((one) => one.title)).size, about.count);
    assert.deepEqual(
      [...counts].filter(([, count]) => count === 0),
      [],
    );
  });

  after(() => {
    const list = [...counts].map(([name, count]) => `${name} ${count}`).join(", ");
    console.log(`${records.length} records; deviations: ${list}`);
  });
});
