import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { memory } from "../adapters/memory.ts";
import { storageContract } from "./storage-contract.ts";

storageContract(
  "memory()",
  () => {
    const storage = memory({ position: "00000000000000ff" });
    return {
      storage,
      advance: storage.advance,
      rewind: () => {
        storage.setHistory("restored");
        storage.setPosition("0000000000000003");
        return "0000000000000003";
      },
      drop: () => storage.setPosition(undefined),
      setPrimary: storage.setPrimary,
      setLag: storage.setLag,
      cleanup: () => {},
    };
  },
  ["spoil"],
);

describe("memory()", () => {
  it("begins on the primary with an empty database and no lag", () => {
    const storage = memory();
    assert.equal(storage.position(), "0000000000000000");
    assert.deepEqual(storage.primary(), { at: "here" });
    assert.equal(storage.lag(), 0);
  });

  it("begins as it is told", () => {
    const primary = { at: "elsewhere", hostname: "node-b" } as const;
    const storage = memory({ position: undefined, primary, lag: undefined });
    assert.equal(storage.position(), undefined);
    assert.deepEqual(storage.primary(), primary);
    assert.equal(storage.lag(), undefined);
  });

  it("creates the database with the first position", () => {
    const storage = memory({ position: undefined });
    assert.equal(storage.advance(), "0000000000000001");
    assert.equal(storage.position(), "0000000000000001");
  });

  it("advances to the next greater text of the same length", () => {
    const txid = fc.bigInt({ min: 0n, max: 2n ** 64n - 2n });
    fc.assert(
      fc.property(txid, (value) => {
        const position = value.toString(16).padStart(16, "0");
        const next = memory({ position }).advance();
        assert.equal(next.length, 16);
        assert.ok(next > position);
        assert.equal(BigInt(`0x${next}`), value + 1n);
      }),
    );
  });

  it("does not advance past the greatest position", () => {
    const storage = memory({ position: "f".repeat(16) });
    assert.throws(() => storage.advance(), RangeError);
    assert.equal(storage.position(), "f".repeat(16));
  });

  for (const position of [
    "",
    "1",
    "000000000000000A",
    "00000000000000001",
    "0000000000000001\n",
    "000000000000000g",
  ]) {
    it(`refuses ${JSON.stringify(position)} as a position`, () => {
      const storage = memory();
      assert.throws(() => memory({ position }), TypeError);
      assert.throws(() => storage.setPosition(position), TypeError);
      assert.equal(storage.position(), "0000000000000000");
    });
  }

  it("calls back after the new state can be read, and not for the lag", () => {
    const storage = memory();
    const seen: string[] = [];
    storage.subscribe(() => seen.push(`${storage.position()} ${storage.primary().at}`));
    storage.advance();
    storage.setLag(5);
    storage.setPrimary({ at: "unknown" });
    assert.deepEqual(seen, ["0000000000000001 here", "0000000000000001 unknown"]);
  });

  it("lets the same function subscribe twice", () => {
    const storage = memory();
    let called = 0;
    const changed = (): void => {
      called++;
    };
    const end = storage.subscribe(changed);
    storage.subscribe(changed);
    end();
    storage.advance();
    assert.equal(called, 1);
  });
});
