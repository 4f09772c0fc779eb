import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { freePort } from "../cluster/ports.ts";
import {
  type HeaderLines,
  type Transport,
  TransportError,
  type UpstreamRequest,
} from "../src/index.ts";
import {
  answering,
  eventually,
  listen,
  type Origin,
  type Peer,
  pieces,
  readText,
} from "./http1-wire.ts";

const OK = "HTTP/1.1 200 OK\r\n";

/** A transport that may hold connections. */
export type ClosableTransport = Transport & { close(): void };

/** Asserts that a request fails in this way. */
export function fails(failure: TransportError["failure"]): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof TransportError, String(error));
    assert.equal(error.failure, failure, error.message);
    return true;
  };
}

/**
 * Says what an exact transport is: every byte of an HTTP/1.1 message arrives as it was sent, nothing is sent twice, and
 * whoever leaves takes the connection along.
 *
 * @param name The transport's public name.
 * @param makeTransport Makes one with connections of its own.
 */
export function transportContract(name: string, makeTransport: () => ClosableTransport): void {
  describe(`${name} as a transport`, () => {
    let origin: Origin;
    let transport: ClosableTransport;
    let onPeer: (peer: Peer, index: number) => void = () => {};
    let errors: unknown[] = [];
    const note = (error: unknown): unknown => errors.push(error);

    function request(more: Partial<UpstreamRequest> = {}): UpstreamRequest {
      return {
        method: "GET",
        target: "/a?b",
        headers: ["Host", "a.test"],
        body: null,
        signal: new AbortController().signal,
        origin: origin.origin,
        upgrade: false,
        ...more,
      };
    }

    before(async () => {
      process.on("unhandledRejection", note);
      origin = await listen((peer, index) => onPeer(peer, index));
    });
    after(async () => {
      process.off("unhandledRejection", note);
      await origin.close();
    });
    beforeEach(() => {
      errors = [];
      origin.peers.length = 0;
      transport = makeTransport();
    });
    afterEach(() => {
      transport.close();
      for (const peer of origin.peers) peer.socket.destroy();
      assert.deepEqual(errors, []);
    });

    it("sends the request byte for byte", async () => {
      let sent = "";
      onPeer = (peer) => {
        peer.socket.on("data", () => {
          sent = peer.text();
          if (sent.endsWith("\r\n\r\n")) peer.send(`${OK}Content-Length: 2\r\n\r\nok`);
        });
      };
      const headers = ["hOsT", "a.test", "X", "1", "x", "", "X", "caf\xe9"];
      const response = await transport(request({ target: "/%zz;'\"?\xe9", headers }));
      assert.equal(await readText(response.body), "ok");
      assert.equal(
        sent,
        "GET /%zz;'\"?\xe9 HTTP/1.1\r\nhOsT: a.test\r\nX: 1\r\nx: \r\nX: caf\xe9\r\n\r\n",
      );
    });

    const answers: [string, string, string, string, boolean][] = [
      ["a length", "GET", `${OK}Content-Length: 5\r\n\r\nhello`, "hello", false],
      [
        "chunks",
        "GET",
        `${OK}Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n3\r\n wo\r\n0\r\n\r\n`,
        "hello wo",
        false,
      ],
      ["the end of the connection", "GET", `${OK}\r\nhello`, "hello", true],
      [
        "the end of the connection in HTTP/1.0",
        "GET",
        "HTTP/1.0 200 OK\r\n\r\nhello",
        "hello",
        true,
      ],
      ["no body after HEAD", "HEAD", `${OK}Content-Length: 5\r\n\r\n`, "", false],
      [
        "no body after HEAD with chunks",
        "HEAD",
        `${OK}Transfer-Encoding: chunked\r\n\r\n`,
        "",
        false,
      ],
      ["no body with 204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", "", false],
      [
        "no body with 304",
        "GET",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        "",
        false,
      ],
      [
        "205 with a length of 0",
        "GET",
        "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
        "",
        false,
      ],
    ];
    for (const [what, method, answer, body, ends] of answers) {
      it(`reads a body framed by ${what}, whole or byte by byte`, async () => {
        onPeer = answering((_, peer) => {
          if (ends) setImmediate(() => peer.socket.end());
          return answer;
        });
        assert.equal(await readText((await transport(request({ method }))).body), body);
        onPeer = (peer) => {
          peer.socket.once("data", () => {
            let at = 0;
            const step = (): void => {
              if (at < answer.length) {
                peer.send(answer.slice(at, ++at));
                setImmediate(step);
              } else if (ends) peer.socket.end();
            };
            step();
          });
        };
        for (const peer of origin.peers) peer.socket.destroy();
        const fresh = makeTransport();
        assert.equal(await readText((await fresh(request({ method }))).body), body);
        fresh.close();
      });
    }

    it("hands on status, reason phrase, duplicates and bytes beyond ASCII", async () => {
      onPeer = answering(
        () =>
          "HTTP/1.1 418 caf\xe9 time\r\nSet-Cookie: a=1\r\nset-cookie: b=\xff\r\nEmpty:\r\nContent-Length: 0\r\n\r\n",
      );
      const { status, statusText, headers } = await transport(request());
      assert.equal(status, 418);
      assert.equal(statusText, "caf\xe9 time");
      assert.deepEqual(headers, [
        "Set-Cookie",
        "a=1",
        "set-cookie",
        "b=\xff",
        "Empty",
        "",
        "Content-Length",
        "0",
      ]);
    });

    it("hands on trailers once the body has ended", async () => {
      onPeer = answering(
        () => `${OK}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: \xe9\r\n\r\n`,
      );
      const response = await transport(request());
      assert.equal(await readText(response.body), "a");
      assert.deepEqual(response.trailers?.(), ["X-Sum", "\xe9"]);
    });

    it("hands on informational responses", async () => {
      onPeer = answering(
        () =>
          `HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 102 \r\n\r\n${OK}Content-Length: 0\r\n\r\n`,
      );
      const informed: [number, HeaderLines][] = [];
      const inform = (status: number, headers: HeaderLines): void =>
        void informed.push([status, headers]);
      assert.equal((await transport(request({ inform }))).status, 200);
      assert.deepEqual(informed, [
        [103, ["Link", "a"]],
        [102, []],
      ]);
    });

    it("keeps a connection and does not keep one that closes", async () => {
      onPeer = answering(
        (head) =>
          `${OK}${head.includes("/last") ? "Connection: close\r\n" : ""}Content-Length: 1\r\n\r\na`,
      );
      for (let count = 0; count < 3; count++) await readText((await transport(request())).body);
      assert.equal(origin.peers.length, 1);
      await transport(request({ target: "/last" }));
      await transport(request());
      assert.equal(origin.peers.length, 2);
      await origin.peers[0]?.over();
    });

    const malformed: [string, string][] = [
      ["garbage", "garbage\r\n\r\n"],
      ["garbage without an end of line", `SSH-2.0-x\n`],
      ["lengths and chunks", `${OK}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`],
      ["two lengths", `${OK}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`],
      ["a bad chunk in the same piece", `${OK}Transfer-Encoding: chunked\r\n\r\nxyz\r\n`],
      ["a folded line", `${OK}A: b\r\n c\r\nContent-Length: 0\r\n\r\n`],
      ["a head beyond the limit", `${OK}A: ${"a".repeat(200_000)}`],
      ["101 that nobody has asked for", "HTTP/1.1 101 Switching Protocols\r\n\r\n"],
    ];
    for (const [what, answer] of malformed) {
      it(`calls ${what} malformed and closes`, async () => {
        onPeer = answering(() => answer);
        await assert.rejects(transport(request()), fails("malformed"));
        await origin.peers[0]?.over();
      });
    }

    const cut: [string, string, string][] = [
      ["a length", `${OK}Content-Length: 9\r\n\r\n`, "hello"],
      ["chunks", `${OK}Transfer-Encoding: chunked\r\n\r\n`, "5\r\nhello\r\n"],
      [
        "chunks without the last empty line",
        `${OK}Transfer-Encoding: chunked\r\n\r\n`,
        "5\r\nhello\r\n0\r\n",
      ],
      ["chunks with a bad one", `${OK}Transfer-Encoding: chunked\r\n\r\n`, "5\r\nhello\r\nx\r\n"],
    ];
    for (const [what, head, part] of cut) {
      for (const way of ["end", "destroy"] as const) {
        it(`never ends a body cut by ${way} and framed by ${what}`, async () => {
          onPeer = (peer) => {
            peer.socket.once("data", () => peer.send(head));
          };
          const response = await transport(request());
          const peer = origin.peers[0];
          assert.ok(
            peer !== undefined && response.body !== null && !(response.body instanceof Uint8Array),
          );
          peer.socket.write(part, "latin1", () => peer.socket[way]());
          await assert.rejects(readText(response.body), TransportError);
        });
      }
    }

    it("does not mind a broken body that nobody reads", async () => {
      onPeer = (peer) => {
        peer.socket.once("data", () => peer.send(`${OK}Content-Length: 9\r\n\r\na`));
      };
      await transport(request());
      origin.peers[0]?.socket.destroy();
      await new Promise((resolve) => setTimeout(resolve, 20));
    });

    it("closes a connection that says more than was asked, at once and later", async () => {
      onPeer = answering(
        () => `${OK}Content-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`,
      );
      assert.equal(await readText((await transport(request())).body), "a");
      await origin.peers[0]?.over();
      onPeer = answering(() => `${OK}Content-Length: 1\r\n\r\na`);
      assert.equal(await readText((await transport(request())).body), "a");
      origin.peers[1]?.send(`${OK}Content-Length: 4\r\n\r\nevil`);
      await origin.peers[1]?.over();
      assert.equal(await readText((await transport(request())).body), "a");
      assert.equal(origin.peers.length, 3);
    });

    it("closes a connection that says more after an answer without a body", async () => {
      onPeer = answering(() => "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n");
      assert.equal((await transport(request())).status, 204);
      await origin.peers[0]?.over();
    });

    it("never ends a body that the end of the connection frames when the connection is reset", async () => {
      onPeer = (peer) => {
        peer.socket.once("data", () => peer.send(`${OK}\r\nhello`));
      };
      const response = await transport(request());
      const reading = assert.rejects(readText(response.body), fails("reset"));
      origin.peers[0]?.socket.resetAndDestroy();
      await reading;
    });

    it("lets go of a body that waits for its source when the answer is there or the upstream is gone", async () => {
      for (const answer of ["HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", undefined]) {
        onPeer = (peer) => {
          peer.socket.once("data", () => {
            if (answer === undefined) peer.socket.destroy();
            else peer.send(answer);
          });
        };
        let left = false;
        const silent: AsyncIterable<Uint8Array> = {
          [Symbol.asyncIterator]: () => ({
            next: () => new Promise(() => {}),
            return: () => {
              left = true;
              return Promise.reject(new Error("return"));
            },
          }),
        };
        const response = transport(request({ method: "POST", body: silent }));
        if (answer === undefined) await assert.rejects(response, fails("reset"));
        else assert.equal((await response).status, 413);
        await eventually(
          () => left,
          () => "for the body to be let go",
        );
      }
    });

    it("sends a body with its length, in chunks, or empty", async () => {
      onPeer = (peer) => {
        peer.socket.on("data", () => {
          if (/(\r\n\r\n(hello)?|0\r\n(X: y\r\n)?\r\n)$/.test(peer.text())) {
            const text = peer.text();
            if (text.includes("chunked") && !text.includes("\r\n0\r\n")) return;
            if (text.includes("Content-Length: 5") && !text.endsWith("hello")) return;
            peer.clear();
            peer.send(`${OK}Content-Length: ${text.length}\r\n\r\n${text}`);
          }
        });
      };
      const post = async (more: Partial<UpstreamRequest>): Promise<string> =>
        readText((await transport(request({ method: "POST", ...more }))).body);
      const line = "POST /a?b HTTP/1.1\r\nHost: a.test\r\n";
      assert.equal(
        await post({ body: Buffer.from("hello") }),
        `${line}Content-Length: 5\r\n\r\nhello`,
      );
      const headers = ["Host", "a.test", "Content-Length", "5"];
      assert.equal(
        await post({ headers, body: pieces("he", "llo") }),
        `${line}Content-Length: 5\r\n\r\nhello`,
      );
      assert.equal(await post({ body: null }), `${line}Content-Length: 0\r\n\r\n`);
      assert.equal(
        await post({ body: pieces("hel", "", "lo"), trailers: () => ["X", "y"] }),
        `${line}Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nX: y\r\n\r\n`,
      );
      assert.equal(origin.peers.length, 1);
    });

    for (const [what, body] of [
      ["short", ["hel"]],
      ["long", ["hello", "!"]],
    ] as const) {
      it(`closes when a body is too ${what} for its length`, async () => {
        onPeer = () => {};
        const headers = ["Host", "a.test", "Content-Length", "5"];
        await assert.rejects(
          transport(request({ method: "POST", headers, body: pieces(...body) })),
          fails("request"),
        );
        const text = await origin.peers[0]?.over();
        assert.ok(text !== undefined && !text.includes("!"));
      });
    }

    it("closes when the body fails", async () => {
      onPeer = () => {};
      async function* failing(): AsyncGenerator<Uint8Array> {
        yield Buffer.from("a");
        throw new Error("gone");
      }
      await assert.rejects(
        transport(request({ method: "POST", body: failing() })),
        fails("request"),
      );
      const text = await origin.peers[0]?.over();
      assert.ok(text?.includes("\r\n0\r\n") === false);
    });

    const injections: [string, Partial<UpstreamRequest>][] = [
      ["a second length", { headers: ["Host", "a", "Content-Length", "0", "Content-Length", "0"] }],
      ["a length in other digits", { headers: ["Host", "a", "Content-Length", "0x0"] }],
      ["a coding beside ours", { headers: ["Host", "a", "Transfer-Encoding", "chunked"] }],
      ["a value", { headers: ["Host", "a", "X", "a\r\nY: b"] }],
      ["a value with NUL", { headers: ["Host", "a", "X", "a\0"] }],
      ["a name", { headers: ["Host", "a", "X: y\r\nZ", "a"] }],
      ["the target", { target: "/ HTTP/1.1\r\nX: y" }],
      ["a target with a blank", { target: "/a b" }],
      ["the method", { method: "GET / HTTP/1.1\r\n" }],
    ];
    for (const [what, more] of injections) {
      it(`sends nothing when ${what} would be read as more`, async () => {
        onPeer = () => {};
        await assert.rejects(transport(request(more)), fails("request"));
        assert.equal((await origin.peers[0]?.over()) ?? "", "");
      });
    }

    it("delivers an answer that comes before the body is sent, and closes", async () => {
      const size = 20;
      for (let round = 0; round < size; round++) {
        onPeer = (peer) => {
          peer.socket.once("data", () =>
            peer.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig"),
          );
        };
        let returned = false;
        async function* endless(): AsyncGenerator<Uint8Array> {
          try {
            for (;;) {
              yield new Uint8Array(16_384);
              await new Promise((resolve) => setImmediate(resolve));
            }
          } finally {
            returned = true;
          }
        }
        const response = await transport(request({ method: "POST", body: endless() }));
        assert.equal(response.status, 413);
        assert.equal(await readText(response.body), "big");
        await eventually(
          () => returned,
          () => "for the body to be let go",
        );
        await origin.peers.at(-1)?.over();
      }
      assert.equal(origin.peers.length, size);
    });

    it("delivers an answer whose upstream then resets with the body unread", async () => {
      for (let round = 0; round < 40; round++) {
        onPeer = (peer) => {
          peer.socket.on("data", () => {
            if (peer.text().length < 200_000) return;
            // Unread bytes turn the end of a connection into a reset.
            peer.socket.removeAllListeners("data");
            peer.socket.pause();
            peer.socket.write("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig", () =>
              setImmediate(() => peer.socket.destroy()),
            );
          });
        };
        async function* large(): AsyncGenerator<Uint8Array> {
          for (let count = 0; count < 10_000; count++) yield new Uint8Array(16_384);
        }
        const response = await transport(request({ method: "POST", body: large() }));
        assert.equal(response.status, 413);
        assert.equal(await readText(response.body), "big");
      }
    });

    it("says reset when the upstream resets with the body unread and no answer", async () => {
      onPeer = (peer) => {
        peer.socket.once("data", () => {
          peer.socket.pause();
          setImmediate(() => peer.socket.destroy());
        });
      };
      async function* large(): AsyncGenerator<Uint8Array> {
        for (let count = 0; count < 10_000; count++) yield new Uint8Array(16_384);
      }
      for (const body of [large(), new Uint8Array(32 * 1024 * 1024)])
        await assert.rejects(transport(request({ method: "POST", body })), fails("reset"));
    });

    it("refuses a body whose pieces are no bytes", async () => {
      onPeer = () => {};
      // A foreign stream may hand on anything, whatever its type says.
      const body = foreign();
      await assert.rejects(transport(request({ method: "POST", body })), (error) => {
        assert.ok(fails("request")(error) && error instanceof TransportError);
        assert.match(String(error.cause), /TypeError: Cannot write body: .* string/);
        return true;
      });
      const text = await origin.peers[0]?.over();
      assert.ok(text?.endsWith("\r\n\r\n"), text);
    });

    it("waits with the body for 100, and sends none after a final answer", async () => {
      const headers = ["Host", "a.test", "Expect", "100-continue", "Content-Length", "5"];
      onPeer = (peer) => {
        peer.socket.once("data", () => {
          assert.ok(peer.text().endsWith("\r\n\r\n"));
          peer.send("HTTP/1.1 100 Continue\r\n\r\n");
          void peer
            .until("hello")
            .then(() => peer.send(`${OK}Connection: close\r\nContent-Length: 0\r\n\r\n`));
        });
      };
      const informed: number[] = [];
      const inform = (status: number): void => void informed.push(status);
      assert.equal(
        (await transport(request({ method: "POST", headers, body: pieces("hello"), inform })))
          .status,
        200,
      );
      assert.deepEqual(informed, [100]);
      onPeer = answering(() => "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n");
      let pulled = false;
      async function* body(): AsyncGenerator<Uint8Array> {
        pulled = true;
        yield Buffer.from("hello");
      }
      assert.equal(
        (await transport(request({ method: "POST", headers, body: body() }))).status,
        417,
      );
      await origin.peers.at(-1)?.over();
      assert.equal(pulled, false);
    });

    it("carries both directions at once", async () => {
      onPeer = (peer) => {
        peer.socket.once("data", () => peer.send(`${OK}Transfer-Encoding: chunked\r\n\r\n`));
      };
      let push: (text: string) => void = () => {};
      async function* body(): AsyncGenerator<Uint8Array> {
        for (let count = 0; count < 3; count++) {
          const text = await new Promise<string>((resolve) => (push = resolve));
          yield Buffer.from(text);
        }
      }
      const response = await transport(request({ method: "POST", body: body() }));
      const peer = origin.peers[0];
      assert.ok(
        peer !== undefined && response.body !== null && !(response.body instanceof Uint8Array),
      );
      const reader = response.body[Symbol.asyncIterator]();
      for (const text of ["one", "two", "six"]) {
        push(text);
        await peer.until(`3\r\n${text}\r\n`);
        peer.send(`3\r\n${text}\r\n`);
        const next = await reader.next();
        assert.ok(next.done !== true);
        assert.equal(Buffer.from(next.value).toString(), text);
      }
      await peer.until("0\r\n\r\n");
      peer.send("0\r\n\r\n");
      assert.equal((await reader.next()).done, true);
    });

    describe("abort", () => {
      const phases: [string, (peer: Peer) => void, Partial<UpstreamRequest>][] = [
        ["while the head is awaited", () => {}, {}],
        ["in the middle of the head", (peer) => peer.send("HTTP/1.1 200"), {}],
        ["after an informational response", (peer) => peer.send("HTTP/1.1 103 \r\n\r\n"), {}],
      ];
      for (const [what, act, more] of phases) {
        it(`closes the connection ${what}`, async () => {
          onPeer = (peer) => void peer.socket.once("data", () => act(peer));
          const controller = new AbortController();
          const answer = transport(request({ signal: controller.signal, ...more }));
          const failed = assert.rejects(answer, fails("aborted"));
          await eventually(
            () => (origin.peers[0]?.text().length ?? 0) > 0,
            () => "for the request",
          );
          controller.abort();
          await failed;
          await origin.peers[0]?.over();
        });
      }

      it("sends nothing when it came before", async () => {
        onPeer = () => {};
        await assert.rejects(transport(request({ signal: AbortSignal.abort() })), fails("aborted"));
        assert.equal(origin.peers.length, 0);
        const controller = new AbortController();
        const failed = assert.rejects(
          transport(request({ signal: controller.signal })),
          fails("aborted"),
        );
        controller.abort();
        await failed;
        await eventually(
          () => origin.peers.every((peer) => peer.isOver()),
          () => "for the end",
        );
        assert.ok(origin.peers.every((peer) => peer.text() === ""));
      });

      it("closes the connection while the body is sent, whatever the body waits for", async () => {
        onPeer = () => {};
        async function* stuck(): AsyncGenerator<Uint8Array> {
          yield Buffer.from("a");
          await new Promise(() => {});
        }
        const controller = new AbortController();
        const failed = assert.rejects(
          transport(request({ method: "POST", body: stuck(), signal: controller.signal })),
          fails("aborted"),
        );
        await eventually(
          () => origin.peers[0]?.text().endsWith("1\r\na\r\n") === true,
          () => "for the body",
        );
        controller.abort();
        await failed;
        await origin.peers[0]?.over();
      });

      it("breaks the answer's body off", async () => {
        onPeer = answering(() => `${OK}Content-Length: 9\r\n\r\na`);
        const controller = new AbortController();
        const response = await transport(request({ signal: controller.signal }));
        const reading = assert.rejects(readText(response.body), fails("aborted"));
        controller.abort();
        await reading;
        await origin.peers[0]?.over();
      });

      it("closes the connection when the reader leaves", async () => {
        onPeer = answering(() => `${OK}Content-Length: 9\r\n\r\na`);
        const response = await transport(request());
        assert.ok(response.body !== null && !(response.body instanceof Uint8Array));
        for await (const piece of response.body) {
          assert.equal(piece.length, 1);
          break;
        }
        await origin.peers[0]?.over();
      });

      it("does nothing to the next request when it comes after the answer", async () => {
        onPeer = answering(() => `${OK}Content-Length: 1\r\n\r\na`);
        const controller = new AbortController();
        await readText((await transport(request({ signal: controller.signal }))).body);
        const next = transport(request());
        controller.abort();
        assert.equal(await readText((await next).body), "a");
        assert.equal(origin.peers.length, 1);
      });
    });

    describe("a kept connection that turns out to be closed", () => {
      const rows: [string, Partial<UpstreamRequest>, boolean][] = [
        ["GET", { method: "GET" }, true],
        ["HEAD", { method: "HEAD" }, true],
        ["POST without a body", { method: "POST" }, false],
        ["POST with a body", { method: "POST", body: Buffer.from("hello") }, false],
        ["DELETE", { method: "DELETE" }, false],
        ["PUT", { method: "PUT", body: Buffer.from("hello") }, false],
        ["GET with a body", { method: "GET", body: Buffer.from("hello") }, false],
        ["GET that writes", { method: "GET", once: true }, false],
      ];
      for (const [what, more, repeated] of rows) {
        for (const way of ["end", "destroy"] as const) {
          it(`${repeated ? "sends" : "does not send"} ${what} again after ${way}`, async () => {
            let heads = 0;
            onPeer = (peer) => {
              let first = true;
              peer.socket.on("data", () => {
                heads++;
                if (first || repeated) {
                  if (first) peer.send(`${OK}Content-Length: 0\r\n\r\n`);
                  else peer.socket[way]();
                } else peer.socket[way]();
                first = false;
              });
            };
            await transport(request());
            const answer = transport(request(more));
            if (repeated) assert.equal((await answer).status, 200);
            else await assert.rejects(answer, fails("reset"));
            assert.equal(origin.peers.length, repeated ? 2 : 1);
            assert.equal(heads, repeated ? 3 : 2);
          });
        }
      }

      it("is not used once its end is known", async () => {
        onPeer = answering(() => `${OK}Content-Length: 0\r\n\r\n`);
        await transport(request());
        const peer = origin.peers[0];
        peer?.socket.end();
        await peer?.over();
        const response = await transport(request({ method: "POST" }));
        assert.equal(response.status, 200);
        assert.equal(origin.peers.length, 2);
      });

      it("sends GET again only once", async () => {
        let heads = 0;
        onPeer = (peer, index) => {
          peer.socket.on("data", () => {
            heads++;
            if (index === 0 && heads === 1) peer.send(`${OK}Content-Length: 0\r\n\r\n`);
            else peer.socket.destroy();
          });
        };
        await transport(request());
        await assert.rejects(transport(request()), fails("reset"));
        assert.equal(heads, 3);
      });

      it("does not send GET again once a byte of the answer has come", async () => {
        let heads = 0;
        onPeer = (peer) => {
          peer.socket.on("data", () => {
            heads++;
            if (heads === 1) peer.send(`${OK}Content-Length: 0\r\n\r\n`);
            else peer.socket.write("HTTP/1.1 20", () => peer.socket.end());
          });
        };
        await transport(request());
        await assert.rejects(transport(request()), fails("reset"));
        assert.equal(heads, 2);
      });
    });

    it("slows the upstream down while nobody reads", { timeout: 20_000 }, async () => {
      const total = 64 * 1024 * 1024;
      let written = 0;
      onPeer = (peer) => {
        peer.socket.once("data", () => {
          peer.send(`${OK}Content-Length: ${total}\r\n\r\n`);
          const block = new Uint8Array(256 * 1024);
          const step = (): void => {
            if (written >= total || peer.socket.destroyed) return;
            written += block.length;
            peer.socket.write(block, () => step());
          };
          step();
        });
      };
      const response = await transport(request());
      assert.ok(response.body !== null && !(response.body instanceof Uint8Array));
      const reader = response.body[Symbol.asyncIterator]();
      await reader.next();
      await still(() => written);
      assert.ok(written < total / 2, `${written} bytes were taken`);
      let read = 0;
      for (let next = await reader.next(); next.done !== true; next = await reader.next())
        read += next.value.length;
      assert.ok(read > total / 2);
    });

    it("slows the body down while the upstream does not read", { timeout: 20_000 }, async () => {
      onPeer = (peer) => void peer.socket.once("data", () => peer.socket.pause());
      let pulled = 0;
      async function* endless(): AsyncGenerator<Uint8Array> {
        while (pulled < 128 * 1024 * 1024) {
          pulled += 65_536;
          yield new Uint8Array(65_536);
        }
      }
      const controller = new AbortController();
      const failed = assert.rejects(
        transport(request({ method: "POST", body: endless(), signal: controller.signal })),
        fails("aborted"),
      );
      await eventually(
        () => pulled > 0,
        () => "for the body",
      );
      await still(() => pulled);
      assert.ok(pulled < 64 * 1024 * 1024, `${pulled} bytes were pulled`);
      controller.abort();
      await failed;
    });

    it("sends 600 slow requests at once", { timeout: 20_000 }, async () => {
      const waiting: Peer[] = [];
      onPeer = (peer) => void peer.socket.once("data", () => waiting.push(peer));
      const all = Promise.all(Array.from({ length: 600 }, () => transport(request())));
      await eventually(
        () => waiting.length === 600,
        () => `for 600 requests, there are ${waiting.length}`,
        15_000,
      );
      for (const peer of waiting) peer.send(`${OK}Content-Length: 0\r\n\r\n`);
      assert.equal((await all).length, 600);
    });

    it("says reset when the upstream closes before the head is whole", async () => {
      for (const part of ["", "HTTP/1.1 2", `${OK}A: b\r\n`]) {
        for (const way of ["end", "destroy"] as const) {
          onPeer = (peer) => {
            peer.socket.once("data", () => {
              if (part === "") peer.socket[way]();
              else peer.socket.write(part, () => peer.socket[way]());
            });
          };
          await assert.rejects(transport(request()), fails("reset"));
        }
      }
    });

    it("says refused where nobody listens, by address and by name", async () => {
      const port = await freePort();
      for (const host of ["127.0.0.1", "localhost"])
        await assert.rejects(
          transport(request({ origin: `http://${host}:${port}` })),
          fails("refused"),
        );
    });

    it("says unreachable where the name leads nowhere", { timeout: 20_000 }, async () => {
      await assert.rejects(
        transport(request({ origin: "http://nowhere.invalid:80" })),
        fails("unreachable"),
      );
    });

    it("finds localhost at the address that listens", async () => {
      onPeer = answering(() => `${OK}Content-Length: 0\r\n\r\n`);
      assert.equal(
        (await transport(request({ origin: `http://localhost:${origin.port}` }))).status,
        200,
      );
    });

    it("opens a tunnel whose directions end one by one", async () => {
      onPeer = (peer) => {
        peer.socket.once("data", () =>
          peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nfirst"),
        );
      };
      const headers = ["Host", "a.test", "Connection", "Upgrade", "Upgrade", "x"];
      const response = await transport(request({ headers, upgrade: true }));
      const peer = origin.peers[0];
      const { tunnel } = response;
      assert.ok(tunnel !== undefined && peer !== undefined);
      assert.deepEqual(response.headers, ["Upgrade", "x"]);
      peer.clear();
      await tunnel.write(Buffer.from("ping"));
      tunnel.end();
      await peer.until("ping");
      await peer.over();
      peer.socket.end("last");
      assert.equal(await readText(tunnel.readable), "firstlast");
    });

    it("breaks a tunnel off when the upstream does", async () => {
      onPeer = (peer) => {
        peer.socket.once("data", () =>
          peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
        );
      };
      const { tunnel } = await transport(request({ upgrade: true }));
      assert.ok(tunnel !== undefined);
      const reading = assert.rejects(readText(tunnel.readable));
      origin.peers[0]?.socket.resetAndDestroy();
      await reading;
    });
  });
}

/** A stream of text where bytes are due; its types know nothing of it. */
export function foreign(): AsyncIterable<Uint8Array> {
  const stream = new ReadableStream({
    start: (controller) => {
      controller.enqueue("text");
      controller.close();
    },
  });
  return stream;
}

/** Waits until a number has stopped growing. */
async function still(value: () => number): Promise<void> {
  let last = -1;
  let calm = 0;
  while (calm < 20) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    calm = value() === last ? calm + 1 : 0;
    last = value();
  }
}
