/**
 * Consistency inside a Hono app, without a process in front of it: the policy of the proxy as a middleware.
 *
 * @example
 * ```ts
 * import { consistency, type TxidVariables } from "@txid/proxy/hono";
 * import { memory } from "@txid/proxy/memory";
 * import { Hono } from "hono";
 *
 * const app = new Hono<{ Variables: TxidVariables }>();
 * app.use(consistency({ storage: memory() }));
 * app.get("/", async (c) => c.text(`This node is at ${await c.var.txid.position}`));
 * app.post("/", (c) => c.text("Written"));
 * const response = await app.request("/", { method: "POST" });
 * console.log(response.headers.get("set-cookie"));
 * ```
 *
 * @module
 */
import { moving } from "../src/answer.ts";
import { toResponse } from "../src/web.ts";
import { isRunning, type Txid, txidOf } from "../src/word.ts";
import {
  type ConsistencyOptions,
  type Controls,
  createInProcess,
  createPeerReader,
} from "./in-process.ts";

export type { Role, Txid } from "../src/word.ts";
export type { ConsistencyOptions, Controls } from "./in-process.ts";

/** The variables that the middleware sets, for `new Hono<{ Variables: TxidVariables }>()`. */
export interface TxidVariables {
  /** What is known of the request, and what the app can say of it. */
  readonly txid: Txid;
}

/** The part of Hono's context that the middleware uses: of whatever copy of Hono, from npm or from JSR. */
export interface HonoContext {
  /** The request. */
  readonly req: {
    /** The Web request. */
    readonly raw: Request;
  };
  /** The response; what is set is merged with what is there, unless that is taken away first. */
  res: Response | undefined;
  /** Whether there is a response. */
  readonly finalized: boolean;
  /** Sets a variable of the request. */
  set(key: "txid", value: Txid): void;
}

/** What {@linkcode consistency} takes. */
export interface HonoOptions<C> extends ConsistencyOptions {
  /**
   * Returns the address of the connection's peer, as with `(c: Context) => getConnInfo(c).remote.address`. Whoever can
   * choose it chooses for whom he counts, and whether his `X-Forwarded-*` lines are believed: it must come from the
   * connection and not from a header. Left out: nobody is known, no limit per client holds, and everybody's lines are
   * believed. Where it returns undefined, as for a client that has left, nothing of the request's is.
   */
  readonly clientAddress?: ((context: C) => string | undefined) | undefined;
}

/** A middleware that makes what comes behind it consistent. */
export interface ConsistencyMiddleware<C> extends Controls {
  (context: C, next: () => Promise<void>): Promise<Response | void>;
}

/**
 * Creates a middleware that makes an app consistent: what writes runs on the primary, and a read runs once this node has
 * what its client has seen. Errors are handled by the app as without it. It decides for what comes behind it, so put it
 * before what reads bodies or writes; of two for one request the first one decides.
 *
 * @param options How it behaves; `storage` is required.
 * @throws {TypeError} When an option has the wrong shape.
 * @throws {RangeError} When an option is out of range.
 *
 * @example
 * ```ts
 * import { consistency, type TxidVariables } from "@txid/proxy/hono";
 * import { memory } from "@txid/proxy/memory";
 * import { Hono } from "hono";
 *
 * const app = new Hono<{ Variables: TxidVariables }>();
 * app.use(consistency({ storage: memory() }));
 * app.get("/visits", (c) => {
 *   const { txid } = c.var;
 *   if (txid.role !== "primary") return txid.primary();
 *   txid.wrote();
 *   return c.text("Counted");
 * });
 * console.log((await app.request("/visits")).headers.get("set-cookie"));
 * ```
 */
export function consistency<C extends HonoContext = HonoContext>(
  options: HonoOptions<C>,
): ConsistencyMiddleware<C> {
  const { clientAddress, ...rest } = options;
  const { answer, health, drain, close } = createInProcess(rest);
  const addressOf = createPeerReader(clientAddress);

  async function middleware(context: C, next: () => Promise<void>): Promise<void> {
    const request = context.req.raw;
    if (isRunning(request)) {
      tell(context, request);
      return next();
    }
    let hasRun = false;
    const response = await answer(request, addressOf(context), async () => {
      // Hono runs what comes behind a middleware once: the request came back because the primary moved meanwhile.
      if (hasRun) return toResponse(moving());
      hasRun = true;
      tell(context, request);
      await next();
      // What answers nothing is for Hono to complain of.
      return context.finalized ? context.res : undefined;
    });
    if (response === undefined || (hasRun && response === context.res)) return;
    const own = hasRun ? response : withEarly(response, context.res?.headers ?? new Headers());
    // Hono would put the lines of the old response on the new one, and its cookies in the place of the tokens.
    context.res = undefined;
    context.res = own;
  }

  return Object.assign(middleware, { health, drain, close });
}

function tell(context: HonoContext, request: Request): void {
  const txid = txidOf(request);
  if (txid !== undefined) context.set("txid", txid);
}

/** Adds what middlewares before this one have set, where an answer that came without the app does not have it. */
function withEarly(response: Response, early: Headers): Response {
  const known = new Set(Array.from(response.headers, ([name, value]) => keyOf(name, value)));
  const missing = Array.from(early).filter(
    ([name, value]) => name !== "content-type" && !known.has(keyOf(name, value)),
  );
  if (missing.length === 0) return response;
  const own = new Response(response.body, response);
  for (const [name, value] of missing) own.headers.append(name, value);
  return own;
}

/** What there can be one of: a field, or a cookie. */
function keyOf(name: string, value: string): string {
  return name === "set-cookie" ? `${name} ${value.slice(0, value.indexOf("=")).trim()}` : name;
}
