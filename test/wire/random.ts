import assert from "node:assert/strict";
import process from "node:process";
import fc from "fast-check";
import { eventually, type Peer } from "../http1-wire.ts";
import { type Case, DATE, isWhole, type Message, parse, type Stage } from "./kit.ts";

/** How many random messages of each kind pass. */
const RUNS = Number(process.env["WIRE_RUNS"] ?? "100");

/** How a property is tried: making a failure smaller may not take longer than this, in milliseconds. */
const TRY = { numRuns: RUNS, includeErrorInReport: true, interruptAfterTimeLimit: RUNS * 50 };

/** A message's body, and how it goes over the wire. */
type Body =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly content: string }
  | {
      readonly kind: "chunks";
      readonly chunks: readonly Chunk[];
      readonly trailers: readonly Line[];
    };

interface Chunk {
  readonly content: string;
  /** Zeros before the size, and what stands behind it. */
  readonly zeros: number;
  readonly extension: string;
  readonly isUpperCase: boolean;
}

type Line = readonly [name: string, value: string];

interface AnyRequest {
  readonly method: string;
  readonly target: string;
  readonly lines: readonly Line[];
  readonly body: Body;
  /** Where the bytes are cut into packets: shares of the whole. */
  readonly cuts: readonly number[];
}

interface AnyResponse {
  readonly status: number;
  readonly reason: string;
  readonly lines: readonly Line[];
  readonly body: Body;
  readonly cuts: readonly number[];
}

/** Characters of a token (RFC 9110 section 5.6.2). */
const TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".split(
  "",
);

/** What may stand in a field's value, in latin-1: visible bytes, and blanks between them. */
const VALUE = Array.from({ length: 0x100 }, (_, code) => String.fromCharCode(code)).filter((char) =>
  /[\t\x20-\x7e\x80-\xff]/.test(char),
);

const BYTES = Array.from({ length: 0x100 }, (_, code) => String.fromCharCode(code));

/** What may stand in a path or a query as it is. */
const PATH = [
  ..."abcXYZ019-._~!$&'()*+,;=:@/".split(""),
  "%2F",
  "%00",
  "%ff",
  "%41",
  "//",
  "/../",
  "/./",
];
const QUERY = [...PATH, "?", "[", "]", "{", "|", "^", "`", '"'];

function text(units: readonly string[], maxLength: number, minLength = 0): fc.Arbitrary<string> {
  return fc
    .array(fc.constantFrom(...units), { minLength, maxLength })
    .map((parts) => parts.join(""));
}

/** A field that means nothing to anybody. */
const line: fc.Arbitrary<Line> = fc.tuple(
  text(TOKEN, 12).map((name) => `X-${name}`),
  text(VALUE, 40).map((value) => value.replaceAll(/^[ \t]+|[ \t]+$/g, "")),
);

const lines: fc.Arbitrary<Line[]> = fc
  .array(line, { maxLength: 12 })
  // Names that mean something to proxies begin so.
  .map((all) => all.filter(([name]) => !/^x-(?:forwarded|real)/i.test(name)));

const chunk: fc.Arbitrary<Chunk> = fc.record({
  content: text(BYTES, 300, 1),
  zeros: fc.integer({ min: 0, max: 4 }),
  extension: fc.constantFrom("", "", ";a", ";a=b", ';a="b c"', " ;x"),
  isUpperCase: fc.boolean(),
});

const body: fc.Arbitrary<Body> = fc.oneof(
  fc.constant<Body>({ kind: "none" }),
  fc.record({ kind: fc.constant("length" as const), content: text(BYTES, 2000) }),
  fc.record({
    kind: fc.constant("chunks" as const),
    chunks: fc.array(chunk, { maxLength: 8 }),
    trailers: fc.array(line, { maxLength: 2 }),
  }),
);

const cuts: fc.Arbitrary<number[]> = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), {
  maxLength: 4,
});

const request: fc.Arbitrary<AnyRequest> = fc.record({
  method: fc.oneof(
    fc.constantFrom("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"),
    text(TOKEN, 10, 1).filter((method) => !/^(?:CONNECT|TRACE)$/.test(method)),
  ),
  target: fc
    .tuple(text(PATH, 20), fc.option(text(QUERY, 20), { nil: undefined }))
    .map(([path, query]) => `/${path}${query === undefined ? "" : `?${query}`}`),
  lines,
  body,
  cuts,
});

const response: fc.Arbitrary<AnyResponse> = fc.record({
  status: fc.integer({ min: 200, max: 599 }),
  reason: text(VALUE, 20).map((value) => value.trim()),
  lines,
  body,
  cuts,
});

function spellLines(all: readonly Line[]): string {
  return all.map(([name, value]) => `${name}: ${value}\r\n`).join("");
}

/** Spells the framing of a message, and its body. */
function spellBody(one: Body): string {
  switch (one.kind) {
    case "none":
      return "\r\n";
    case "length":
      return `Content-Length: ${one.content.length}\r\n\r\n${one.content}`;
    case "chunks":
      return `Transfer-Encoding: chunked\r\n\r\n${one.chunks.map(spellChunk).join("")}0\r\n${spellLines(one.trailers)}\r\n`;
  }
}

function spellChunk({ content, zeros, extension, isUpperCase }: Chunk): string {
  const digits = content.length.toString(16);
  const size = isUpperCase ? digits.toUpperCase() : digits;
  return `${"0".repeat(zeros)}${size}${extension}\r\n${content}\r\n`;
}

function contentOf(one: Body): string {
  if (one.kind === "none") return "";
  return one.kind === "length" ? one.content : one.chunks.map(({ content }) => content).join("");
}

/** Sends text in packets: each is on its way before the next is written. */
async function sendCut(peer: Peer, all: string, shares: readonly number[]): Promise<void> {
  const ends = shares.map((share) => Math.floor(share * all.length)).sort((a, b) => a - b);
  let from = 0;
  for (const end of [...ends, all.length]) {
    if (end > from) peer.send(all.slice(from, end));
    from = end;
    await new Promise((resolve) => void setTimeout(resolve, 0));
  }
}

/** Fields that are the proxy's own, or about the connection. */
const OWN =
  /^(?:host|connection|date|content-length|transfer-encoding|x-forwarded-(?:for|host|proto)):|^set-cookie: __txid/i;

function othersOf(message: Message): string[] {
  return message.lines.filter((each) => !OWN.test(each));
}

function asLines(all: readonly Line[]): string[] {
  return all.map(([name, value]) => `${name}: ${value}`);
}

/** Sends any request, has it answered with any response, and looks at what each end got. */
async function passAny(
  stage: Stage,
  client: Peer,
  sent: AnyRequest,
  given: AnyResponse,
): Promise<void> {
  client.clear();
  const host = `Host: ${stage.host}\r\n`;
  await sendCut(
    client,
    `${sent.method} ${sent.target} HTTP/1.1\r\n${host}${spellLines(sent.lines)}${spellBody(sent.body)}`,
    sent.cuts,
  );
  const app = await stage.asked();
  const asked = parse(await app.until(isWhole));
  assert.equal(asked.startLine, `${sent.method} ${sent.target} HTTP/1.1`);
  assert.deepEqual(othersOf(asked), asLines(sent.lines));
  assert.equal(asked.content, contentOf(sent.body));

  const isBodiless = sent.method === "HEAD" || given.status === 204 || given.status === 304;
  const framed = spellBody(given.body);
  const rest = isBodiless ? framed.slice(0, framed.indexOf("\r\n\r\n") + 4) : framed;
  // A response without framing lasts until the connection ends, and 205 must have none.
  const end = given.body.kind === "none" && !isBodiless ? "Content-Length: 0\r\n" : "";
  const hasContent = !isBodiless && given.status !== 205;
  await sendCut(
    app,
    `HTTP/1.1 ${given.status} ${given.reason}\r\n${DATE}\r\nConnection: close\r\n${spellLines(given.lines)}${end}${hasContent || isBodiless ? rest : "\r\n"}`,
    given.cuts,
  );
  app.socket.end();
  const isOver = (all: string): boolean => (isBodiless ? all.includes("\r\n\r\n") : isWhole(all));
  const got = parse(await client.until(isOver));
  assert.equal(got.startLine, `HTTP/1.1 ${given.status} ${given.reason}`);
  assert.deepEqual(othersOf(got), asLines(given.lines));
  assert.equal(got.content, hasContent ? contentOf(given.body) : "");
}

/** A change to a text: what is put in the place of what. */
interface Change {
  readonly at: number;
  readonly removed: number;
  readonly put: string;
}

const change: fc.Arbitrary<Change> = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  removed: fc.integer({ min: 0, max: 8 }),
  put: fc.oneof(
    text(BYTES, 6),
    fc.constantFrom(
      "\r\n",
      "\n",
      "\r\n\r\n",
      " ",
      ":",
      "0\r\n\r\n",
      "Content-Length: 3\r\n",
      "Transfer-Encoding: chunked\r\n",
      "HTTP/1.1 ",
      "\x00",
    ),
  ),
});

function changed(all: string, changes: readonly Change[]): string {
  return changes.reduce((current, { at, removed, put }) => {
    const start = Math.floor(at * current.length);
    return current.slice(0, start) + put + current.slice(start + removed);
  }, all);
}

/** The marks that a text carries: each request has its own. */
function marksIn(all: string): string[] {
  return all.match(/<mark-\d+>/g) ?? [];
}

let marks = 0;

/** Sends a sound request, and has it answered with its own mark. */
async function serveSound(stage: Stage): Promise<void> {
  const mark = `<mark-${++marks}>`;
  const client = await stage.dial();
  const path = `/sound-${marks}`;
  client.send(`GET ${path} HTTP/1.1\r\nHost: ${stage.host}\r\nX-Mark: ${mark}\r\n\r\n`);
  const find = (): Peer | undefined =>
    stage.asking.find((app) => app.text().startsWith(`GET ${path} `) && isWhole(app.text()));
  await eventually(
    () => find() !== undefined,
    () => `for ${path}`,
  );
  const app = find();
  assert.deepEqual(marksIn(app?.text() ?? ""), [mark]);
  answer(app, mark);
  assert.deepEqual(marksIn(await client.until(isWhole)), [mark]);
  client.socket.destroy();
}

function answer(app: Peer | undefined, content: string): void {
  app?.send(
    `HTTP/1.1 200 OK\r\n${DATE}\r\nConnection: close\r\nContent-Length: ${content.length}\r\n\r\n${content}`,
  );
}

/** Lets a while pass in which what was sent is taken; whatever comes later must do no harm either. */
function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 2));
}

/** What nobody thought of. */
export const random: readonly Case[] = [
  {
    topic: "random messages",
    name: "passes any valid request and any valid response as they are, several on a connection",
    run: async (stage) => {
      let client: Peer | undefined;
      let served = 0;
      await fc.assert(
        fc.asyncProperty(request, response, async (sent, given) => {
          // A failed run leaves a connection of which nobody knows the state.
          if (client === undefined || client.isOver() || served % 7 === 6)
            client = await stage.dial();
          const current = client;
          client = undefined;
          served++;
          await passAny(stage, current, sent, given);
          client = current;
        }),
        TRY,
      );
    },
  },
  {
    topic: "random messages",
    name: "lives on whatever a client sends, and lets nobody have what is another's",
    alone: true,
    run: async (stage) => {
      await fc.assert(
        fc.asyncProperty(
          request,
          fc.array(change, { minLength: 1, maxLength: 4 }),
          fc.boolean(),
          async (sent, changes, ends) => {
            const mark = `<mark-${++marks}>`;
            const client = await stage.dial();
            const lineOf = `Host: ${stage.host}\r\nX-Mark: ${mark}\r\n`;
            const whole = `${sent.method} ${sent.target} HTTP/1.1\r\n${lineOf}${spellLines(sent.lines)}${spellBody(sent.body)}`;
            await sendCut(client, changed(whole, changes), sent.cuts);
            if (ends) client.socket.end();
            await settle();
            // What has got through is answered with the marks that it carries.
            for (const app of stage.asking) {
              if (!app.isOver() && isWhole(app.text())) {
                answer(app, marksIn(app.text()).join());
                app.socket.end();
              }
            }
            await serveSound(stage);
            const seen = marksIn(client.text()).filter((one) => one !== mark);
            assert.deepEqual(seen, []);
            client.socket.destroy();
          },
        ),
        TRY,
      );
    },
  },
  {
    topic: "random messages",
    name: "lives on whatever an app sends, and lets nobody have what is another's",
    alone: true,
    run: async (stage) => {
      await fc.assert(
        fc.asyncProperty(
          response,
          fc.array(change, { minLength: 1, maxLength: 4 }),
          fc.boolean(),
          async (given, changes, isLast) => {
            const mark = `<mark-${++marks}>`;
            const client = await stage.dial();
            client.send(`GET /garbage-${marks} HTTP/1.1\r\nHost: ${stage.host}\r\n\r\n`);
            const path = `GET /garbage-${marks} `;
            await eventually(
              () => stage.asking.some((app) => app.text().startsWith(path)),
              () => `for ${path}`,
            );
            const app = stage.asking.find((one) => one.text().startsWith(path));
            assert.ok(app !== undefined);
            const lineOf = `${DATE}\r\nX-Mark: ${mark}\r\n`;
            const whole = `HTTP/1.1 ${given.status} ${given.reason}\r\n${lineOf}${spellLines(given.lines)}${spellBody(given.body)}`;
            await sendCut(app, changed(whole, changes) + (isLast ? "" : mark), given.cuts);
            if (isLast) app.socket.end();
            await settle();
            await serveSound(stage);
            const seen = marksIn(client.text()).filter((one) => one !== mark);
            assert.deepEqual(seen, []);
            client.socket.destroy();
            app.socket.destroy();
          },
        ),
        TRY,
      );
    },
  },
];
