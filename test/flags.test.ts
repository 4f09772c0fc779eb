import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { ConfigError } from "../adapters/drop-in/error.ts";
import { type Flags, help, parseFlags } from "../adapters/drop-in/flags.ts";
import { keyNames, keys } from "../adapters/drop-in/keys.ts";
import { VERSION } from "../adapters/drop-in/version.ts";

/** Splits a command line at its spaces. */
function parse(line: string): Flags {
  return parseFlags(line.split(" ").filter((word) => word !== ""));
}

function refuses(line: string, message: string): void {
  assert.throws(() => parse(line), { name: "ConfigError", message });
}

describe("parseFlags()", () => {
  it("takes an empty command line", () => {
    assert.deepEqual(parse(""), {
      config: undefined,
      expandEnvironment: true,
      instead: undefined,
      values: {},
      command: undefined,
    });
  });

  it("takes a value after a space and after an equals sign", () => {
    assert.deepEqual(parse("--max-lag 5s --target=localhost:8081").values, {
      "max-lag": 5000,
      target: "http://localhost:8081",
    });
  });

  it("takes one hyphen as well as two, as LiteFS does", () => {
    const flags = parse("-config x.yml -no-expand-env -debug");
    assert.equal(flags.config, "x.yml");
    assert.equal(flags.expandEnvironment, false);
    assert.deepEqual(flags.values, { debug: true });
  });

  it("collects flags of a list and takes the last of the others", () => {
    assert.deepEqual(parse("--passthrough *.png --passthrough=/a/* --db a.db --db b.db").values, {
      passthrough: ["*.png", "/a/*"],
      db: "b.db",
    });
  });

  it("turns switches on and off", () => {
    assert.deepEqual(parse("--debug").values, { debug: true });
    assert.deepEqual(parse("--no-debug").values, { debug: false });
    assert.deepEqual(parse("--debug=false").values, { debug: false });
    assert.deepEqual(parse("--debug --no-debug").values, { debug: false });
    assert.deepEqual(parse("--no-api --no-secure-cookie --no-health-target").values, {
      api: false,
      "secure-cookie": false,
      "health-target": false,
    });
  });

  it("empties a list, and fills it anew after that", () => {
    assert.deepEqual(parse("--no-passthrough").values, { passthrough: [] });
    assert.deepEqual(parse("--passthrough /a --no-passthrough --passthrough /b").values, {
      passthrough: ["/b"],
    });
  });

  it("takes a value that begins with one hyphen", () => {
    assert.deepEqual(parse("--max-lag -1s").values, { "max-lag": -1000 });
  });

  it("keeps an equals sign in a value", () => {
    assert.deepEqual(parseFlags(["--passthrough=/a=b*"]).values, { passthrough: ["/a=b*"] });
  });

  it("leaves everything after -- to the command, the next -- as well", () => {
    const flags = parse("--debug -- node app.js --debug -- --x");
    assert.deepEqual(flags.command, ["node", "app.js", "--debug", "--", "--x"]);
    assert.deepEqual(flags.values, { debug: true });
  });

  it("puts help before version before check", () => {
    assert.equal(parse("--check --version --help").instead, "help");
    assert.equal(parse("--check --version").instead, "version");
    assert.equal(parse("--check").instead, "check");
    assert.equal(parse("-h").instead, "help");
  });

  for (const [line, message] of [
    ["--max-lag 5", '--max-lag: "5" is not a duration, write a unit such as "5s"'],
    ["--max-lag=", '--max-lag: "" is not a duration, write one such as "1m30s"'],
    ["--wait-timeout -1s", '--wait-timeout: "-1s" is too short, write "0s" or more'],
    ["--max-lagg 5s", "--max-lagg: unknown flag, did you mean --max-lag"],
    ["--maxLag 5s", "--maxLag: unknown flag, did you mean --max-lag"],
    ["--zzzzzzzz", "--zzzzzzzz: unknown flag, see --help"],
    ["--target", "--target: has no value, write --target=HOST:PORT"],
    ["--target --debug", "--target: has no value, write --target=HOST:PORT"],
    ["--config", "--config: has no value, write --config=FILE"],
    ["--debug=maybe", '--debug: "maybe" is not a boolean, write true or false'],
    ["--no-debug=1", "--no-debug: takes no value, write --no-debug alone"],
    ["--check=1", "--check: takes no value, write --check alone"],
    ["--no-target", "--no-target: unknown flag, did you mean --target"],
    ["--debug false", "false: not a flag, write -- before the app's command"],
    ["node app.js", "node: not a flag, write -- before the app's command"],
    ["-", "-: not a flag, write -- before the app's command"],
    ["--=x", "--=x: not a flag, write -- before the app's command"],
    ["--debug --", "--: no command follows, write one such as -- node app.js"],
    ["--log xml", '--log: "xml" is not known here, write "text" or "json"'],
    [
      "--secure-cookie maybe",
      '--secure-cookie: "maybe" is not known here, write "auto" or "true" or "false"',
    ],
    ["--addr 8080", '--addr: "8080" is a port without its colon, write ":8080"'],
    ["--health-path health", '--health-path: "health" is not a path, write one such as "/health"'],
    [
      "--trusted-proxies 10.0.0.0/33",
      '--trusted-proxies: "10.0.0.0/33" is not an address or a network, write one such as "10.0.0.0/8"',
    ],
    ["--__proto__=x", "--__proto__: unknown flag, see --help"],
    ["--constructor x", "--constructor: unknown flag, see --help"],
  ] as const) {
    it(`refuses ${line}`, () => refuses(line, message));
  }

  it("refuses in one line whatever the argument holds", () => {
    for (const argument of ["--a\nb", "x\ny", "--target=a\nb", "--max-lag=\u001b[2J"]) {
      assert.throws(
        () => parseFlags([argument]),
        (error) => error instanceof ConfigError && !/\p{Cc}/u.test(error.message),
      );
    }
  });
});

describe("help()", () => {
  it("names every key with its default", () => {
    for (const name of keyNames()) {
      const row = help()
        .split("\n")
        .find((line) => line.startsWith(`  --${name} `));
      assert.ok(row?.includes(`(${keys[name].standard}`), name);
    }
  });
});

describe("VERSION", () => {
  for (const name of ["package.json", "deno.json"]) {
    it(`is the version in ${name}`, () => {
      const manifest = readFileSync(new URL(`../${name}`, import.meta.url), "utf8");
      assert.equal(JSON.parse(manifest).version, VERSION);
    });
  }
});
