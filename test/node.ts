import {
  createProxy,
  type Decision,
  type HeaderLines,
  type IncomingRequest,
  type Position,
  type Primary,
  type Proxy,
  type ProxyOptions,
  type ResponseMessage,
  type UpstreamRequest,
} from "../src/index.ts";
import { fakeClock, type FakeClock } from "./fake-clock.ts";

export const T26 = "0000000000000026";
export const T27 = "0000000000000027";
export const T28 = "0000000000000028";
export const here: Primary = { at: "here" };
export const elsewhere: Primary = { at: "elsewhere", hostname: "p" };
export const unknown: Primary = { at: "unknown" };

/** What asks an edge to take a request to the primary, whose name is `p`. */
export const REPLAY_TO_P = "instance=p;timeout=5000ms;fallback=force_self;state=txid:1";

/** A proxy, and everything around it in the hands of a test. */
export interface Node {
  proxy: Proxy;
  clock: FakeClock;
  /** What the storage says. */
  state: {
    position: Position | undefined;
    primary: Primary;
    lag: number | undefined;
    /** What tells the history of each position from others. */
    histories: Readonly<Record<Position, string>> | undefined;
    broken: boolean;
    changed: () => void;
  };
  /** What reached the app. */
  seen: UpstreamRequest[];
  /** What the app answers next. */
  app: {
    status: number;
    headers: HeaderLines;
    answer: (request: UpstreamRequest) => Promise<ResponseMessage>;
  };
  decisions: Decision[];
  errors: unknown[];
  send(
    method: string,
    target: string,
    headers?: HeaderLines,
    more?: Partial<IncomingRequest>,
  ): Promise<ResponseMessage>;
}

/** Starts a proxy on a node at position 27. */
export function node(primary: Primary, options: Partial<ProxyOptions> = {}): Node {
  const clock = fakeClock();
  const seen: UpstreamRequest[] = [];
  const decisions: Decision[] = [];
  const errors: unknown[] = [];
  const state: Node["state"] = {
    position: T27,
    primary,
    lag: 0,
    histories: undefined,
    broken: false,
    changed: () => {},
  };
  const app: Node["app"] = {
    status: 200,
    headers: ["X-App", "1"],
    answer: () =>
      Promise.resolve({
        status: app.status,
        statusText: "",
        headers: [...app.headers],
        body: null,
      }),
  };
  const proxy = createProxy({
    target: "http://app.test:8081",
    storage: {
      position: () => {
        if (state.broken) throw new Error("secret detail");
        return state.position;
      },
      primary: () => {
        if (state.broken) throw new Error("secret detail");
        return state.primary;
      },
      lag: () => state.lag,
      historyAt: (position) => state.histories?.[position],
      subscribe: (changed) => {
        state.changed = changed;
        return () => {};
      },
    },
    transport: (request) => {
      seen.push(request);
      return app.answer(request);
    },
    clock,
    onDecision: (decision) => decisions.push(decision),
    onError: (error) => errors.push(error),
    ...options,
  });
  const send: Node["send"] = (method, target, headers = [], more = {}) =>
    proxy.handle({
      method,
      target,
      headers: ["Host", "example.test", ...headers],
      body: null,
      signal: new AbortController().signal,
      scheme: "http",
      clientAddress: "10.0.0.1",
      canUpgrade: false,
      transport: undefined,
      ...more,
    });
  return { proxy, clock, state, seen, app, decisions, errors, send };
}

/** The values of the lines with a name. */
export function header(response: ResponseMessage | undefined, name: string): string[] {
  const headers = response?.headers ?? [];
  return headers.filter(
    (_, index) => index % 2 === 1 && headers[index - 1]?.toLowerCase() === name.toLowerCase(),
  );
}

/** The body as text. */
export function text(response: ResponseMessage | undefined): string {
  return response?.body instanceof Uint8Array ? new TextDecoder().decode(response.body) : "";
}

/** The header line of a client that has written. */
export function cookie(token: string): HeaderLines {
  return ["Cookie", `__txid=${token}`];
}

/** The value of the token that a response carries. */
export function minted(response: ResponseMessage | undefined): string | undefined {
  return header(response, "set-cookie")
    .map((line) => /^__txid=([0-9a-f]{16});/.exec(line)?.[1])
    .find((token) => token !== undefined);
}

/** Lets a request begin and tells whether it has ended. */
export function begin(promise: Promise<ResponseMessage>): {
  response(): ResponseMessage | undefined;
} {
  let response: ResponseMessage | undefined;
  void promise.then((ended) => (response = ended));
  return { response: () => response };
}
