import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "node:test";
import { check } from "./simulation/checker.ts";
import { hashOf } from "./simulation/history.ts";
import { findOut, MUTANTS } from "./simulation/mutants.ts";
import { planWorld } from "./simulation/plan.ts";
import { runSeed, shrink, trace } from "./simulation/run.ts";

/** How many worlds happen. */
const SEEDS = Number(process.env["SIMULATION_SEEDS"] ?? "200");

/** The first three histories, as on every runtime; they change with the simulation, and with what proxies do. */
const HISTORIES: readonly string[] = ["a8111d85", "81b6ade8", "fcc54fe1"];

/** In how many worlds each mutant must be found out. */
const MUTANT_SEEDS = 600;

describe("simulation", () => {
  it(`keeps every promise in ${SEEDS} worlds`, { timeout: 600_000 }, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { violations } = await runSeed(seed);
      if (violations.length === 0) continue;
      const limits = await shrink(seed);
      const outcome = await runSeed(seed, limits);
      const again = `npm run simulate -- --seed ${seed} --limits '${JSON.stringify(limits)}'`;
      assert.fail(`${trace(outcome).slice(-6000)}\n${again}`);
    }
  });

  it("happens again exactly, on every runtime", async () => {
    const histories: string[] = [];
    for (let seed = 1; seed <= 20; seed++) {
      const { hash } = await runSeed(seed);
      assert.equal(hashOf((await runSeed(seed)).events), hash);
      histories.push(hash);
    }
    assert.deepEqual(histories.slice(0, 3), HISTORIES);
  });

  it("shows more than answers that came well", async () => {
    const statuses = new Map<number, number>();
    let hops = 0;
    let reigns = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const { events } = await runSeed(seed);
      for (const event of events) {
        if (event.type === "reign") reigns++;
        if (event.type !== "answered") continue;
        statuses.set(event.status, (statuses.get(event.status) ?? 0) + 1);
        hops += event.hops;
      }
    }
    for (const status of [200, 409, 502, 503, 504]) assert.ok((statuses.get(status) ?? 0) > 5);
    assert.ok(hops > 500 && reigns > 80);
  });
});

describe("checker", () => {
  it("finds nothing in a history without answers", () => {
    assert.deepEqual(check(planWorld(1), []), []);
  });

  for (const mutant of MUTANTS) {
    it(`finds out when ${mutant.name}`, { timeout: 120_000 }, async () => {
      const found = await findOut(mutant, MUTANT_SEEDS);
      assert.ok(found !== undefined, `Nothing was broken in ${MUTANT_SEEDS} worlds`);
    });
  }
});
