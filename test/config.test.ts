import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Config, configure } from "../adapters/drop-in/config.ts";
import { ConfigError } from "../adapters/drop-in/error.ts";
import { parseFlags } from "../adapters/drop-in/flags.ts";
import { primaryUrl } from "../adapters/drop-in/primary-url.ts";

/** The keys without which nothing runs. */
const base = 'proxy:\n  addr: ":8080"\n  target: "localhost:8081"\n  db: my.db\n';

/** Configures from a file's text, a command line and an environment. */
function read(
  text: string | undefined,
  argv: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): Config {
  const file = text === undefined ? undefined : { name: "proxy.yml", text };
  return configure(parseFlags(argv), file, (name) => environment[name]);
}

function refuses(text: string | undefined, message: string, argv: readonly string[] = []): void {
  assert.throws(() => read(text, argv), { name: "ConfigError", message });
}

const defaults = {
  storage: { dir: "/litefs", db: "my.db", api: "http://127.0.0.1:20202", databases: [] },
  proxy: {
    target: "http://localhost:8081",
    passthrough: [],
    alwaysForward: [],
    maxLag: 10_000,
    waitTimeout: 5000,
    reads: "session",
    signing: undefined,
    cluster: undefined,
    foreignTokens: "primary",
    forward: "auto",
    replay: { by: "instance", region: undefined, timeout: 5000, fallback: "force_self" },
    maxForwards: 1000,
    hold: 0,
    primaryReads: "auto",
    primaryReadRate: 100,
    stale: [],
    maxWaiters: 10_000,
    maxWaitersPerClient: 100,
    clientHeader: undefined,
    wakeLimit: 64,
    plausibleGap: 2 ** 32,
    serverTiming: false,
    primaryRedirectTimeout: 5000,
    targetConnectTimeout: 30_000,
    cookieExpiry: 300_000,
    secureCookie: "auto",
    healthPath: "/litefs/health",
    healthDetail: false,
    healthTarget: undefined,
    trustedProxies: [
      "127.0.0.0/8",
      "10.0.0.0/8",
      "172.16.0.0/12",
      "192.168.0.0/16",
      "169.254.0.0/16",
      "100.64.0.0/10",
      "::1/128",
      "fc00::/7",
      "fe80::/10",
    ],
  },
  primaryUrl: "http://{hostname}:8080",
  server: {
    port: 8080,
    hostname: undefined,
    server: "exact",
    reusePort: false,
    readTimeout: 0,
    readHeaderTimeout: 10_000,
    writeTimeout: 0,
    targetTimeout: 0,
    idleTimeout: 30_000,
  },
  drain: { delay: 1000, timeout: 10_000 },
  log: { format: "text", debug: false },
};

/** The sample that LiteFS documents, in its shape: every section, most of them none of ours. */
const litefsYml = `
fuse:
  dir: "/data/litefs"
  allow-other: false
data:
  dir: "/var/lib/litefs"
  retention: "10m"
exec:
  - cmd: "node migrate.js"
    if-candidate: true
  - cmd: "node proxy.js -- node app.js"
exit-on-error: false
skip-sync: false
strict-verify: false
http:
  addr: ":20299"
proxy:
  addr: ":8080"
  target: "localhost:8081"
  db: "my.db"
  debug: false
  passthrough: ["/debug/*", "*.png"]
lease:
  type: "consul"
  candidate: \${FLY_REGION == PRIMARY_REGION}
  consul: { url: "\${FLY_CONSUL_URL}", key: "litefs/primary" }
backup: { type: file, path: /backup }
log: { format: text }
tracing:
  path: "/var/log/lifefs/trace.log"
`;

describe("configure()", () => {
  it("has LiteFS's defaults", () => {
    assert.deepEqual(read(base).settings, defaults);
  });

  it("runs from flags alone", () => {
    const argv = ["--addr", ":8080", "--target", "localhost:8081", "--db", "my.db"];
    assert.deepEqual(read(undefined, argv).settings, defaults);
  });

  it("takes a whole litefs.yml, with the mount and the API of its own sections", () => {
    const { settings } = read(litefsYml, [], { FLY_REGION: "ams", PRIMARY_REGION: "ams" });
    assert.deepEqual(settings.storage, {
      dir: "/data/litefs",
      db: "my.db",
      api: "http://127.0.0.1:20299",
      databases: [],
    });
    assert.deepEqual(settings.proxy.passthrough, ["/debug/*", "*.png"]);
  });

  it("takes every key of ours in the file", () => {
    const { settings } = read(`${base}
  max-lag: 0s
  debug: yes
  passthrough: ["*.png"]
  always-forward:
    - /api/auth/*
  primary-redirect-timeout: 1m
  read-timeout: 1s
  read-header-timeout: 2s
  write-timeout: 3s
  idle-timeout: 4s
  dir: mount
  api: http://litefs:1234/
  wait-timeout: 500ms
  reads: off
  databases: [users.db, log]
  signing-keys: ["k2:0123456789abcdef", "k1:fedcba:9876543210"]
  cluster: prod
  foreign-tokens: error
  forward: direct
  primary-url: https://{hostname}.internal:8443
  replay-by: prefer_instance
  replay-region: iad,ord
  replay-timeout: 2s
  replay-fallback: off
  max-forwards: 5
  hold: 300ms
  primary-reads: always
  primary-read-rate: 7
  stale: ["/feed/*"]
  max-waiters: 20
  max-waiters-per-client: 2
  client-header: X-Real-IP
  wake-limit: 1
  plausible-gap: 0
  server-timing: true
  target-connect-timeout: 0s
  cookie-expiry: 1h
  secure-cookie: true
  health-path: /health
  health-detail: true
  health-target: /up
  drain-delay: 0s
  drain-timeout: 1m30s
  trusted-proxies: ["fdaa::/16", 192.0.2.7]
  log: json
  server: native
  reuse-port: true
`);
    assert.deepEqual(settings, {
      storage: {
        dir: "mount",
        db: "my.db",
        api: "http://litefs:1234",
        databases: ["users.db", "log"],
      },
      proxy: {
        target: "http://localhost:8081",
        passthrough: ["*.png"],
        alwaysForward: ["/api/auth/*"],
        maxLag: 0,
        waitTimeout: 500,
        reads: "off",
        signing: {
          keys: [
            { id: "k2", secret: "0123456789abcdef" },
            { id: "k1", secret: "fedcba:9876543210" },
          ],
        },
        cluster: "prod",
        foreignTokens: "error",
        forward: "direct",
        replay: { by: "prefer_instance", region: "iad,ord", timeout: 2000, fallback: "off" },
        maxForwards: 5,
        hold: 300,
        primaryReads: "always",
        primaryReadRate: 7,
        stale: ["/feed/*"],
        maxWaiters: 20,
        maxWaitersPerClient: 2,
        clientHeader: "X-Real-IP",
        wakeLimit: 1,
        plausibleGap: 0,
        serverTiming: true,
        primaryRedirectTimeout: 60_000,
        targetConnectTimeout: 0,
        cookieExpiry: 3_600_000,
        secureCookie: true,
        healthPath: "/health",
        healthDetail: true,
        healthTarget: "/up",
        trustedProxies: ["fdaa::/16", "192.0.2.7"],
      },
      primaryUrl: "https://{hostname}.internal:8443",
      server: {
        port: 8080,
        hostname: undefined,
        server: "native",
        reusePort: true,
        readTimeout: 1000,
        readHeaderTimeout: 2000,
        writeTimeout: 3000,
        targetTimeout: 0,
        idleTimeout: 4000,
      },
      drain: { delay: 0, timeout: 90_000 },
      log: { format: "json", debug: true },
    });
  });

  it("finds the primary by Fly.io's private network there, and by its name elsewhere", () => {
    const url = (argv: readonly string[], environment?: Readonly<Record<string, string>>) =>
      read(base, argv, environment).settings.primaryUrl;
    assert.equal(url([]), "http://{hostname}:8080");
    assert.equal(url(["--addr", ":81"]), "http://{hostname}:81");
    assert.equal(url([], { FLY_APP_NAME: "shop" }), "http://{hostname}.vm.shop.internal:8080");
    assert.equal(
      url(["--primary-url", "{hostname}:9"], { FLY_APP_NAME: "shop" }),
      "http://{hostname}:9",
    );
    assert.equal(url(["--no-primary-url"]), undefined);
    assert.equal(url(["--addr", ":0"]), undefined);
  });

  it("lets flags win over the file, lists as a whole", () => {
    const { settings } = read(`${base}  passthrough: [/a, /b]\n  max-lag: 1s\n`, [
      "--passthrough",
      "/c",
      "--max-lag",
      "2s",
      "--dir",
      "/elsewhere",
      "--no-api",
    ]);
    assert.deepEqual(settings.proxy.passthrough, ["/c"]);
    assert.equal(settings.proxy.maxLag, 2000);
    assert.deepEqual(settings.storage, { ...defaults.storage, dir: "/elsewhere", api: false });
  });

  it("prefers a key of ours to LiteFS's section", () => {
    const { storage } = read(
      `${base}  dir: /a\n  api: false\nfuse: {dir: /b}\nhttp: {addr: ":1"}\n`,
    ).settings;
    assert.deepEqual(storage, { ...defaults.storage, dir: "/a", api: false });
  });

  it("keeps the defaults where nothing follows the colon", () => {
    const text = `${base}  max-lag:\n  debug: ~\n  passthrough: null\n  dir:\n  api:\nfuse:\nhttp: ~\nlease:\n`;
    assert.deepEqual(read(text).settings, defaults);
    const argv = ["--addr=:8080", "--target=localhost:8081", "--db=my.db"];
    for (const empty of ["proxy:\n", "proxy: ~\n", "proxy: {}\n", "---\n", "fuse: {dir: }\n"]) {
      assert.deepEqual(read(empty, argv).settings, defaults, empty);
    }
  });

  it("takes the server's timeouts as Go does: 0 is the read timeout, less is none", () => {
    const zero = read(
      `${base}  read-timeout: 7s\n  read-header-timeout: 0s\n  idle-timeout: '0'\n`,
    );
    assert.equal(zero.settings.server.readHeaderTimeout, 7000);
    assert.equal(zero.settings.server.idleTimeout, 7000);
    const less = read(
      `${base}  read-timeout: 7s\n  read-header-timeout: -1s\n  idle-timeout: -1s\n  write-timeout: -1s\n`,
    );
    assert.equal(less.settings.server.readHeaderTimeout, 0);
    assert.equal(less.settings.server.idleTimeout, 0);
    assert.equal(less.settings.server.writeTimeout, 0);
    assert.equal(read(`${base}  read-timeout: -1s\n`).settings.server.readTimeout, 0);
  });

  it("keeps a negative max-lag, which switches the check off", () => {
    assert.equal(read(`${base}  max-lag: -1s\n`).settings.proxy.maxLag, -1000);
  });

  it("cuts a duration that no timer can run", () => {
    assert.equal(read(`${base}  wait-timeout: 1000h\n`).settings.proxy.waitTimeout, 2 ** 31 - 1);
  });
});

describe("configure(): environment", () => {
  it("expands variables before YAML is read", () => {
    const { settings } = read(
      `proxy:\n  addr: ":$PORT"\n  target: "\${APP}"\n  db: $DB # $NOTHING\n  debug: \${ENV == 'dev'}\n$MORE`,
      [],
      { PORT: "8080", APP: "localhost:8081", DB: "my.db", ENV: "dev", MORE: "  max-lag: 3s\n" },
    );
    assert.equal(settings.server.port, 8080);
    assert.equal(settings.log.debug, true);
    assert.equal(settings.proxy.maxLag, 3000);
  });

  it("does not with --no-expand-env", () => {
    const { settings } = read(base.replace("my.db", "$DB"), ["--no-expand-env"], { DB: "x" });
    assert.equal(settings.storage.db, "$DB");
  });

  it("takes a variable that is not set for nothing, as LiteFS does", () => {
    refuses(
      base.replace("localhost:8081", "$TARGET"),
      'proxy.yml:3: proxy.target: missing or empty, write the app\'s host and port such as "localhost:8081", see --help',
    );
  });
});

describe("configure(): YAML as strict as LiteFS", () => {
  for (const [lines, message] of [
    [
      "  primary-url: http://p:8080",
      '5: proxy.primary-url: "http://p:8080" has no {hostname}, write one such as "http://{hostname}:8080"',
    ],
    [
      "  primary-url: http://{hostname}/{hostname}",
      '5: proxy.primary-url: "http://{hostname}/{hostname}" has {hostname} more than once, write one such as "http://{hostname}:8080"',
    ],
    [
      "  primary-url: http://{hostname}:8080/x",
      '5: proxy.primary-url: "http://primary:8080/x" is not host and port alone, write "http://{hostname}:8080"',
    ],
    [
      "  replay-region: Iad",
      '5: proxy.replay-region: "Iad" is no list of regions, write one such as "iad,ord"',
    ],
    [
      "  replay-by: region\n  replay-region: ''",
      '6: proxy.replay-region: missing or empty, write the regions where the primary may be such as "iad", see --help',
    ],
    ["  max-lag: 5", '5: proxy.max-lag: 5 is not a duration, write a unit such as "5s"'],
    ['  max-lag: "5"', '5: proxy.max-lag: "5" is not a duration, write a unit such as "5s"'],
    ["  max-lag: 0", '5: proxy.max-lag: 0 is not a duration, write a unit such as "0s"'],
    ["  max-lag: 5 s", '5: proxy.max-lag: "5 s" is not a duration, write one such as "1m30s"'],
    ["  max-lag: 5d", '5: proxy.max-lag: "5d" is not a duration, write one such as "1m30s"'],
    ["  max-lag: [5s]", "5: proxy.max-lag: found a list, write one value"],
    ["  debug: 'true'", '5: proxy.debug: "true" is a text, write true without quotes'],
    ["  debug: 1", '5: proxy.debug: "1" is not a boolean, write true or false'],
    ["  debug: oN", '5: proxy.debug: "oN" is not a boolean, write true or false'],
    ["  debug: {}", "5: proxy.debug: found a section, write true or false"],
    ["  passthrough: '*.png'", '5: proxy.passthrough: "*.png" is not a list, write ["*.png"]'],
    [
      "  passthrough: [[a]]",
      "5: proxy.passthrough: found a list in the list, write one value an entry",
    ],
    [
      "  passthrough: {a: b}",
      '5: proxy.passthrough: found a section, write a list such as ["a", "b"]',
    ],
    ["  passthrough: [*.png]", '5: *.png is an alias to YAML, write it in quotes: "*.png"'],
    ["  passthrough: [*]", '5: a * alone is an alias to YAML, write it in quotes: "*"'],
    ["  passthrough: *.png", '5: *.png is an alias to YAML, write it in quotes: "*.png"'],
    ["  foo: 1", "5: proxy.foo: unknown key, remove it or see --help"],
    ["  max_lag: 5s", '5: proxy.max_lag: unknown key, did you mean "max-lag"'],
    ["  maxLag: 5s", '5: proxy.maxLag: unknown key, did you mean "max-lag"'],
    ["  DB: x", '5: proxy.DB: unknown key, did you mean "db"'],
    ["  ? [a]\n  : b", "5: proxy.(no name): unknown key, remove it or see --help"],
    ["  db: other.db", "5: db: the key is given twice, remove one"],
    ["  max-lag:\n  max-lag: 5s", "6: max-lag: the key is given twice, remove one"],
    ["fuse: {dir: /a}\nfuse: {dir: /b}", "6: fuse: the key is given twice, remove one"],
    ["lease: {type: a, type: b}", "5: type: the key is given twice, remove one"],
    ["nope: 1", "5: nope: unknown key, remove it"],
    ["wait-timeout: 5s", '5: wait-timeout: unknown key, write it below "proxy:"'],
    ["prxy: {}", '5: prxy: unknown key, did you mean "proxy"'],
    ["fuse: /litefs", "5: fuse: is not a section, write keys below it"],
    ["fuse: {nope: 1}", "5: fuse.nope: unknown key, remove it or see --help"],
    ["fuse: {dir: [a]}", "5: fuse.dir: not one value, write a text"],
    [
      "http:\n  addr: 20202",
      '6: http.addr: "20202" is a port without a host, write "localhost:20202"',
    ],
    ["\tdebug: true", "5: a tab indents the line, write spaces"],
    [
      "  debug: a: b",
      "5: the file is not YAML: Nested mappings are not allowed in compact mappings, write the value in quotes",
    ],
    [
      "  reads: always",
      '5: proxy.reads: "always" is not known here, write "session" or "all" or "off"',
    ],
    [
      "  max-waiters: -1",
      '5: proxy.max-waiters: "-1" is no number of 0 or more, write one such as 10000',
    ],
    ["  wake-limit: 0", '5: proxy.wake-limit: "0" is no number of 1 or more, write one such as 64'],
    [
      "  databases: [a b]",
      '5: proxy.databases: "a b" is no word of up to 64 letters, digits, "_", ".", "~" or "-"',
    ],
    [
      "  databases: [..]",
      '5: proxy.databases: ".." is not a plain name, write one such as "my.db"',
    ],
    [
      "  databases: [users, seen_x]",
      '5: proxy.databases: "seen_x" would share a cookie with another one, call it otherwise than "seen" and "seen_…"',
    ],
    [
      '  signing-keys: ["k1:0123456789abcdef", "k1:fedcba9876543210"]',
      '5: proxy.signing-keys: two keys are called "k1", give each a name of its own',
    ],
    [
      "  signing-keys: [k1]",
      '5: proxy.signing-keys: a key has no colon, write one such as "k1:SECRET"',
    ],
    [
      '  signing-keys: ["k1:hush"]',
      '5: proxy.signing-keys: the secret of "k1" is too short, write 16 characters or more',
    ],
    [
      "  client-header: X Real",
      '5: proxy.client-header: "X Real" is no header field, write one such as "X-Real-IP"',
    ],
    ["  <<: 5", '5: proxy: a merge ("<<") takes a section, write keys below it'],
    ["  <<: {nope: 1}", "5: proxy.nope: unknown key, remove it or see --help"],
  ] as const) {
    it(`refuses ${JSON.stringify(lines)}`, () =>
      refuses(`${base}${lines}\n`, `proxy.yml:${message}`));
  }

  for (const [text, message] of [
    ["", 'proxy.yml: the file is empty, write a "proxy:" section'],
    ["# nothing\n", 'proxy.yml: the file is empty, write a "proxy:" section'],
    ["hello\n", 'proxy.yml:1: the file holds no keys, write a "proxy:" section'],
    ["\n- a\n", 'proxy.yml:2: the file holds no keys, write a "proxy:" section'],
    [
      `${base}  dir: a\u0001b\n`,
      "proxy.yml:5: the control character \\x01 is not allowed, remove it",
    ],
    ["&a\n<<: *a\n", "proxy.yml:2: *a stands for what it is a part of, remove it"],
    ["&a\n- [*a]\n", "proxy.yml:2: *a stands for what it is a part of, remove it"],
    [
      `${base}  passthrough: &all\n    - *all\n`,
      "proxy.yml:6: *all stands for what it is a part of, remove it",
    ],
    [
      "fuse: &m {dir: /a}\nproxy: &m {<<: [{<<: *m}]}\n",
      "proxy.yml:2: *m stands for what it is a part of, remove it",
    ],
    ["proxy: x\n", "proxy.yml:1: proxy: is not a section, write keys below it"],
    ["proxy: []\n", "proxy.yml:1: proxy: is not a section, write keys below it"],
    ['proxy: ""\n', "proxy.yml:1: proxy: is not a section, write keys below it"],
    ['proxy:\n  db: "a\n', 'proxy.yml:3: the file is not YAML: Missing closing "quote'],
    [
      "fuse: {dir: /a}\n",
      'proxy.yml: proxy.target: missing or empty, write the app\'s host and port such as "localhost:8081"; proxy.yml: proxy.addr: missing or empty, write the address to listen on such as ":8080"; proxy.yml: proxy.db: missing or empty, write the name of the database such as "my.db", see --help',
    ],
    [
      "proxy:\n",
      'proxy.yml:1: proxy.target: missing or empty, write the app\'s host and port such as "localhost:8081"; proxy.yml:1: proxy.addr: missing or empty, write the address to listen on such as ":8080"; proxy.yml:1: proxy.db: missing or empty, write the name of the database such as "my.db", see --help',
    ],
    [
      "\nproxy: {target: 'a:1'}\n",
      'proxy.yml:2: proxy.addr: missing or empty, write the address to listen on such as ":8080"; proxy.yml:2: proxy.db: missing or empty, write the name of the database such as "my.db", see --help',
    ],
    [
      "proxy: {target: 'a:1', addr: ':1'}\n",
      'proxy.yml:1: proxy.db: missing or empty, write the name of the database such as "my.db", see --help',
    ],
  ] as const) {
    it(`refuses the file ${JSON.stringify(text)}`, () => refuses(text, message));
  }

  it("says that there is no file when flags are not enough", () => {
    refuses(
      undefined,
      '--addr: missing or empty, write the address to listen on such as ":8080"; --db: missing or empty, write the name of the database such as "my.db" (and there is no configuration file), see --help',
      ["--target=a:1"],
    );
  });

  for (const [value, expected] of [
    ["true", true],
    ["True", true],
    ["TRUE", true],
    ["yes", true],
    ["'yes'", true],
    ["On", true],
    ["y", true],
    ["no", false],
    ["OFF", false],
    ["n", false],
    ["!!bool 'true'", true],
  ] as const) {
    it(`takes debug: ${value} for ${expected}`, () => {
      assert.equal(read(`${base}  debug: ${value}\n`).settings.log.debug, expected);
    });
  }

  it("takes numbers and booleans for the text they are written with", () => {
    const { settings } = read(`${base}  passthrough: [1.50, true, 0x1f, ~, 'a b']\n  dir: 007\n`);
    assert.deepEqual(settings.proxy.passthrough, ["1.50", "true", "0x1f", "a b"]);
    assert.equal(settings.storage.dir, "007");
  });

  it("follows aliases and merges, its own keys first", () => {
    const { settings } = read(
      "fuse: &m {dir: &d /mnt}\nproxy:\n  <<: [*m, {db: merged.db, dir: late, target: 'a:1'}]\n  addr: ':1'\n  db: my.db\n  health-path: *d\n",
    );
    assert.deepEqual(settings.storage.dir, "/mnt");
    assert.deepEqual(settings.storage.db, "my.db");
    assert.deepEqual(settings.proxy.healthPath, "/mnt");
  });

  it("reads the first document only", () => {
    assert.deepEqual(read(`${base}---\nnope: 1\n`).settings, defaults);
  });

  it("takes all of YAML's line breaks", () => {
    for (const end of ["\r\n", "\r"]) {
      assert.deepEqual(read(base.replaceAll("\n", end)).settings, defaults);
      refuses(
        `${base}  nope: 1\n`.replaceAll("\n", end),
        "proxy.yml:5: proxy.nope: unknown key, remove it or see --help",
      );
    }
  });

  it("refuses in one line of printable text, or runs, whatever the file holds", () => {
    const piece = fc.constantFrom(
      "proxy:",
      "\n",
      "\n  ",
      "addr",
      ": ",
      "target",
      "db: x",
      "max-lag",
      "5s",
      "- ",
      "[",
      "]",
      "{",
      "}",
      "*",
      "&a",
      "*a",
      "<<: ",
      '"',
      "'",
      "#",
      "|",
      ">",
      "!!",
      "?",
      "\t",
      "$A",
      "\u0000",
      "\u001b",
      "\ufeff",
      "---",
      "...",
      "%",
      "@",
      "é",
      "fuse",
      "null",
      "exec",
      ",",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 25 }), fc.boolean(), (pieces, hasBase) => {
        try {
          read((hasBase ? base : "") + pieces.join(""));
        } catch (error) {
          assert.ok(error instanceof ConfigError, String(error));
          assert.ok(!/\p{Cc}/u.test(error.message), JSON.stringify(error.message));
          assert.ok(/^(proxy\.yml|--)/.test(error.message), error.message);
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe("configure(): addr", () => {
  for (const [addr, port, hostname] of [
    [":8080", 8080, undefined],
    ["127.0.0.1:80", 80, "127.0.0.1"],
    ["localhost:0", 0, "localhost"],
    ["'[::1]:8080'", 8080, "::1"],
    ["'[::]:8080'", 8080, "::"],
    ["0.0.0.0:65535", 65535, "0.0.0.0"],
    ["fly-local-6pn:8080", 8080, "fly-local-6pn"],
  ] as const) {
    it(`listens at ${addr}`, () => {
      const { server } = read(`proxy: {addr: ${addr}, target: "app:1", db: x}`).settings;
      assert.equal(server.port, port);
      assert.equal(server.hostname, hostname);
    });
  }

  for (const [addr, message] of [
    ["8080", '"8080" is a port without its colon, write ":8080"'],
    ["localhost", '"localhost" has no port, write "localhost:8080"'],
    ['"::1"', '"::1" has no port, write "[::1]:8080"'],
    ['"::1:8080"', '"::1:8080" has no port, write "[::1:8080]:8080"'],
    ['":65536"', '":65536" has the port 65536, the highest port is 65535'],
    ['":http"', '":http" is not an address, write host and port such as ":8080"'],
    ['"http://x:1"', '"http://x:1" is not an address, write host and port such as ":8080"'],
    ['"[x]:1"', '"[x]:1" has no IPv6 address in its brackets, write "[::1]:1"'],
    ['"a b:1"', '"a b:1" has no host name before its colon, write ":8080"'],
  ] as const) {
    it(`refuses ${addr}`, () => {
      refuses(
        `proxy: {addr: ${addr}, target: "app:1", db: x}`,
        `proxy.yml:1: proxy.addr: ${message}`,
      );
    });
  }
});

describe("configure(): target, api, db", () => {
  for (const [target, origin] of [
    ["localhost:8081", "http://localhost:8081"],
    ["http://localhost:8081", "http://localhost:8081"],
    ["http://localhost:8081/", "http://localhost:8081"],
    ["HTTP://App:1", "http://App:1"],
    ["https://app", "https://app:443"],
    ["app", "http://app:80"],
    [":8081", "http://localhost:8081"],
    ["'[::1]:8081'", "http://[::1]:8081"],
  ] as const) {
    it(`reaches ${target} at ${origin}`, () => {
      const text = `proxy:\n  addr: ":8080"\n  target: ${target}\n  db: x\n`;
      assert.equal(read(text).settings.proxy.target, origin);
    });
  }

  for (const [target, message] of [
    ["8081", '"8081" is a port without a host, write "localhost:8081"'],
    ["ftp://x", '"ftp://x" has the scheme ftp, write "localhost:8081"'],
    ["999.1.1.1:99", '"999.1.1.1" is not a host, write "localhost:8081"'],
    ["http://x:1/path", '"http://x:1/path" is not host and port alone, write "localhost:8081"'],
    ["http://u:p@x:1", '"http://u:p@x:1" is not host and port alone, write "localhost:8081"'],
    ["x:0", '"x:0" has the port 0, write the port it listens on'],
    [
      "localhost:8080",
      'http://localhost:8080 is the proxy itself (addr is ":8080"), write the app\'s port',
    ],
    [
      "127.0.0.1:8080",
      'http://127.0.0.1:8080 is the proxy itself (addr is ":8080"), write the app\'s port',
    ],
  ] as const) {
    it(`refuses the target ${target}`, () => {
      refuses(
        `proxy:\n  addr: ":8080"\n  target: ${target}\n  db: x\n`,
        `proxy.yml:3: proxy.target: ${message}`,
      );
    });
  }

  it("lets the app have the proxy's port on another machine or address", () => {
    assert.equal(read(base.replace("localhost:8081", "app:8080")).settings.server.port, 8080);
    const text = 'proxy: {addr: "10.0.0.1:8080", target: "localhost:8080", db: x}';
    assert.equal(read(text).settings.server.port, 8080);
  });

  for (const [addr, api] of [
    ['":20202"', "http://127.0.0.1:20202"],
    ['"0.0.0.0:1"', "http://127.0.0.1:1"],
    ['"[::]:1"', "http://127.0.0.1:1"],
    ['"localhost:1"', "http://localhost:1"],
    ['"10.0.0.1:1"', "http://10.0.0.1:1"],
    ['"[fdaa::3]:1"', "http://[fdaa::3]:1"],
    ['":0"', false],
  ] as const) {
    it(`asks the API of http.addr ${addr} at ${api}`, () => {
      assert.equal(read(`${base}http: {addr: ${addr}}\n`).settings.storage.api, api);
    });
  }

  it("refuses a path in place of a database's name", () => {
    refuses(
      base.replace("my.db", "/litefs/my.db"),
      'proxy.yml:4: proxy.db: "/litefs/my.db" is not a plain name, write "my.db"',
    );
    refuses(
      base.replace("my.db", ".."),
      'proxy.yml:4: proxy.db: ".." is not a plain name, write one such as "my.db"',
    );
  });
});

describe("configure(): shown", () => {
  it("says where each value comes from", () => {
    const { shown } = read(`${base}fuse: {dir: /mnt}\n`, ["--max-lag=3s"]);
    assert.match(shown, /^ {2}db: my\.db +# proxy\.yml:4$/m);
    assert.match(shown, /^ {2}max-lag: 3s +# --max-lag$/m);
    assert.match(shown, /^ {2}dir: \/mnt +# proxy\.yml: fuse\.dir$/m);
    assert.match(shown, /^ {2}wait-timeout: 5s +# default$/m);
  });

  it("is a file that means the same", () => {
    const texts = [
      base,
      `${litefsYml}`,
      `${base}  passthrough: ["*", 'a"b', "true", "5", "~", "null", "", "é #x"]\n  api: false\n  secure-cookie: no\n  health-target: /up\n  max-lag: -1.5s\n`,
    ];
    for (const text of texts) {
      const first = read(text);
      assert.deepEqual(read(first.shown).settings, first.settings);
    }
  });
});

describe("primaryUrl()", () => {
  const find = primaryUrl("http://{hostname}:8080");
  for (const [hostname, origin] of [
    ["node-1", "http://node-1:8080"],
    ["9185d3fb", "http://9185d3fb:8080"],
    ["db.example.com", "http://db.example.com:8080"],
    ["db.example.com:20202", "http://db.example.com:8080"],
    ["10.0.0.7", "http://10.0.0.7:8080"],
    ["fdaa::7", "http://[fdaa::7]:8080"],
    ["[fdaa::7]", "http://[fdaa::7]:8080"],
    ["[fdaa::7]:20202", "http://[fdaa::7]:8080"],
    ["", undefined],
    ["a/b", undefined],
    ["user@host", undefined],
    ["a b", undefined],
    ["a#", undefined],
  ] as const) {
    it(`finds ${origin} for ${JSON.stringify(hostname)}`, () => {
      assert.equal(find?.(hostname), origin);
    });
  }

  for (const [template, hostname, origin] of [
    ["http://{hostname}", "10.0.0.7:8083", "http://10.0.0.7:8083"],
    ["http://{hostname}", "10.0.0.7", "http://10.0.0.7"],
    ["http://{hostname}", "[fdaa::7]:8083", "http://[fdaa::7]:8083"],
    ["http://{hostname}", "fdaa::7", "http://[fdaa::7]"],
    ["https://{hostname}.internal/", "db:8083", "https://db.internal:8083"],
    ["http://{hostname}", "db:80833", undefined],
  ] as const) {
    it(`takes the port from ${JSON.stringify(hostname)} where ${template} names none`, () => {
      assert.equal(primaryUrl(template)?.(hostname), origin);
    });
  }

  it("never leads anywhere else, whatever the primary is called", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (hostname) => {
        const origin = find?.(hostname);
        if (origin === undefined) return;
        const url = new URL(origin);
        assert.equal(url.port, "8080");
        assert.equal(`${url.pathname}${url.search}${url.hash}${url.username}`, "/");
      }),
    );
  });

  it("finds nothing without a template", () => {
    assert.equal(primaryUrl(undefined), undefined);
  });
});
