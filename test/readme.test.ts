import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { keyNames, keys } from "../adapters/drop-in/keys.ts";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

/** The lines of a table, each cell without the spaces that only align it. */
function rows(text: string): string[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) => line.replaceAll(/ *\| */g, "|").replaceAll(/-+/g, "-"));
}

describe("README.md", () => {
  it("lists every key with its default and its meaning", () => {
    const table = /<!-- keys:begin -->([^]*)<!-- keys:end -->/.exec(readme)?.[1] ?? "";
    const expected = keyNames().map((name) => {
      const { standard, help } = keys[name];
      return `|\`${name}\`|${standard}|${help}|`.replaceAll(/-+/g, "-");
    });
    assert.deepEqual(rows(table).slice(2), expected);
  });
});
