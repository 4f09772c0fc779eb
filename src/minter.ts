import type { Claim, Claims } from "./claims.ts";
import { cameSecurely } from "./forward.ts";
import { type Database, standingOf } from "./judge.ts";
import type { IncomingRequest, ResponseMessage } from "./message.ts";
import { type Carriage, isShareable, type Minted, withTokens } from "./mint.ts";
import type { ResolvedOptions } from "./options.ts";
import type { MaybePromise, Storage } from "./storage.ts";
import type { Token } from "./token.ts";

/** Decides which tokens a response carries. */
export interface Minter {
  /** Tells whether a response may have to carry any token at all. */
  isDue(facts: MintFacts): boolean;
  /** Puts on a response what its client has written and seen. */
  mint(response: ResponseMessage, facts: MintFacts): Promise<ResponseMessage>;
  /** Takes all tokens away from a client. */
  withdraw(response: ResponseMessage, request: IncomingRequest, claims: Claims): ResponseMessage;
}

/** What is known of a request when its answer comes. */
export interface MintFacts {
  readonly request: IncomingRequest;
  /** What its client holds. */
  readonly claims: Claims;
  /** Whether it has written. */
  readonly wrote: boolean;
}

/**
 * Creates the minter of a proxy.
 *
 * @param databases The databases, in the order of the claims.
 * @param settings How the proxy behaves.
 * @param orReport Asks a storage; what it throws is reported, and nothing is known.
 */
export function createMinter(
  databases: readonly Database[],
  settings: ResolvedOptions,
  orReport: <T>(ask: () => MaybePromise<T>) => Promise<T | undefined>,
): Minter {
  const { reads, cluster, signer, clock } = settings;

  /** Tells whether a client is to know later what it sees now. */
  function isSeen(claims: Claims): boolean {
    return reads === "all" || (reads === "session" && (!claims.isEmpty || claims.byHeader));
  }

  async function mint(
    response: ResponseMessage,
    { request, claims, wrote }: MintFacts,
  ): Promise<ResponseMessage> {
    const seen = isSeen(claims);
    if (response.status === 101 || isShareable(request.method, response.headers)) return response;
    // The positions are read as late as can be, so that they cover what the app has done.
    const found = await Promise.all(
      databases.map((database, index) => tokenOf(database, claims.claims[index], wrote)),
    );
    // Nobody is served here who holds more than is here, but where that is lost or made up.
    const reset = found.some((one) => one?.covers === false);
    if (!reset && !wrote && !seen) return response;
    const minted = found.flatMap((one, index): Minted[] => {
      if (one === undefined) return [];
      // LiteFS's cookie holds the bare position: what more there is to a write's token goes into the other one.
      const isMore = one.token.history !== undefined || one.token.cluster !== undefined;
      return [
        {
          database: databases[index]?.name ?? "",
          token: one.token,
          written: wrote || reset,
          seen: reads !== "off" && (reset || (wrote ? isMore : seen)),
        },
      ];
    });
    if (minted.length === 0) return response;
    return withTokens(response, request.method, minted, carriage(request, claims, reset));
  }

  /** Makes the token of one database, and tells whether it covers what the client holds. */
  async function tokenOf(
    { name, storage }: Database,
    claim: Claim | undefined,
    wrote: boolean,
  ): Promise<{ readonly token: Token; readonly covers: boolean } | undefined> {
    const found = await whereabouts(storage, wrote);
    if (found === undefined) return undefined;
    const { position, history } = found;
    let covers = true;
    for (const held of claim?.tokens ?? [])
      covers &&= (await orReport(() => standingOf(storage, held, position))) === "caught up";
    const token: Token = { position, history, cluster, proof: undefined };
    return { token: signer === undefined ? token : await signer.sign(token, name, date()), covers };
  }

  /** Returns how far a node has come, and in which history. */
  async function whereabouts(
    storage: Storage,
    wrote: boolean,
  ): Promise<Pick<Token, "position" | "history"> | undefined> {
    const position = await orReport(() => (wrote && storage.commit?.()) || storage.position());
    if (position === undefined) return undefined;
    const history = await orReport(() => storage.historyAt?.(position));
    const isKnown = history !== undefined || storage.historyAt === undefined;
    // Where commits are known of before they are here, so may their histories be later.
    if (isKnown || storage.commit !== undefined) return { position, history };
    // Another history may have come in between, in which there is no such position (yet).
    const now = (await orReport(() => storage.position())) ?? position;
    return { position: now, history: await orReport(() => storage.historyAt?.(now)) };
  }

  function carriage(request: IncomingRequest, claims: Claims, reset: boolean): Carriage {
    const { cookieExpiry, secureCookie } = settings;
    return {
      byHeader: claims.byHeader,
      reset,
      expiry: cookieExpiry,
      secure: secureCookie === "auto" ? cameSecurely(request) : secureCookie,
      now: date(),
    };
  }

  function date(): number {
    return clock.date?.() ?? clock.now();
  }

  return {
    isDue: ({ claims, wrote }) => wrote || !claims.isEmpty || isSeen(claims),
    mint,
    withdraw: (response, request, claims) => {
      const minted = databases.map(({ name }) => ({
        database: name,
        token: undefined,
        written: true,
        seen: true,
      }));
      return withTokens(response, request.method, minted, carriage(request, claims, true));
    },
  };
}
