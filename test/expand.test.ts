import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { expandEnvironment } from "../adapters/drop-in/expand.ts";

const environment: ReadonlyMap<string, string> = new Map([
  ["A", "x"],
  ["B", "x"],
  ["C", "y"],
  ["PX", "longer"],
  ["QUOTED", "'x'"],
  ["DOLLAR", "$A"],
  ["LINES", "one\ntwo"],
  ["EMPTY", ""],
  ["8080", "odd"],
  ["with space", "s"],
]);

function expand(text: string): string {
  return expandEnvironment(text, (name) => environment.get(name));
}

/** What LiteFS 0.5.14 makes of these with the same environment. */
const expansions: readonly [text: string, expanded: string][] = [
  ["", ""],
  ["no variable", "no variable"],
  ["$A", "x"],
  ["${A}", "x"],
  ["${ A }", "x"],
  ["${\tA\n}", "x"],
  ["${\u0085A\u00a0}", "x"],
  ["${\ufeffA}", ""],
  ["a${A}b$A.c", "axbx.c"],
  ["$PX", "longer"],
  ["${P}X", "X"],
  ["$NOPE!", "!"],
  ["${NOPE}", ""],
  ["${EMPTY}|", "|"],
  ["${A:-d}", ""],
  ["${with space}", "s"],
  ["$DOLLAR", "$A"],
  ["$LINES", "one\ntwo"],
  ["$", "$"],
  ["a$", "a$"],
  ["$ A", "$ A"],
  ["$.A", "$.A"],
  ["$é", "$é"],
  ["$$", ""],
  ["$$A", "A"],
  ["\\$A", "\\x"],
  ["$1", ""],
  ["$8080", "080"],
  ["${8080}", "odd"],
  ["$#", ""],
  ["$-A", "A"],
  ["${", ""],
  ["${}", ""],
  ["${}A", "A"],
  ["a${A", "aA"],
  ["${A} ${", "x "],
  ["${$A}", ""],
  ["${*}", ""],
  ["${ }", ""],
  ["# a comment with $A", "# a comment with x"],
  ["${A == 'x'}", "true"],
  ["${A=='x'}", "true"],
  ['${A == "x"}', "true"],
  ["${A == 'z'}", "false"],
  ["${A != 'z'}", "true"],
  ["${A!='x'}", "false"],
  ["${A == B}", "true"],
  ["${A != C}", "true"],
  ["${NOPE == ''}", "true"],
  ["${NOPE == NADA}", "true"],
  ["${A == 8080}", "false"],
  ["${A = 'x'}", ""],
  ["${A == 'x}", ""],
  ["${A == x y}", ""],
  ["${QUOTED == ''x''}", "true"],
  ["${A\u00a0== 'x'}", ""],
  ["${A == 'a}b'}", "b'}"],
  ["candidate: ${FLY_REGION == PRIMARY_REGION}", "candidate: true"],
];

describe("expandEnvironment()", () => {
  for (const [text, expanded] of expansions) {
    it(`makes ${JSON.stringify(expanded)} of ${JSON.stringify(text)}`, () => {
      assert.equal(expand(text), expanded);
    });
  }

  it("agrees with a small model on any text", () => {
    const piece = fc.constantFrom(
      "$",
      "{",
      "}",
      "${",
      "A",
      "B",
      "PX",
      "x",
      "1",
      "_",
      " ",
      "\n",
      "==",
      "!=",
      "'x'",
      '"',
      "'",
      "-",
      "é",
      "$$",
      "${A}",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 14 }), (pieces) => {
        const text = pieces.join("");
        assert.equal(expand(text), model(text));
      }),
      { numRuns: 3000 },
    );
  });

  it("leaves text without a dollar sign alone", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const plain = text.replaceAll("$", "");
        assert.equal(expand(plain), plain);
      }),
    );
  });
});

/** The rules once more, as one pattern for each form, tried in order. */
function model(text: string): string {
  return text.replaceAll(
    /\$(?:\{\}|\{([^}]+)\}|\{|([*#$@!?0-9-])|(\w+))/g,
    (_all, braces?: string, special?: string, name?: string) =>
      evaluate(braces ?? special ?? name ?? ""),
  );
}

function evaluate(expression: string): string {
  const name = expression.trim();
  const value = (variable: string): string => environment.get(variable) ?? "";
  const [, left, operator, right] = /^(\w+)\s*(==|!=)\s*('.*'|".*"|\w+)$/.exec(name) ?? [];
  if (left === undefined || right === undefined) return value(name);
  const other = /^['"]/.test(right) ? right.slice(1, -1) : value(right);
  return `${(value(left) === other) === (operator === "==")}`;
}
