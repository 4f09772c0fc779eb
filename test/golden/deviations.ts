import { type GoldenRecord, type Line, type Outcome } from "./record.ts";
import { readMessage, valueOf, type WireMessage } from "./wire.ts";

/** A point in which this proxy means to behave otherwise than LiteFS's. */
export interface Deviation {
  /** Its name. */
  readonly name: string;
  /** Why, in a sentence. */
  readonly why: string;
  /** Tells whether it touches a record; `outcome` is what is expected so far. */
  applies(record: GoldenRecord, outcome: Outcome): boolean;
  /** Returns what is expected instead. */
  expect(outcome: Outcome, record: GoldenRecord): Outcome;
}

/** The deviations in the order in which they are applied: first those that send a request another way. */
export const DEVIATIONS: readonly Deviation[] = [
  {
    name: "greatest token",
    why: "Of several tokens the greatest counts, for each stands for something that the client has seen.",
    applies: (record) => record.node === "replica" && HIDDEN_TOKEN.has(record.name),
    expect: () => own(504, "Gateway Timeout", "Proxy timeout", RETRY, 5000),
  },
  {
    name: "missing database",
    why: "A client that carries a token has seen a database, so a replica that has none is behind.",
    applies: (record) =>
      record.setup?.database === "absent" && record.node === "replica" && !isWrite(record),
    expect: (_, record) =>
      bodilessFor(record, own(504, "Gateway Timeout", "Proxy timeout", RETRY, 5000)),
  },
  {
    name: "lost past",
    why: "On the primary nothing is newer than what is there: a token from ahead is of a lost past and gets replaced.",
    applies: (record, { statusLine, waited }) =>
      record.node === "primary" &&
      record.section === "1.2" &&
      record.setup?.database !== "absent" &&
      (statusLine.includes(" 504 ") || waited === 300 || HIDDEN_TOKEN.has(record.name)),
    expect: (_, record) => withToken(forwarded(record), record),
  },
  {
    name: "always-forward",
    why: "A path that always goes to the primary writes, so its answers carry the token even to GET and HEAD.",
    applies: (record, { app }) =>
      record.node === "primary" && app !== null && isAlwaysForwarded(record),
    expect: withToken,
  },
  {
    name: "HEAD for health",
    why: "HEAD asks for health as GET does.",
    applies: (record) => {
      const { method, target } = asked(record);
      const isHidden = record.config.passthrough.includes("*");
      return method === "HEAD" && target === "/litefs/health" && !isHidden;
    },
    expect: (_, record) =>
      record.setup?.lag !== undefined && record.node === "replica" && record.config.maxLag !== "0s"
        ? bodilessFor(record, own(503, "Service Unavailable", "Replication lag exceeded"))
        : bodilessFor(record, own(200, "OK", "OK")),
  },
  {
    name: "safe methods",
    why: "OPTIONS, a CORS preflight above all, and QUERY ask for nothing to be changed: any node answers them.",
    applies: (record) => {
      const { method, target } = asked(record);
      return (
        (method === "OPTIONS" || method === "QUERY") &&
        !target.startsWith("/pass/") &&
        target !== "*"
      );
    },
    expect: (outcome, record) => (outcome.app === null ? forwarded(record) : withoutToken(outcome)),
  },
  {
    name: "OPTIONS *",
    why: "The app says what it can do; the proxy does not answer in its place.",
    applies: (record) => asked(record).target === "*" && asked(record).method === "OPTIONS",
    expect: (_, record) => forwarded(record),
  },
  {
    name: "TRACE CONNECT",
    why: "TRACE shows headers that scripts must not see, and a tunnel to anywhere is not a reverse proxy's to give; who asks for one may have sent on as if it were there, so that the connection ends.",
    applies: (record) => asked(record).method === "TRACE" || asked(record).method === "CONNECT",
    expect: (_, record) => {
      const refusal = own(405, "Method Not Allowed", "Method not allowed", ALLOW);
      if (asked(record).method === "TRACE") return refusal;
      return { ...refusal, headers: [...refusal.headers, ["Connection", "close"]] };
    },
  },
  {
    name: "dot segments",
    why: "A path passes through only when it matches in each way in which the app may read it.",
    applies: (record) => asked(record).target === "/pass/../x",
    expect: (_, record) =>
      record.node === "primary" ? withToken(forwarded(record), record) : REPLAYED,
  },
  {
    name: "refusals",
    why: "What is malformed is refused in fixed words that hold nothing of the request.",
    applies: (record, { app }) => app === null && wordsFor(record) !== undefined,
    expect: (outcome, record) => refused(statusOf(outcome), wordsFor(record) ?? ""),
  },
  {
    name: "strictness",
    why: "What two servers may read in two ways is refused, for who reads it otherwise than the app can be tricked.",
    applies: (record, { app }) => app !== null && wordsFor(record) !== undefined,
    expect: (_, record) => refused(400, wordsFor(record) ?? ""),
  },
  {
    name: "HTTP/2 preface",
    why: "A version that is not spoken is answered with 505.",
    applies: (record) => record.request.startsWith("PRI "),
    expect: () => refused(505, "Version not supported"),
  },
  {
    name: "replay",
    why: "Where no edge honours fly-replay a client must not take a write that nobody has run for a success. The edge is told how long to try, where to go when it tries in vain, and how often the request was sent on.",
    applies: (_, outcome) => isReplay(outcome),
    expect: (outcome, record) => {
      const words = "This node is not the primary: the request must be replayed there";
      const lines = (wanted: string): readonly Line[] =>
        outcome.headers.filter(([name]) => name === wanted);
      const wasReplayed = valueOf(asked(record).headers, "fly-replay-src") !== undefined;
      const more = `timeout=5000ms;fallback=force_self;state=txid:${wasReplayed ? 2 : 1}`;
      const replay = lines("Fly-Replay").map(([name, value]): Line => [name, `${value};${more}`]);
      const ours = own(409, "Conflict", words, replay, outcome.waited);
      const headers = [...ours.headers, ...lines("Connection")];
      return bodilessFor(record, { ...ours, headers });
    },
  },
  {
    name: "own answers",
    why: "The proxy's own answers are short fixed words that name no address and no cause, and no cache keeps them.",
    applies: (record, outcome) =>
      (outcome.app === null || statusOf(outcome) === 502) &&
      valueOf(outcome.headers, "cache-control") === undefined &&
      statusOf(outcome) !== 505 &&
      wordsFor(record) === undefined,
    expect: (outcome, record) => {
      const { statusLine, waited, app } = outcome;
      const status = statusOf(outcome);
      // An answer to HEAD does not tell which words it stands for.
      const said = outcome.body === "" ? UNSAID[status] : outcome.body.trimEnd();
      const words = status === 502 ? "Proxy error: target unavailable" : (said ?? "");
      const again = /Proxy timeout|no primary/.test(words) ? RETRY : [];
      return bodilessFor(record, {
        ...own(status, statusLine.slice(13), words, again, waited),
        app,
      });
    },
  },
  {
    name: "malformed answer",
    why: "An answer whose lines could be read in two ways is no answer.",
    applies: (record) => record.name === "answer: space in a header name",
    expect: (outcome) => ({
      ...own(502, "Bad Gateway", "Proxy error: target unavailable"),
      app: outcome.app,
    }),
  },
  {
    name: "broken answer",
    why: "A client must see that something is missing.",
    applies: (record) => record.name === "answer: app dies within a chunked body: looks complete",
    expect: (outcome) => ({ ...outcome, truncated: true }),
  },
  {
    name: "upgrade",
    why: "After 101 the bytes go both ways.",
    applies: (_, { statusLine }) => statusLine.includes(" 101 "),
    expect: (outcome) => ({
      ...outcome,
      headers: outcome.headers.filter(([name]) => name !== "Date"),
      tunnel: true,
      body: "\x81\x05helloping",
    }),
  },
  {
    name: "trailers and 1xx",
    why: "Informational answers and trailers belong to the client.",
    applies: (record) => answersWith(record, "Trailer") || answersWith(record, "Link"),
    expect: (outcome, record) =>
      answersWith(record, "Link")
        ? { ...outcome, interim: [{ status: 103, headers: [["Link", "</s.css>; rel=preload"]] }] }
        : {
            ...outcome,
            headers: [...outcome.headers, ["Trailer", "X-Sum"]],
            trailers: [["X-Sum", "42"]],
          },
  },
  {
    name: "content",
    why: "Bodies pass as bytes: nothing is unpacked, and no media type is guessed.",
    applies: (record, { app, statusLine }) =>
      app !== null && statusLine.includes(" 200 ") && record.name.startsWith("answer: "),
    expect: (outcome, record) => {
      const answer = answered(record);
      if (answer === undefined) return outcome;
      const names = new Set(["content-type", "content-encoding", "content-length"]);
      const isLost = valueOf(answer.headers, "content-length") !== undefined;
      return {
        ...outcome,
        headers: [
          ...outcome.headers.filter(
            ([name]) => !names.has(name.toLowerCase()) && !(isLost && name === "Transfer-Encoding"),
          ),
          ...answer.headers.filter(([name]) => names.has(name.toLowerCase())),
        ],
        body: record.request.startsWith("HEAD ") ? "" : answer.body,
      };
    },
  },
  {
    name: "304",
    why: "What the app says of the content that it does not send belongs to the client (RFC 9110 section 15.4.5).",
    applies: (_, { app, statusLine }) => app !== null && statusLine.includes(" 304 "),
    expect: (outcome, record) => ({
      ...outcome,
      headers: [
        ...outcome.headers,
        ...(answered(record)?.headers ?? []).filter(([name]) => name.startsWith("Content-")),
      ],
    }),
  },
  {
    name: "reason phrase",
    why: "The app's reason phrase is kept.",
    applies: (_, { app, statusLine }) => app !== null && !/ 502 | 405 /.test(statusLine),
    expect: (outcome, record) => ({
      ...outcome,
      statusLine: `HTTP/1.1 ${answered(record)?.startLine.slice(9) ?? ""}`,
    }),
  },
  {
    name: "HTTP/1.0",
    why: "A server says the version that it speaks, and says that it closes (RFC 9110 section 2.5).",
    applies: (record) => asked(record).version === "HTTP/1.0",
    expect: (outcome) => ({
      ...outcome,
      statusLine: outcome.statusLine.replace("HTTP/1.0", "HTTP/1.1"),
      headers: [
        ...outcome.headers.filter(([name]) => name !== "Connection"),
        ["Connection", "close"],
      ],
    }),
  },
  {
    name: "app's own token",
    why: "A token that the app sets by itself would replace the one that is minted.",
    applies: (_, { headers }) => headers.some((line) => isMinted(line)),
    expect: (outcome) => ({
      ...outcome,
      headers: outcome.headers.filter(
        (line) => !(line[0] === "Set-Cookie" && line[1].startsWith("__txid=") && !isMinted(line)),
      ),
    }),
  },
  {
    name: "Max-Age",
    why: "A client's wrong clock does not matter.",
    applies: (_, { headers }) => headers.some((line) => isMinted(line)),
    expect: (outcome) => ({
      ...outcome,
      headers: outcome.headers.map(([name, value]) => [
        name,
        value.replace(
          "; Expires={expires}; HttpOnly",
          "; Expires={expires}; Max-Age=300; HttpOnly",
        ),
      ]),
    }),
  },
  {
    name: "hop-by-hop in requests",
    why: "What ends at a connection is not passed on (RFC 9110 section 7.6.1).",
    applies: (_, { app }) => app !== null,
    expect: (outcome, record) => {
      if (valueOf(outcome.app?.headers ?? [], "upgrade") !== undefined) return outcome;
      const lines = outcome.app?.headers ?? [];
      const keeps = valueOf(asked(record).headers, "te") !== undefined;
      const kept = [
        ...withoutHopByHop(lines),
        ...lines.filter(([name]) => name === "Transfer-Encoding"),
      ];
      const trailers: Line[] = keeps
        ? [
            ["TE", "trailers"],
            ["Connection", "TE"],
          ]
        : [];
      return appSees(outcome, [...kept, ...trailers]);
    },
  },
  {
    name: "hop-by-hop in answers",
    why: "The same for answers.",
    applies: (_, { app, tunnel }) => app !== null && !tunnel,
    expect: (outcome) => ({
      ...outcome,
      headers: [
        ...withoutHopByHop(outcome.headers),
        ...outcome.headers.filter(
          ([name, value]) =>
            name === "Transfer-Encoding" || (name === "Connection" && value === "close"),
        ),
      ],
    }),
  },
  {
    name: "invented lines",
    why: "Nothing is invented in the client's name.",
    applies: (_, { app }) => app !== null,
    expect: (outcome, record) => {
      const { headers } = asked(record);
      const invented = ["user-agent", "accept-encoding"].filter(
        (name) => valueOf(headers, name) === undefined,
      );
      const kept = (outcome.app?.headers ?? []).filter(
        ([name]) => !invented.includes(name.toLowerCase()),
      );
      const lost = headers.filter(([name, value]) => name === "User-Agent" && value === "");
      return appSees(outcome, [...kept, ...lost]);
    },
  },
  {
    name: "empty Host",
    why: "An empty Host is the client's to send and the app's to judge.",
    applies: (record) => asked(record).headers.some(([name, value]) => name === "Host" && !value),
    expect: (outcome) =>
      appSees(
        outcome,
        (outcome.app?.headers ?? []).map(([name, value]) => [name, name === "Host" ? "" : value]),
      ),
  },
  {
    name: "X-Forwarded",
    why: "The app learns who asked, by which scheme and for which host.",
    applies: (_, { app }) => app !== null,
    expect: (outcome) => {
      const headers = outcome.app?.headers ?? [];
      const path = valueOf(headers, "x-forwarded-for");
      const host = valueOf(headers, "host") ?? "";
      const lines: Line[] = [
        ...headers.filter(([name]) => name !== "X-Forwarded-For"),
        ["X-Forwarded-For", path === undefined ? "127.0.0.1" : `${path}, 127.0.0.1`],
      ];
      if (valueOf(headers, "x-forwarded-proto") === undefined)
        lines.push(["X-Forwarded-Proto", "http"]);
      if (host !== "{target}") lines.push(["X-Forwarded-Host", host]);
      return appSees(outcome, lines);
    },
  },
  {
    name: "target",
    why: "The bytes of a path are kept as the client sent them.",
    applies: (_, { app }) => app !== null,
    expect: (outcome, record) => {
      if (outcome.app === null) return outcome;
      const { method, target } = asked(record);
      const origin = target.replace(/^https?:\/\/[^/]*/, "");
      return { ...outcome, app: { ...outcome.app, requestLine: `${method} ${origin} HTTP/1.1` } };
    },
  },
  {
    name: "header lines",
    why: "Header lines keep their order and the case of their names; what the proxy adds comes after them.",
    applies: (_, { app }) => app !== null,
    expect: (outcome, record) => {
      const app = inOrderOf(
        outcome.app?.headers ?? [],
        asked(record).headers.filter(([name]) => !REBUILT.has(name)),
        ADDED_TO_REQUEST,
      );
      if (outcome.app === null || statusOf(outcome) === 502) return appSees(outcome, app);
      const headers = inOrderOf(
        outcome.headers,
        (answered(record)?.headers ?? []).filter(([name]) => name !== "Transfer-Encoding"),
        ADDED_TO_ANSWER,
      );
      return appSees({ ...outcome, headers }, app);
    },
  },
];

/** Records whose request carries a token from ahead behind one that LiteFS looks at first. */
const HIDDEN_TOKEN: ReadonlySet<string> = new Set([
  "cookie does not hold: garbage first hides a valid second",
  "cookie does not hold: satisfied first hides one ahead",
  "cookie does not hold: two lines, garbage first",
  "cookie does not hold: two lines, satisfied first",
]);

/** What a refused request is told, by the end of its record's name. */
const WORDS: Readonly<Record<string, string>> = {
  "path /a%zz": "Bad request: broken escape in the path",
  "path /%": "Bad request: broken escape in the path",
  "path /x#frag?y": "Malformed request line",
  "POST /pass/x#frag": "Malformed request line",
  "framing: Content-Length and chunked": "Both Content-Length and Transfer-Encoding",
  "framing: two equal Content-Lengths": "Several lengths",
  "framing: two different Content-Lengths": "Several lengths",
  "framing: signed Content-Length": "Malformed length",
  "framing: folded header": "Malformed field line",
  "framing: bare line feeds": "Bare LF",
  "framing: two Hosts": "Not exactly one Host",
  "framing: no Host": "Not exactly one Host",
  "framing: space before the colon": "Malformed field line",
  "framing: control byte in a header": "Control byte in a field value",
  "framing: control byte in the cookie": "Control byte in a field value",
  "framing: Transfer-Encoding: gzip, chunked": "Unknown transfer coding",
  "framing: HTTP/3.0 in the request line": "Version not supported",
  "framing: no version in the request line": "Malformed request line",
  "framing: space in the path": "Malformed request line",
  "framing: path without a slash": "Malformed target",
  "framing: control byte in the path": "Malformed request line",
};

function wordsFor(record: GoldenRecord): string | undefined {
  return WORDS[record.name.replace(/^request: |^passthrough matches: /, "")];
}

/** What LiteFS says with these statuses in the records that ask with HEAD. */
const UNSAID: Readonly<Record<number, string>> = {
  503: "Proxy error: no primary available",
  504: "Proxy timeout",
};

const RETRY: readonly Line[] = [["Retry-After", "1"]];
const ALLOW: readonly Line[] = [["Allow", "GET, HEAD, OPTIONS, QUERY, POST, PUT, PATCH, DELETE"]];

/** Lines of a request that end at the client's connection and are made anew for the app's. */
const REBUILT: ReadonlySet<string> = new Set(["TE", "Connection", "Upgrade", "Transfer-Encoding"]);

/** What the proxy adds to a request, in this order. */
const ADDED_TO_REQUEST: readonly string[] = [
  "upgrade",
  "te",
  "connection",
  "x-forwarded-for",
  "x-forwarded-proto",
  "x-forwarded-host",
  "transfer-encoding",
  "content-length",
];

/** What the proxy and its server add to an answer, in this order. */
const ADDED_TO_ANSWER: readonly string[] = [
  "set-cookie",
  "cache-control",
  "transfer-encoding",
  "date",
  "connection",
];

function ownHeaders(words: string, more: readonly Line[]): readonly Line[] {
  return [
    ["Content-Type", "text/plain; charset=utf-8"],
    ["Content-Length", String(words.length + 1)],
    ["X-Content-Type-Options", "nosniff"],
    ["Cache-Control", "no-store"],
    ...more,
    ["Date", "{date}"],
  ];
}

/** An answer of the proxy's own. */
function own(
  status: number,
  reason: string,
  words: string,
  more: readonly Line[] = [],
  waited: number | null = 0,
): Outcome {
  return {
    statusLine: `HTTP/1.1 ${status} ${reason}`,
    headers: ownHeaders(words, more),
    body: `${words}\n`,
    trailers: [],
    interim: [],
    truncated: false,
    tunnel: false,
    waited,
    app: null,
  };
}

/** An answer of the server in front of the proxy, to what is no request; a broken path is the proxy's to refuse. */
function refused(status: number, words: string): Outcome {
  if (words.startsWith("Bad request")) return own(status, "Bad Request", words);
  const ours = own(status, "", words);
  const isServers = ([name]: Line): boolean =>
    name !== "X-Content-Type-Options" && name !== "Cache-Control";
  return { ...ours, headers: [...ours.headers.filter(isServers), ["Connection", "close"]] };
}

/** LiteFS's answer to a write on the replica. */
const REPLAYED: Outcome = {
  ...own(200, "OK", ""),
  headers: [
    ["Fly-Replay", "instance=p"],
    ["Date", "{date}"],
  ],
  body: "",
};

function isReplay(outcome: Outcome): boolean {
  return outcome.app === null && valueOf(outcome.headers, "fly-replay") !== undefined;
}

function statusOf(outcome: Outcome): number {
  return Number(outcome.statusLine.slice(9, 12));
}

/** The request of a record as the app would see it; bytes that make no request leave its parts empty. */
function asked(record: GoldenRecord): {
  method: string;
  target: string;
  version: string;
  headers: readonly Line[];
  body: string;
} {
  const message = readMessage(record.request, true, false, false);
  const [method = "", target = "", version = ""] = message?.startLine.split(" ") ?? [];
  const authority = /^https?:\/\/([^/]*)/.exec(target)?.[1];
  const headers = (message?.headers ?? []).map(([name, value]): Line => [
    name,
    name === "Host" && authority !== undefined ? authority : value.trim(),
  ]);
  return { method, target, version, headers, body: message?.body ?? "" };
}

/** What the app answers. */
function answered(record: GoldenRecord): WireMessage | undefined {
  const text =
    record.appAnswer ??
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n";
  const message = readMessage(text, true, false, true);
  if (message === undefined || !message.startLine.includes(" 103 ")) return message;
  return readMessage(text.slice(text.indexOf("HTTP/1.1 200")), true, false, true);
}

function answersWith(record: GoldenRecord, name: string): boolean {
  return record.appAnswer?.includes(`\r\n${name}: `) ?? false;
}

function isWrite(record: GoldenRecord): boolean {
  return !/^(?:GET|HEAD) /.test(record.request);
}

function isAlwaysForwarded(record: GoldenRecord): boolean {
  const { method } = asked(record);
  if (method !== "GET" && method !== "HEAD") return false;
  if (record.config.alwaysForward.includes("*")) return record.request.includes(" /items ");
  return /^always-forward(?: matches)?: |^always-forward GET that commits/.test(record.name);
}

/** The outcome of a request that the app answers at once. */
function forwarded(record: GoldenRecord): Outcome {
  const { method, target, headers, body } = asked(record);
  const answer = answered(record);
  return {
    ...own(200, "OK", ""),
    statusLine: answer?.startLine ?? "",
    headers: [...(answer?.headers ?? []), ["Date", "{date}"]],
    body: method === "HEAD" ? "" : (answer?.body ?? ""),
    app: { requestLine: `${method} ${target} HTTP/1.1`, headers, body, times: 1 },
  };
}

/** The outcome with the token of the position that holds when the app has answered. */
function withToken(outcome: Outcome, record: GoldenRecord): Outcome {
  const by = record.setup?.commit?.by;
  const position = by === undefined ? "{position}" : `{position+${by}}`;
  const minted: Line[] = [
    ["Set-Cookie", `__txid=${position}; Path=/; Expires={expires}; HttpOnly`],
  ];
  if (!isWrite(record)) minted.push(["Cache-Control", "private"]);
  return { ...outcome, headers: [...outcome.headers, ...minted] };
}

function withoutToken(outcome: Outcome): Outcome {
  return { ...outcome, headers: outcome.headers.filter((line) => !isMinted(line)) };
}

function isMinted([name, value]: Line): boolean {
  return name === "Set-Cookie" && value.startsWith("__txid=") && value.includes("{expires}");
}

function bodilessFor(record: GoldenRecord, outcome: Outcome): Outcome {
  return record.request.startsWith("HEAD ") ? { ...outcome, body: "" } : outcome;
}

function withoutHopByHop(headers: readonly Line[]): readonly Line[] {
  const named = headers
    .filter(([name]) => name === "Connection")
    .map(([, value]) => value.toLowerCase());
  const fields =
    "connection,keep-alive,te,transfer-encoding,upgrade,proxy-authenticate,proxy-authorization";
  const hopByHop = new Set([...fields.split(","), ...named]);
  return headers.filter(([name]) => !hopByHop.has(name.toLowerCase()));
}

function appSees(outcome: Outcome, headers: readonly Line[]): Outcome {
  return outcome.app === null ? outcome : { ...outcome, app: { ...outcome.app, headers } };
}

/**
 * Puts lines in the order of others and gives them the case of their names; lines that those do not have come after
 * them in the order of `added`.
 */
function inOrderOf(
  lines: readonly Line[],
  order: readonly Line[],
  added: readonly string[],
): readonly Line[] {
  const left = [...lines];
  const sorted: Line[] = [];
  for (const [name, value] of order) {
    const at = left.findIndex(
      ([other, same]) => other.toLowerCase() === name.toLowerCase() && same === value,
    );
    if (at === -1) continue;
    left.splice(at, 1);
    sorted.push([name, value]);
  }
  const rank = ([name]: Line): number => added.lastIndexOf(name.toLowerCase());
  return [...sorted, ...left.sort((a, b) => rank(a) - rank(b))];
}

/** Spells an expectation with the values of one play. */
export function filled(outcome: Outcome, fill: (text: string) => string): Outcome {
  const fillLines = (lines: readonly Line[]): Line[] =>
    lines.map(([name, value]) => [name, fill(value)]);
  const { app } = outcome;
  return {
    ...outcome,
    headers: fillLines(outcome.headers),
    app:
      app === null
        ? null
        : {
            requestLine: fill(app.requestLine),
            headers: fillLines(app.headers),
            body: fill(app.body ?? ""),
            times: app.times ?? 1,
          },
  };
}
