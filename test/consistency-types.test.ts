/**
 * Holds the types of the adapters against Hono's, and against those of another copy of Hono: a class of the same shape
 * that the compiler takes for another one, as the copies from npm and from JSR are to each other.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { getConnInfo } from "@hono/node-server/conninfo";
import { type Context, Hono, type MiddlewareHandler } from "hono";
import { consistency as wrapper, type Txid } from "../adapters/fetch.ts";
import { consistency, type TxidVariables } from "../adapters/hono.ts";
import { memory } from "../adapters/memory.ts";

interface OtherEnv {
  Bindings?: object;
  Variables?: object;
}

class OtherRequest {
  readonly raw: Request;
  #path = "/";
  constructor(raw: Request) {
    this.raw = raw;
  }
  get path(): string {
    return this.#path;
  }
}

class OtherContext<E extends OtherEnv> {
  readonly env: E["Bindings"];
  readonly req: OtherRequest;
  readonly #variables = new Map<PropertyKey, unknown>();
  #response: Response | undefined;
  finalized = false;
  constructor(request: Request, env: E["Bindings"]) {
    this.req = new OtherRequest(request);
    this.env = env;
  }
  get res(): Response {
    return (this.#response ??= new Response(null));
  }
  set res(response: Response | undefined) {
    this.#response = response;
    this.finalized = true;
  }
  set = <Key extends keyof E["Variables"]>(key: Key, value: E["Variables"][Key]): void => {
    this.#variables.set(key, value);
  };
  get = <Key extends keyof E["Variables"]>(key: Key): E["Variables"][Key] =>
    // What was set under a key has its type.
    this.#variables.get(key) as E["Variables"][Key];
}

type OtherMiddleware<E extends OtherEnv> = (
  c: OtherContext<E>,
  next: () => Promise<void>,
) => Promise<Response | void>;

/** The least of a Hono that runs middlewares around one handler. */
class OtherHono<E extends OtherEnv> {
  readonly #middlewares: OtherMiddleware<E>[] = [];
  use(...middlewares: OtherMiddleware<E>[]): this {
    this.#middlewares.push(...middlewares);
    return this;
  }
  async fetch(
    request: Request,
    env: E["Bindings"],
    handler: (c: OtherContext<E>) => Response,
  ): Promise<Response> {
    const context = new OtherContext<E>(request, env);
    const run = async (index: number): Promise<void> => {
      const middleware = this.#middlewares[index];
      if (middleware === undefined) context.res = handler(context);
      else context.res = (await middleware(context, () => run(index + 1))) ?? context.res;
    };
    await run(0);
    return context.res;
  }
}

interface OwnEnv {
  Variables: TxidVariables;
  Bindings: { address: string };
}

const storage = memory({ position: "0000000000000001" });

describe("the types of consistency()", () => {
  it("fit Hono's", async () => {
    const app = new Hono<{
      Variables: TxidVariables & { user: string };
      Bindings: { name: string };
    }>();
    app.use(consistency({ storage }));
    app.use("/api/*", consistency({ storage }));
    app.use("/two/*", consistency({ storage }), async (_, next) => next());
    app.get("/one", consistency({ storage }), (c) => c.text(c.var.txid.role));
    app.get("/", async (c) => {
      const txid: Txid = c.var.txid;
      const position: string | undefined = await txid.position;
      const waited: number | undefined = txid.waited;
      // @ts-expect-error What is known is not the app's to change.
      txid.role = "primary";
      if (position === undefined) return c.var.txid.primary();
      return c.json({ position, waited, env: c.env.name, get: c.get("txid") === txid });
    });
    const kept: MiddlewareHandler = consistency({ storage });
    const bare = new Hono().use(kept).use("*", consistency({ storage }));
    bare.get("/", (c) => c.text("x"));
    const chained = new Hono<{ Variables: TxidVariables }>()
      .basePath("/base")
      .use(consistency({ storage, clientAddress: (c: Context) => getConnInfo(c).remote.address }))
      .get("/", (c) => c.text(c.var.txid.role));
    // @ts-expect-error Only whoever says that the variable is there can read it.
    new Hono().get("/", (c) => c.text(c.var.txid.role));
    app.route("/chained", chained);
    app.mount("/fetch", wrapper({ storage })(bare.fetch));
    const response = await app.request("/", {}, { name: "env" });
    assert.equal(response.status, 200);
    assert.equal((await bare.request("/")).status, 200);
  });

  it("fit those of another copy of Hono", async () => {
    const app = new OtherHono<OwnEnv>();
    app.use(consistency({ storage }));
    app.use(
      consistency({
        storage,
        clientAddress: (c: OtherContext<OwnEnv>) => c.env.address,
      }),
    );
    const response = await app.fetch(
      new Request("http://app.test/", { method: "POST" }),
      { address: "192.0.2.1" },
      (c) => new Response(c.get("txid").role),
    );
    assert.equal(await response.text(), "primary");
    assert.match(response.headers.get("set-cookie") ?? "", /^__txid=/);
  });

  it("let fetch handlers keep their arguments", async () => {
    const consistent = wrapper({ storage });
    const plain: (request: Request) => Promise<Response> = consistent(
      (request: Request) => new Response(request.method),
    );
    const more: (request: Request, env: { name: string }) => Promise<Response> = consistent(
      async (_: Request, env: { name: string }) => new Response(env.name),
    );
    const known = wrapper({ storage, clientAddress: (_, address: string) => address });
    const short = known(() => new Response("x"));
    const request = new Request("http://app.test/");
    // @ts-expect-error The address is needed where it is asked for.
    const wrong: (request: Request) => Promise<Response> = short;
    assert.ok(wrong);
    assert.equal(await (await plain(request)).text(), "GET");
    assert.equal(await (await more(request, { name: "env" })).text(), "env");
    assert.equal(await (await short(request, "192.0.2.1")).text(), "x");
    const hono = known(new Hono().get("/", (c) => c.text("hono")).fetch);
    assert.equal(await (await hono(request, "192.0.2.1")).text(), "hono");
  });
});
