import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { formatCookie, isShareable, withToken } from "../src/mint.ts";
import { parseToken, readToken } from "../src/token.ts";

const T27 = "0000000000000027";
const T28 = "0000000000000028";

describe("parseToken()", () => {
  it("reads 16 hexadecimal digits of either case", () => {
    assert.equal(parseToken("00000000000000aF"), "00000000000000af");
    assert.equal(parseToken("ffffffffffffffff"), "ffffffffffffffff");
  });

  it("reads nothing else", () => {
    const others = [
      "",
      "27",
      T27.slice(1),
      `0${T27}`,
      "0000000000000000",
      "+000000000000027",
      "000000000000002g",
      "0x00000000000027",
    ];
    for (const text of [
      ...others,
      " 000000000000027",
      "0000_00000000027",
      "000000000000002\u0131",
    ]) {
      assert.equal(parseToken(text), undefined, text);
    }
  });
});

describe("readToken()", () => {
  const cases: [string, string[], string | undefined][] = [
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
    ["a name that only ends so", [`x__txid=${T27}`], undefined],
    ["a name that only begins so", [`__txid_b=${T27}`], undefined],
    ["a name in capitals", [`__TXID=${T27}`], undefined],
  ];
  for (const [name, lines, expected] of cases) {
    it(`reads ${name}`, () => {
      assert.equal(
        readToken(
          lines.flatMap((line) => ["Cookie", line]),
          "__txid",
        ),
        expected,
      );
    });
  }

  it("never throws and never invents a token", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary-ascii" }), (value) => {
        const token = readToken(["cookie", value], "__txid");
        assert.ok(token === undefined || value.toLowerCase().includes(token));
      }),
    );
  });
});

describe("formatCookie()", () => {
  const now = Date.UTC(2026, 10, 22, 19, 10, 8);

  it("writes what LiteFS writes, and Max-Age", () => {
    assert.equal(
      formatCookie(T27, now, { name: "__txid", expiry: 300_000, secure: false }),
      `__txid=${T27}; Path=/; Expires=Sun, 22 Nov 2026 19:15:08 GMT; Max-Age=300; HttpOnly`,
    );
  });

  it("adds Secure and SameSite on request", () => {
    const cookie = formatCookie(T27, now, { name: "__txid", expiry: 300_000, secure: true });
    assert.ok(cookie.endsWith("; HttpOnly; Secure; SameSite=Lax"), cookie);
  });
});

describe("isShareable()", () => {
  const cases: [string, string[], boolean][] = [
    ["GET", [], false],
    ["GET", ["Cache-Control", "public"], true],
    ["GET", ["cache-control", "no-cache", "Cache-Control", "S-MaxAge=5"], true],
    ["GET", ["Cache-Control", "max-age=60"], true],
    ["GET", ["Cache-Control", "private, max-age=60"], false],
    ["GET", ["Cache-Control", "no-store, public"], false],
    ["HEAD", ["Expires", "Sun, 22 Nov 2026 19:15:08 GMT"], true],
    ["POST", ["Cache-Control", "public, max-age=60"], false],
    ["POST", ["Cache-Control", "max-age=60", "Content-Location", "/a"], true],
    ["GET", ["Cache-Control", "max-age=0"], false],
    ["GET", ["Cache-Control", "public, max-age=0, must-revalidate"], false],
    ["GET", ["Cache-Control", "no-cache", "Expires", "0"], false],
    ["GET", ["Cache-Control", "max-age=0, s-maxage=60"], true],
    ["POST", ["Cache-Control", "max-age=0", "Content-Location", "/a"], false],
    ["PUT", ["Cache-Control", "max-age=60", "Content-Location", "/a"], false],
  ];
  for (const [method, headers, expected] of cases) {
    it(`says ${expected} of ${method} with ${headers.join(": ") || "nothing"}`, () => {
      assert.equal(isShareable(method, headers), expected);
    });
  }
});

describe("withToken()", () => {
  const cookie = { name: "__txid", expiry: 300_000, secure: false };

  it("keeps every other line in its place", () => {
    const headers = ["A", "1", "Set-Cookie", "a=1; Path=/", "a", "2", "set-cookie", "__txid_x=1"];
    const minted = withToken(
      { status: 200, statusText: "", headers, body: null },
      "POST",
      T27,
      0,
      cookie,
    );
    assert.deepEqual(minted.headers.slice(0, headers.length), headers);
    assert.equal(minted.headers.length, headers.length + 2);
  });

  it("makes a response to a safe method private when it says nothing of caching", () => {
    const bare = withToken(
      { status: 200, statusText: "", headers: [], body: null },
      "GET",
      T27,
      0,
      cookie,
    );
    assert.deepEqual(bare.headers.slice(2), ["Cache-Control", "private"]);
    const spoken = ["Cache-Control", "no-cache"];
    const kept = withToken(
      { status: 200, statusText: "", headers: spoken, body: null },
      "GET",
      T27,
      0,
      cookie,
    );
    assert.deepEqual(kept.headers.slice(0, 2), spoken);
    assert.equal(kept.headers.length, 4);
  });
});
