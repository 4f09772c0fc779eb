import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { formatToken, parsePosition, parseToken, type Token } from "../src/token.ts";

const T27 = "0000000000000027";
const SIGNATURE = "a".repeat(43);

describe("parsePosition()", () => {
  it("reads 16 hexadecimal digits of either case", () => {
    assert.equal(parsePosition("00000000000000aF"), "00000000000000af");
    assert.equal(parsePosition("ffffffffffffffff"), "ffffffffffffffff");
  });

  const others = [
    "",
    "27",
    T27.slice(1),
    `0${T27}`,
    "0000000000000000",
    "+000000000000027",
    "000000000000002g",
    "0x00000000000027",
    " 000000000000027",
    "0000_00000000027",
    "000000000000002\u0131",
  ];
  for (const text of others) {
    it(`does not read ${JSON.stringify(text)}`, () => assert.equal(parsePosition(text), undefined));
  }
});

describe("parseToken()", () => {
  const none = { history: undefined, cluster: undefined, proof: undefined };
  const proof = { issued: 1_700_000_000, key: "k1", signature: SIGNATURE };
  const cases: [string, Token][] = [
    [T27, { position: T27, ...none }],
    [`${T27}/`, { position: T27, ...none }],
    [`${T27}/8000000000000000`, { position: T27, ...none, history: "8000000000000000" }],
    [`${T27}//blue`, { position: T27, ...none, cluster: "blue" }],
    [`${T27}/h/blue`, { position: T27, history: "h", cluster: "blue", proof: undefined }],
    [`${T27}///1700000000/k1/${SIGNATURE}`, { position: T27, ...none, proof }],
    [`${T27}/h/c/1700000000/k1/${SIGNATURE}`, { position: T27, history: "h", cluster: "c", proof }],
  ];
  for (const [text, token] of cases) {
    it(`reads ${text}`, () => assert.deepEqual(parseToken(text), token));
  }

  const others = [
    "0/h",
    `${T27}/a b`,
    `${T27}/h,`,
    `${T27}/${"h".repeat(65)}`,
    `${T27}/h/c/1700000000`,
    `${T27}/h/c/1700000000/k1`,
    `${T27}/h/c/-1/k1/${SIGNATURE}`,
    `${T27}/h/c/1700000000//${SIGNATURE}`,
    `${T27}/h/c/1700000000/k1/${SIGNATURE.slice(1)}`,
    `${T27}/h/c/1700000000/k1/${SIGNATURE}/`,
    `${T27}/h/c/1700000000/k1/${SIGNATURE.slice(1)}=`,
  ];
  for (const text of others) {
    it(`does not read ${text}`, () => assert.equal(parseToken(text), undefined));
  }
});

describe("formatToken()", () => {
  const word = fc.option(fc.stringMatching(/^[\w.~-]{1,64}$/), { nil: undefined });
  const token = fc.record(
    {
      position: fc.stringMatching(/^[1-9a-f][0-9a-f]{15}$/),
      history: word,
      cluster: word,
      proof: fc.option(
        fc.record(
          {
            issued: fc.nat({ max: 999_999_999_999 }),
            key: fc.stringMatching(/^[\w.~-]{1,64}$/),
            signature: fc.stringMatching(/^[\w-]{43}$/),
          },
          { noNullPrototype: true },
        ),
        { nil: undefined },
      ),
    },
    { noNullPrototype: true },
  );

  it("writes what parseToken() reads", () => {
    fc.assert(fc.property(token, (one) => assert.deepEqual(parseToken(formatToken(one)), one)));
  });

  it("writes nothing that a cookie or a header list would end", () => {
    fc.assert(fc.property(token, (one) => assert.match(formatToken(one), /^[\w.~/-]+$/)));
  });
});
