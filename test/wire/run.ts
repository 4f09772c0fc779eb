// Holds every case against the started drop-in in every place. It runs on Node and drives the other runtimes as
// processes: `npm run test:wire`. WIRE_PLACE and WIRE_CASE choose among places and cases by a part of their names.
import assert from "node:assert/strict";
import process from "node:process";
import { before, describe, it } from "node:test";
import { capabilities, unaligned, writtenCapabilities } from "./capabilities.ts";
import { CASES } from "./cases.ts";
import { exceptionOf } from "./exceptions.ts";
import { type Case, FROM_AFAR } from "./kit.ts";
import { findPlaces, type Outcome, type Place, runPlace } from "./places.ts";

const chosenPlace = process.env["WIRE_PLACE"] ?? "";
const chosenCase = process.env["WIRE_CASE"] ?? "";
const places = findPlaces().filter(({ name }) => chosenPlace === "" || name === chosenPlace);
const cases = CASES.filter(({ name }) => name.includes(chosenCase));

/** Returns the cases of a place: what does not pass there is not tried from a replica again. */
function casesOf({ name: place }: Place): readonly Case[] {
  return cases.filter(
    ({ name }) => !name.startsWith(FROM_AFAR) || exceptionOf(name, place) === undefined,
  );
}

/** How long all cases may take together, in milliseconds. */
const TIMEOUT = 400_000;

/** So many places are tried at once: most cases wait for something. */
const LANES = 2;

const lanes: Promise<unknown>[] = Array.from({ length: LANES }, () => Promise.resolve());
const runs = places.map((place, index) => {
  const run = (lanes[index % LANES] ?? Promise.resolve()).then(() =>
    runPlace(place, casesOf(place)),
  );
  lanes[index % LANES] = run.catch(() => {});
  return run;
});

/** What has failed, and why: it is told once more at the end, where it is found among thousands of cases. */
const failures: string[] = [];

/** Tells of a failure at the end, too. */
function note(what: string, error: unknown): void {
  const text = error instanceof Error ? error.message : String(error);
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  failures.push([what, ...lines.slice(0, 12).map((line) => line.slice(0, 300))].join("\n    "));
}

// Before this, the runner has not said yet what it holds of the last place.
process.once("exit", () => {
  const count = failures.length === 1 ? "1 failure" : `${failures.length} failures`;
  if (failures.length > 0) process.stderr.write(`\n${count}:\n  ${failures.join("\n  ")}\n\n`);
});

describe("wire", () => {
  it("has a name of its own for each case", () => {
    assert.equal(new Set(CASES.map(({ name }) => name)).size, CASES.length);
  });
  it("passes what the README says (npm run capabilities)", () => {
    assert.equal(unaligned(writtenCapabilities()), unaligned(capabilities()));
  });
});

for (const [index, place] of places.entries()) {
  describe(`${place.name}`, () => {
    let outcomes: ReadonlyMap<Case, Outcome>;
    before(
      async () => {
        try {
          outcomes = (await runs[index]) ?? new Map<Case, Outcome>();
        } catch (error) {
          note(place.name, error);
          throw error;
        }
      },
      { timeout: TIMEOUT },
    );
    for (const one of casesOf(place)) {
      const exception = exceptionOf(one.name, place.name);
      it(exception === undefined ? one.name : `cannot: ${one.name}`, () => {
        try {
          assert.ok(outcomes.has(one), "The case did not run");
          const outcome = outcomes.get(one);
          if (exception !== undefined) assert.ok(outcome !== undefined, "This passes now");
          else if (outcome !== undefined) throw outcome.error;
        } catch (error) {
          note(`${place.name}: ${one.name}`, error);
          throw error;
        }
      });
    }
  });
}
