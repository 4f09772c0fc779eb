import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { HeaderLines } from "../src/message.ts";
import { type Carriage, formatCookie, isShareable, type Minted, withTokens } from "../src/mint.ts";
import { bare } from "../src/token.ts";

const T27 = "0000000000000027";
const T28 = "0000000000000028";
const NOW = Date.UTC(2026, 10, 22, 19, 10, 8);
const COOKIES: Carriage = {
  byHeader: false,
  byCookie: true,
  reset: false,
  expiry: 300_000,
  secure: false,
  now: NOW,
};
const ATTRIBUTES = "; Path=/; Expires=Sun, 22 Nov 2026 19:15:08 GMT; Max-Age=300; HttpOnly";

describe("formatCookie()", () => {
  it("writes what LiteFS writes, and Max-Age", () => {
    assert.equal(formatCookie("__txid", T27, COOKIES), `__txid=${T27}${ATTRIBUTES}`);
  });

  it("adds Secure and SameSite on request", () => {
    const cookie = formatCookie("__txid", T27, { ...COOKIES, secure: true });
    assert.ok(cookie.endsWith("; HttpOnly; Secure; SameSite=Lax"), cookie);
  });

  it("tells each cookie's own age, though another one ends in the same second", () => {
    formatCookie("__txid", T27, { ...COOKIES, expiry: 240_000, now: NOW + 60_000 });
    assert.equal(formatCookie("__txid", T27, COOKIES), `__txid=${T27}${ATTRIBUTES}`);
  });

  it("takes a cookie away", () => {
    assert.equal(
      formatCookie("__txid", undefined, COOKIES),
      "__txid=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; HttpOnly",
    );
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
    ["QUERY", [], false],
    ["QUERY", ["Cache-Control", "public, max-age=60"], true],
    ["GET", ["Expires", "Thu, 19 Nov 1981 08:52:00 GMT"], false],
    ["GET", ["Expires", "Sun, 22 Nov 2026 19:10:08 GMT"], false],
    [
      "GET",
      ["Expires", "Sun, 22 Nov 2026 19:10:07 GMT", "Date", "Sun, 22 Nov 2026 19:09:00 GMT"],
      true,
    ],
    [
      "GET",
      ["Expires", "Sun, 22 Nov 2026 19:15:08 GMT", "Date", "Sun, 22 Nov 2026 19:15:08 GMT"],
      false,
    ],
    ["GET", ["Expires", "Thu, 19 Nov 1981 08:52:00 GMT", "Cache-Control", "max-age=60"], true],
    ["POST", ["Expires", "Thu, 19 Nov 1981 08:52:00 GMT", "Content-Location", "/a"], false],
    ["GET", ["Cache-Control", 'private="x-user", max-age=60'], true],
    ["POST", ["Cache-Control", 'private="a, b", max-age=60', "Content-Location", "/a"], true],
    ["GET", ["CDN-Cache-Control", "max-age=600"], true],
    ["GET", ["CDN-Cache-Control", "max-age=600", "Cache-Control", "no-store"], true],
    ["GET", ["Netlify-CDN-Cache-Control", "public", "Cache-Control", "private"], true],
    ["GET", ["Surrogate-Control", "max-age=600"], true],
    ["GET", ["CDN-Cache-Control", "private, max-age=600"], false],
    ["GET", ["CDN-Cache-Control", "no-store", "Cache-Control", "max-age=60"], true],
    ["GET", ["CDN-Cache-Control", "max-age=0"], false],
    ["POST", ["CDN-Cache-Control", "max-age=600"], false],
    ["GET", ["X-Accel-Expires", "60", "Cache-Control", "private"], true],
    ["GET", ["X-Accel-Expires", "@1795374600"], true],
    ["GET", ["X-Accel-Expires", "0"], false],
  ];
  for (const [method, headers, expected] of cases) {
    it(`says ${expected} of ${method} with ${headers.join(": ") || "nothing"}`, () => {
      assert.equal(isShareable(method, headers, NOW), expected);
    });
  }
});

describe("withTokens()", () => {
  const both: Minted = {
    database: "",
    token: { ...bare(T27), history: "h" },
    written: true,
    seen: true,
  };

  function lines(
    method: string,
    headers: HeaderLines,
    minted: readonly Minted[],
    carriage: Partial<Carriage> = {},
  ): HeaderLines {
    const response = { status: 200, statusText: "", headers, body: null };
    return withTokens(response, method, minted, { ...COOKIES, ...carriage }).headers;
  }

  it("keeps every other line in its place", () => {
    const headers = ["A", "1", "Set-Cookie", "a=1; Path=/", "a", "2", "set-cookie", "__txid_x=1"];
    const all = lines("POST", headers, [both]);
    assert.deepEqual(all.slice(0, headers.length), headers);
    assert.deepEqual(all.slice(headers.length), [
      "Set-Cookie",
      `__txid=${T27}${ATTRIBUTES}`,
      "Set-Cookie",
      `__txid_seen=${T27}/h${ATTRIBUTES}`,
    ]);
  });

  it("drops what the app sets under its names", () => {
    const headers = ["Set-Cookie", `__txid=${T28}`, "set-cookie", "__txid_seen =x", "Txid", T28];
    assert.deepEqual(lines("POST", headers, [both]).length, 4);
  });

  it("keeps what was written apart from what was seen", () => {
    assert.deepEqual(lines("POST", [], [{ ...both, written: false }]), [
      "Set-Cookie",
      `__txid_seen=${T27}/h${ATTRIBUTES}`,
    ]);
  });

  it("writes the whole of a signed token into LiteFS's cookie", () => {
    const proof = { issued: 5, key: "k", signature: "s".repeat(43) };
    const signed = { ...both, token: { ...bare(T27), proof }, seen: false };
    assert.deepEqual(lines("POST", [], [signed]), [
      "Set-Cookie",
      `__txid=${T27}///5/k/${"s".repeat(43)}${ATTRIBUTES}`,
    ]);
  });

  it("writes one header line for all databases", () => {
    const other: Minted = { database: "other", token: undefined, written: true, seen: true };
    assert.deepEqual(
      lines("POST", [], [both, other], { byHeader: true, byCookie: false, reset: true }),
      ["Txid", `${T27}/h;reset, other=0;reset`],
    );
  });

  const caching: [string[], string[]][] = [
    [[], ["private"]],
    [["no-cache"], ["no-cache, private"]],
    [["public, max-age=0, s-maxage=0"], ["max-age=0, private"]],
    [["private, max-age=60"], ["private, max-age=60"]],
    [["no-store"], ["no-store"]],
    [["must-revalidate", "public, max-age=0"], ["must-revalidate, max-age=0, private"]],
  ];
  for (const [before, after] of caching) {
    it(`turns Cache-Control ${JSON.stringify(before)} of a GET into ${JSON.stringify(after)}`, () => {
      const all = lines(
        "GET",
        before.flatMap((value) => ["Cache-Control", value]),
        [both],
      );
      const values = all.filter((_, index) => all[index - 1] === "Cache-Control");
      assert.deepEqual(values, after);
    });
  }

  it("makes private what a cache may store: the answer to a QUERY, and to a POST that names what it is", () => {
    const stored = [
      "Content-Location",
      "/a",
      "Cache-Control",
      "max-age=0, stale-while-revalidate=9",
    ];
    assert.deepEqual(lines("QUERY", [], [both]).slice(-2), ["Cache-Control", "private"]);
    assert.deepEqual(lines("POST", stored, [both]).slice(-2), [
      "Cache-Control",
      "max-age=0, stale-while-revalidate=9, private",
    ]);
  });

  it("forbids the caches that are spoken to apart, for they take no notice of Cache-Control", () => {
    const headers = ["CDN-Cache-Control", "no-cache", "Surrogate-Control", "no-store"];
    const all = lines("GET", headers, [both]);
    const values = all.filter((_, index) => /^cdn-cache-control$/i.test(all[index - 1] ?? ""));
    assert.deepEqual(values, ["no-cache", "no-store"]);
    assert.equal(all.filter((line) => /^surrogate-control$/i.test(line)).length, 1);
  });

  it("says nothing of caching on the answer to a write", () => {
    assert.ok(!lines("POST", [], [both]).includes("Cache-Control"));
  });
});
