import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { compilePattern, decodePath, resolvePath } from "../src/pattern.ts";

/** LiteFS's own way: quote everything, turn stars into "any but a line feed", anchor at both ends. */
function compileModel(glob: string): RegExp {
  return new RegExp(
    `^${glob.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&").replaceAll("\\*", "[^\\n]*")}$`,
  );
}

/** RFC 3986 section 5.2.4, step by step, on two buffers. */
function removeDotSegments(path: string): string {
  let input = path;
  let output = "";
  while (input !== "") {
    if (input.startsWith("/./")) input = input.slice(2);
    else if (input === "/.") input = "/";
    else if (input.startsWith("/../") || input === "/..") {
      input = input === "/.." ? "/" : input.slice(3);
      output = output.slice(0, Math.max(0, output.lastIndexOf("/")));
    } else {
      const next = input.indexOf("/", 1);
      output += next === -1 ? input : input.slice(0, next);
      input = next === -1 ? "" : input.slice(next);
    }
  }
  return output;
}

describe("compilePattern()", () => {
  const cases: [string, string, boolean][] = [
    ["*.png", "/a/b.png", true],
    ["*.png", "/a/b.PNG", false],
    ["*.png", "/a/b.png/c", false],
    ["/static/*", "/static/", true],
    ["/static/*", "/static", false],
    ["/static/*/x", "/static/a/b/x", true],
    ["*", "/", true],
    ["", "/", false],
    ["/a", "/a", true],
    ["/a", "/a/", false],
    ["/a*b*c", "/abc", true],
    ["/a*b*c", "/acb", false],
    ["/ab*bc", "/abc", false],
    ["/a?b", "/axb", false],
    ["/a?b", "/a?b", true],
    ["^/my/path$", "/my/path", false],
    ["/[ab]", "/a", false],
    ["/x.y", "/xzy", false],
    ["/pass/*", "/pass/a\nb", false],
    ["/pass/*", "/pass/a\rb", true],
    ["/pass/*", "/pass/a\u00e2\u0080\u00a8b", true],
    ["/pass/*", "/pass/\u00ff", true],
    ["/a\n*", "/a\nb", true],
    ["/ü", "/\u00c3\u00bc", true],
    ["**", "/anything", true],
  ];
  for (const [glob, path, expected] of cases) {
    it(`${expected ? "matches" : "does not match"} ${JSON.stringify(path)} with ${JSON.stringify(glob)}`, () => {
      assert.equal(compilePattern(glob)(path), expected);
    });
  }

  it("agrees with the regular expression that LiteFS builds", () => {
    const text = fc.string({
      unit: fc.constantFrom("/", "a", "b", "*", ".", "?", "\n", "$"),
      maxLength: 12,
    });
    fc.assert(
      fc.property(text, text, (glob, path) => {
        assert.equal(compilePattern(glob)(path), compileModel(glob).test(path));
      }),
      { numRuns: 2000 },
    );
  });

  it("stays linear where a regular expression backtracks", () => {
    const pattern = compilePattern(`${"*a".repeat(30)}*b`);
    assert.equal(pattern(`/${"a".repeat(50_000)}`), false);
  });
});

describe("decodePath()", () => {
  const cases: [string, string | undefined][] = [
    ["/a/b?c=%41", "/a/b"],
    ["/%61%2Fb", "/a/b"],
    ["/a%0Ab", "/a\nb"],
    ["/%ff", "/\u00ff"],
    ["/%C3%BC", "/\u00c3\u00bc"],
    ["/%2561", "/%61"],
    ["/a+b", "/a+b"],
    ["/%zz", undefined],
    ["/a%", undefined],
    ["/a%4", undefined],
    ["/a?%zz", "/a"],
    ["*", "*"],
  ];
  for (const [target, expected] of cases) {
    it(`reads ${target} as ${JSON.stringify(expected)}`, () =>
      assert.equal(decodePath(target), expected));
  }

  it("is the inverse of percent-encoding", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary-ascii" }), (text) => {
        assert.equal(decodePath(`/${encodeURIComponent(text)}`), `/${text}`);
      }),
    );
  });
});

describe("resolvePath()", () => {
  it("agrees with RFC 3986 section 5.2.4", () => {
    const path = fc
      .array(fc.constantFrom(".", "..", "a", "b.c", "", "...", ".a"), { maxLength: 8 })
      .map((segments) => `/${segments.join("/")}`);
    fc.assert(
      fc.property(path, (text) => {
        assert.equal(resolvePath(text), removeDotSegments(text));
      }),
      { numRuns: 1000 },
    );
  });

  it("takes a backslash for a slash", () => assert.equal(resolvePath("/a\\..\\b"), "/b"));
});
