import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { createClaimReader } from "../src/claims.ts";
import { formatToken } from "../src/token.ts";

const T27 = "0000000000000027";
const T28 = "0000000000000028";

describe("createClaimReader()", () => {
  const read = createClaimReader(["", "other"]);

  const cookies: [string, string[], string | undefined][] = [
    ["no cookie", [], undefined],
    ["another cookie", ["a=b"], undefined],
    ["the token", [`__txid=${T27}`], T27],
    ["the token among others", [`a=b; __txid=${T27}; c=d`], T27],
    ["the token without spaces", [`a=b;__txid=${T27};c`], T27],
    ["a quoted token", [`__txid="${T27}"`], T27],
    ["a token with one quote", [`__txid="${T27}`], undefined],
    ["a token behind a space", [`__txid= ${T27}`], undefined],
    ["a space before the equals sign", [`__txid =${T27}`], T27],
    ["upper case", ["__txid=00000000000000AB"], "00000000000000ab"],
    ["zero", ["__txid=0000000000000000"], undefined],
    ["the greatest of two", [`__txid=${T28}; __txid=${T27}`], T28],
    ["the greatest of two lines", [`__txid=${T27}`, `__txid=${T28}`], T28],
    ["the valid one behind garbage", [`__txid=x; __txid=${T27}`], T27],
    ["what was seen", [`__txid=${T27}; __txid_seen=${T28}`], T28],
    ["what was written, when it is more", [`__txid=${T28}; __txid_seen=${T27}`], T28],
    ["a name that only ends so", [`x__txid=${T27}`], undefined],
    ["the name of a database that is not opened", [`__txid_b=${T27}`], undefined],
    ["a name in capitals", [`__TXID=${T27}`], undefined],
  ];
  for (const [name, lines, expected] of cookies) {
    it(`reads ${name}`, () => {
      const { claims, isEmpty, byHeader } = read(lines.flatMap((line) => ["Cookie", line]));
      assert.equal(claims[0]?.position, expected);
      assert.equal(isEmpty, expected === undefined);
      assert.equal(byHeader, false);
    });
  }

  const headers: [string, string, string | undefined, string | undefined][] = [
    ["one token", T27, T27, undefined],
    ["the greatest of a list", `${T27}, ${T28},${T27}`, T28, undefined],
    ["the token of a database", `other=${T27}`, undefined, T27],
    ["both databases", `${T28}, other = ${T27}`, T28, T27],
    ["a token with what a response said of it", `${T27};reset`, T27, undefined],
    ["an unknown database", `nobody=${T27}`, undefined, undefined],
    ["the zero of a client that begins", "0", undefined, undefined],
    ["nothing", "", undefined, undefined],
  ];
  for (const [name, value, first, other] of headers) {
    it(`reads ${name} from the header`, () => {
      const { claims, byHeader } = read(["TXID", value]);
      assert.deepEqual([claims[0]?.position, claims[1]?.position], [first, other]);
      assert.equal(byHeader, true);
    });
  }

  it("keeps databases apart", () => {
    const { claims } = read(["Cookie", `__txid=${T27}; __txid_other=${T28}`]);
    assert.deepEqual([claims[0]?.position, claims[1]?.position], [T27, T28]);
  });

  it("keeps the greatest eight of many tokens", () => {
    const all = Array.from({ length: 40 }, (_, index) =>
      (index + 1).toString(16).padStart(16, "0"),
    );
    for (const order of [all, all.toReversed()]) {
      const [claim] = read(["Txid", order.join(",")]).claims;
      assert.equal(claim?.position, all.at(-1));
      assert.deepEqual(claim?.tokens.map(({ position }) => position).toSorted(), all.slice(-8));
    }
  });

  it("never throws, and never claims what is not in the text", () => {
    const piece = fc.constantFrom(
      "__txid",
      "__txid_seen",
      "__txid_other",
      "=",
      ";",
      ",",
      " ",
      '"',
      "/",
      T27,
      T28,
      "0",
      "g",
    );
    const text = fc.oneof(
      fc.string({ unit: "binary-ascii" }),
      fc.array(piece).map((all) => all.join("")),
    );
    fc.assert(
      fc.property(fc.constantFrom("Cookie", "Txid"), text, (name, value) => {
        for (const claim of read([name, value]).claims) {
          for (const token of claim?.tokens ?? []) {
            const [position = ""] = formatToken(token).split("/");
            assert.ok(value.toLowerCase().includes(position), position);
          }
        }
      }),
    );
  });
});
