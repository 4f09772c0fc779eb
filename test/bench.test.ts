import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { describe, it } from "node:test";
import { httpFraming, fixedFraming } from "../bench/framing.ts";
import { commandOf, parseOptions } from "../bench/options.ts";
import { parseCpu, parseMemory, parseOpenFiles } from "../bench/process.ts";
import {
  type Report,
  type Section,
  ratioOf,
  renderReport,
  replaceMarked,
} from "../bench/report.ts";
import { judge } from "../bench/growth.ts";
import { median, quantile, slopeOf, spreadOf } from "../bench/statistics.ts";
import { parseWrk } from "../bench/wrk.ts";

describe("median()", () => {
  it("takes the one in the middle, or what lies between the two", () => {
    assert.equal(median([3, 1, 2]), 2);
    assert.equal(median([4, 1, 2, 3]), 2.5);
    assert.ok(Number.isNaN(median([])));
  });
});

describe("quantile()", () => {
  it("returns the value below which a part lies", () => {
    const values = Array.from({ length: 1000 }, (_, index) => 999 - index);
    assert.equal(quantile(values, 0.5), 500);
    assert.equal(quantile(values, 0.999), 999);
    assert.equal(quantile(values, 1), 999);
  });
});

describe("spreadOf()", () => {
  it("leaves out what is no number", () => {
    const spread = spreadOf([5, Number.NaN, 1, 3]);
    assert.deepEqual(spread, { median: 3, least: 1, most: 5 });
    assert.equal(spreadOf([Number.NaN, Number.POSITIVE_INFINITY]), undefined);
  });
});

describe("slopeOf()", () => {
  it("is not bent by what stands out", () => {
    const points = Array.from({ length: 50 }, (_, time): [number, number] => [time, 10 + 2 * time]);
    points[20] = [20, 5000];
    points[40] = [40, 0];
    assert.equal(slopeOf(points), 2);
  });
});

describe("judge()", () => {
  /** Memory with the saw teeth of a collector, every second for ten minutes, in KiB. */
  const memory = (rise: number): [number, number][] =>
    Array.from({ length: 600 }, (_, second) => [
      second * 1000,
      // In the first minute the pools fill.
      80_000 + Math.min(second, 60) * 500 + (second % 30) * 100 + second * rise,
    ]);

  it("calls saw teeth and a warm-up flat", () => {
    const { isFlat, growth } = judge(memory(0));
    assert.ok(isFlat);
    assert.ok(Math.abs(growth) < 2, `${growth}`);
  });

  it("finds a leak below the saw teeth", () => {
    const { isFlat, slope } = judge(memory(50));
    assert.ok(!isFlat);
    assert.ok(Math.abs(slope - (50 * 3600) / 1024) < 20, `${slope}`);
  });
});

describe("parseCpu()", () => {
  it("reads the times behind a name that holds blanks and brackets", () => {
    const fields = ["S", ...Array.from({ length: 10 }, () => "0"), "250", "50", "7", "7"];
    assert.equal(parseCpu(`42 (a) S (b) ${fields.join(" ")}\n`), 3000);
  });
});

describe("parseMemory()", () => {
  it("reads what is held and what was held at most", () => {
    const text = "Name:\tnode\nVmPeak:\t  999999 kB\nVmHWM:\t   71234 kB\nVmRSS:\t   61234 kB\n";
    assert.deepEqual(parseMemory(text), { rss: 61_234, peak: 71_234 });
  });
});

describe("parseOpenFiles()", () => {
  const limits = (hard: string): string =>
    `Limit                     Soft Limit           Hard Limit           Units     \nMax open files            1024                 ${hard}              files     \n`;

  it("takes what may be asked for", () => {
    assert.equal(parseOpenFiles(limits("20000")), 20_000);
    assert.equal(parseOpenFiles(limits("unlimited")), Number.POSITIVE_INFINITY);
  });
});

describe("parseWrk()", () => {
  it("reads the script's line among wrk's own, and turns microseconds to milliseconds", () => {
    const line =
      '{"requests":1000,"bytes":2048,"duration":2000000,"p50":1500,"p99":9000,"p999":12345,"errors":3}';
    assert.deepEqual(
      parseWrk(`Running 2s test @ http://127.0.0.1:1/1k\n${line}\nRequests/sec: 500\n`),
      {
        requests: 1000,
        bytes: 2048,
        duration: 2000,
        p50: 1.5,
        p99: 9,
        p999: 12.345,
        errors: 3,
      },
    );
  });

  it("fails when wrk has told nothing", () => {
    assert.throws(() => parseWrk("unable to connect"), /unable to connect/);
  });
});

describe("httpFraming()", () => {
  const answer = (status: string, body: string): string =>
    `HTTP/1.1 ${status}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

  it("counts answers however they are cut", () => {
    const text = answer("200 OK", "hello") + answer("502 Bad Gateway", "no") + answer("204 No", "");
    for (const size of [1, 7, 40, text.length]) {
      const read = httpFraming();
      let [answers, errors] = [0, 0];
      for (let at = 0; at < text.length; at += size) {
        const ended = read(Buffer.from(text.slice(at, at + size)));
        answers += ended.answers;
        errors += ended.errors;
      }
      assert.deepEqual([answers, errors], [3, 1], `in pieces of ${size}`);
    }
  });

  it("finds the end of chunks, in one piece or byte by byte", () => {
    assert.equal(httpFraming()(Buffer.from(chunked)).answers, 1);
    const read = httpFraming();
    const counts = chunked.split("").map((byte) => read(Buffer.from(byte)).answers);
    assert.equal(counts.indexOf(1), chunked.length - 1);
  });
});

describe("fixedFraming()", () => {
  it("counts by length", () => {
    const read = fixedFraming(10)();
    assert.deepEqual(
      [4, 6, 25, 5].map((length) => read(Buffer.alloc(length))?.answers),
      [0, 1, 2, 1],
    );
  });
});

const section: Section = {
  name: "get",
  title: "GET, 1 KiB",
  says: "64 connections.",
  metrics: ["rate", "p50", "cpu", "errors"],
  compared: "rate",
  rows: [
    { peer: "no proxy", samples: [{ rate: 40_000, p50: 0.5, errors: 0 }] },
    {
      peer: "Bun",
      samples: [
        { rate: 10_000, p50: 1, cpu: 20, errors: 0 },
        { rate: 30_000, p50: 2, cpu: 22, errors: 0 },
        { rate: 12_000, p50: 3, cpu: 21, errors: 0 },
      ],
    },
    {
      peer: "nginx",
      samples: [
        { rate: 20_000, p50: 1, cpu: 10, errors: 0 },
        { rate: 20_000, p50: 1, cpu: 10, errors: 0 },
        { rate: 20_000, p50: 1, cpu: 10, errors: 0 },
      ],
    },
    { peer: "Caddy", samples: [], remark: "answers 502" },
  ],
};

const report: Report = {
  date: "2026-01-02",
  machine: "2 processors",
  versions: { Bun: "1.4.5", nginx: "1.22.1" },
  command: "npm run bench",
  generator: "wrk sends.",
  missing: [{ name: "LiteFS", reason: "no --litefs PATH was given" }],
  sections: [section],
};

describe("ratioOf()", () => {
  it("compares round by round", () => {
    const [, bun, nginx] = section.rows;
    assert.ok(bun !== undefined);
    assert.deepEqual(ratioOf(bun, nginx, "rate"), { median: 0.6, least: 0.5, most: 1.5 });
    assert.equal(ratioOf(bun, undefined, "rate"), undefined);
  });
});

describe("renderReport()", () => {
  it("names who is missing and why, and tells medians with their spread", () => {
    assert.equal(
      renderReport(report),
      `2026-01-02, 2 processors. wrk sends.

Bun 1.4.5, nginx 1.22.1

\`npm run bench\`

**Not measured: LiteFS**, no --litefs PATH was given.

### GET, 1 KiB

64 connections.

|  | a second | × nginx | p50 ms | CPU µs each | errors |
| --- | ---: | ---: | ---: | ---: | ---: |
| no proxy | 40,000 | 2.00 | 0.50 | – | 0 |
| Bun | 12,000 (10,000–30,000) | 0.60 | 2.00 | 21.0 (20.0–22.0) | 0 |
| nginx | 20,000 | 1.00 | 1.00 | 10.0 | 0 |
| Caddy | answers 502 |  |  |  |  |
`,
    );
  });

  it("compares with nobody when nginx is not there", () => {
    const rows = section.rows.filter(({ peer }) => peer !== "nginx");
    const text = renderReport({ ...report, sections: [{ ...section, rows }] });
    assert.ok(!text.includes("× nginx"));
  });
});

describe("replaceMarked()", () => {
  it("leaves what is around the markers", () => {
    const text = "a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb\n";
    const wanted = "a\n<!-- x:begin -->\n\nnew\n\n<!-- x:end -->\nb\n";
    assert.equal(replaceMarked(text, "x", "new\n"), wanted);
    assert.equal(replaceMarked(wanted, "x", "new"), wanted);
    assert.throws(() => replaceMarked(text, "y", "new"), /y:begin/);
  });
});

describe("parseOptions()", () => {
  it("has defaults", () => {
    const { rounds, seconds, soak, scenarios } = parseOptions([]);
    assert.deepEqual(
      { rounds, seconds, soak, scenarios },
      {
        rounds: 3,
        seconds: 1,
        soak: 0,
        scenarios: [],
      },
    );
    assert.equal(parseOptions(["--soak", "10m"]).soak, 600_000);
    assert.throws(() => parseOptions(["--rounds", "0"]), /--rounds "0"/);
    assert.throws(() => parseOptions(["--soak", "long"]), /--soak "long"/);
  });
});

describe("commandOf()", () => {
  it("tells no path of this machine", () => {
    const args = ["--quick", "--litefs", "/x/litefs", "--json=/x/y", "--write", "/x/z"];
    assert.equal(
      commandOf([...args, "--peer", "no proxy"]),
      'npm run bench -- --quick --litefs PATH --peer "no proxy"',
    );
    assert.equal(commandOf([]), "npm run bench");
  });
});
