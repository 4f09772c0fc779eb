import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { keyNames, keys } from "../adapters/drop-in/keys.ts";
import type { HeaderLines, IncomingRequest, ProxyOptions } from "../src/index.ts";
import { elsewhere, header, node } from "./node.ts";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

/** The lines of a table, each cell without the spaces that only align it. */
function rows(text: string): string[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) => line.replaceAll(/ *\| */g, "|").replaceAll(/-+/g, "-"));
}

/** The lines between two markers, without the head of their table. */
function table(name: string): string[] {
  const marked = new RegExp(`<!-- ${name}:begin -->([^]*)<!-- ${name}:end -->`).exec(readme);
  return rows(marked?.[1] ?? "").slice(2);
}

/** What makes a request one that a row speaks of. */
interface Kind {
  readonly headers: HeaderLines;
  readonly body?: Uint8Array;
}

const FLY: HeaderLines = ["Fly-Request-Id", "01J-ams"];

const MIB = 2 ** 20;

/** A request of which each row speaks. */
const KINDS: Readonly<Record<string, Kind>> = {
  "that has gone from node to node twice": { headers: ["Txid-Hops", "2"] },
  "any other": { headers: FLY },
  "that comes back from a replay that failed": {
    headers: [...FLY, "Fly-Replay-Failed", "instance=p;reason=timeout"],
  },
  "that another node's proxy has sent": { headers: [...FLY, "Txid-Hops", "1"] },
  "that did not come through Fly Proxy": { headers: [] },
  "without a body": { headers: FLY },
  "of up to 1 MiB": {
    headers: [...FLY, "Content-Length", String(MIB)],
    body: new Uint8Array(MIB),
  },
  "of more than 1 MiB": {
    headers: [...FLY, "Content-Length", String(MIB + 1)],
    body: new Uint8Array(MIB + 1),
  },
  "that does not say how long it is": {
    headers: [...FLY, "Transfer-Encoding", "chunked"],
    body: new Uint8Array(1),
  },
};

/** Sends a write to a replica and returns what becomes of it, in the words of the table. */
async function wayOf(
  forward: ProxyOptions["forward"],
  kind: Kind,
  primaryUrl: ProxyOptions["primaryUrl"],
): Promise<string> {
  const replica = node(elsewhere, { forward, primaryUrl });
  const body: Partial<IncomingRequest> = kind.body === undefined ? {} : { body: kind.body };
  const response = await replica.send("POST", "/", kind.headers, body);
  const [sent, ...more] = replica.seen;
  if (response.status === 409 && sent === undefined) {
    assert.match(header(response, "fly-replay")[0] ?? "", /^instance=p;/);
    return "is replayed";
  }
  if (sent === undefined) return String(response.status);
  assert.equal(sent.origin, "http://p:8080");
  assert.equal(response.status, 200);
  assert.deepEqual(more, []);
  return "is sent";
}

describe("README.md", () => {
  for (const row of table("ways")) {
    const [, name = "", request = "", withUrl, without] = row.split("|");
    const named = name.replaceAll("`", "");
    it(`tells what becomes of a request: ${named}, ${request}`, async () => {
      const kind = KINDS[request];
      assert.ok(kind, "no such request is known");
      for (const forward of ["auto", "replay", "direct"] as const) {
        if (named !== "any" && named !== forward) continue;
        assert.equal(await wayOf(forward, kind, (hostname) => `http://${hostname}:8080`), withUrl);
        assert.equal(await wayOf(forward, kind, undefined), without);
      }
    });
  }

  for (const forward of ["auto", "replay", "direct"] as const) {
    it(`tells it of every kind of request with ${forward}, by the first row that fits`, async () => {
      const lines = table("ways").map((row) => row.replaceAll("`", "").split("|"));
      for (const [request, kind] of Object.entries(KINDS)) {
        const first = lines.find(
          ([, name, of]) =>
            (name === "any" || name === forward) && (of === request || of === "any other"),
        );
        // Without a row of its own an "any other" is none of them.
        if (first === undefined && request === "any other") continue;
        assert.equal(await wayOf(forward, kind, undefined), first?.[4], request);
      }
    });
  }

  it("lists every key with its values, its default and its meaning", () => {
    const expected = keyNames().map((name) => {
      const { standard, help, sign, flag } = keys[name];
      const one = flag === "switch" ? "true, false" : sign.replaceAll("|", ", ");
      const value = flag === "values" ? `list of ${one}` : one;
      return `|\`${name}\`|${value}|${standard}|${help}|`.replaceAll(/-+/g, "-");
    });
    assert.deepEqual(table("keys"), expected);
  });
});
