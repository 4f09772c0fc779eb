import type { Claim, Claims } from "./claims.ts";
import { timeOfDay } from "./clock.ts";
import { firstValue } from "./headers.ts";
import { cameSecurely, isOfPage } from "./peer.ts";
import { type Database, standingOf } from "./judge.ts";
import { andThen, each } from "./maybe-promise.ts";
import type { IncomingRequest, ResponseMessage } from "./message.ts";
import { type Carriage, isShareable, type Minted, withTokens } from "./mint.ts";
import type { ResolvedOptions } from "./options.ts";
import type { MaybePromise, Position, Storage } from "./storage.ts";
import type { Token } from "./token.ts";

/** Decides which tokens a response carries. */
export interface Minter {
  /** Puts on a response what its client has written and seen. */
  mint(response: ResponseMessage, facts: MintFacts): MaybePromise<ResponseMessage>;
  /** Takes all tokens away from a client. */
  withdraw(response: ResponseMessage, request: IncomingRequest, claims: Claims): ResponseMessage;
}

/** What is known of a request when its answer comes. */
interface MintFacts {
  readonly request: IncomingRequest;
  /** What its client holds. */
  readonly claims: Claims;
  /** Whether it has written. */
  readonly wrote: boolean;
}

/** How far a node has come, and in which history. */
type Whereabouts = Pick<Token, "position" | "history">;

/** The token of one database, and whether it covers what the client holds; undefined: there is none. */
type Found = { readonly token: Token; readonly covers: boolean } | undefined;

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
  orReport: <T>(ask: () => MaybePromise<T>) => MaybePromise<T | undefined>,
): Minter {
  const { reads, cluster, signer, clock } = settings;

  /** Tells whether a response may have to carry any token at all: most reads are of clients who hold none. */
  function isDue({ claims, wrote }: MintFacts): boolean {
    return wrote || !claims.isEmpty || isSeen(claims);
  }

  /** Tells whether a client is to know later what it sees now. */
  function isSeen(claims: Claims): boolean {
    return reads === "all" || (reads === "session" && (!claims.isEmpty || claims.byHeader));
  }

  function mint(response: ResponseMessage, facts: MintFacts): MaybePromise<ResponseMessage> {
    const { request, claims, wrote } = facts;
    if (!isDue(facts)) return response;
    if (response.status === 101) return response;
    if (isShareable(request.method, response.headers, timeOfDay(clock))) return response;
    // The positions are read as late as can be, so that they cover what the app has done.
    const found = each(databases, (one, index) =>
      orReport(() => tokenOf(one, claims.claims[index], wrote)),
    );
    return andThen(found, (tokens) => carry(response, facts, tokens));
  }

  /** Puts the tokens that were found on a response. */
  function carry(
    response: ResponseMessage,
    { request, claims, wrote }: MintFacts,
    found: readonly Found[],
  ): ResponseMessage {
    const seen = isSeen(claims);
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
    const how = carriage(request, claims, reset, isRedirect(response));
    return withTokens(response, request.method, minted, how);
  }

  /** Makes the token of one database, and tells whether it covers what the client holds. */
  function tokenOf(
    { name, storage }: Database,
    claim: Claim | undefined,
    wrote: boolean,
  ): MaybePromise<Found> {
    return andThen(whereabouts(storage, wrote), (found) => {
      if (found === undefined) return undefined;
      const { position, history } = found;
      const token: Token = { position, history, cluster, proof: undefined };
      return andThen(coversAll(storage, claim, position), (covers) => {
        if (signer === undefined) return { token, covers };
        return signer
          .sign(token, name, timeOfDay(clock))
          .then((signed) => ({ token: signed, covers }));
      });
    });
  }

  /** Tells whether a position covers all that a client holds. */
  function coversAll(
    storage: Storage,
    claim: Claim | undefined,
    position: Position,
  ): MaybePromise<boolean> {
    if (claim === undefined) return true;
    const standings = each(claim.tokens, (held) => standingOf(storage, held, position));
    return andThen(standings, (found) => found.every((one) => one === "caught up"));
  }

  /** Returns how far a node has come, and in which history. */
  function whereabouts(storage: Storage, wrote: boolean): MaybePromise<Whereabouts | undefined> {
    const asked = (wrote ? storage.commit?.() : storage.seen?.()) ?? storage.position();
    return andThen(asked, (position) => {
      if (position === undefined) return undefined;
      return andThen(storage.historyAt?.(position), (history) => {
        const isKnown = history !== undefined || storage.historyAt === undefined;
        // Where commits are known of before they are here, so may their histories be later.
        if (isKnown || storage.commit !== undefined) return { position, history };
        // Another history may have come in between, in which there is no such position (yet).
        return andThen(storage.position(), (now = position) =>
          andThen(storage.historyAt?.(now), (known) => ({ position: now, history: known })),
        );
      });
    });
  }

  function carriage(
    request: IncomingRequest,
    { byHeader, byCookie }: Claims,
    reset: boolean,
    isOnTheWay: boolean,
  ): Carriage {
    const { cookieExpiry, secureCookie } = settings;
    return {
      byHeader,
      // A browser sends no header with the page that it loads next, and follows a redirect with the header as it was.
      byCookie: !byHeader || byCookie || isOnTheWay || isOfPage(request),
      reset,
      expiry: cookieExpiry,
      secure: secureCookie === "auto" ? cameSecurely(request) : secureCookie,
      now: timeOfDay(clock),
    };
  }

  return {
    mint,
    withdraw: (response, request, claims) => {
      const minted = databases.map(({ name }) => ({
        database: name,
        token: undefined,
        written: true,
        seen: true,
      }));
      return withTokens(response, request.method, minted, carriage(request, claims, true, false));
    },
  };
}

/** Tells whether a client may follow an answer without showing it to whoever has asked (RFC 9110 section 15.4). */
function isRedirect({ status, headers }: ResponseMessage): boolean {
  return status >= 300 && status < 400 && firstValue(headers, "location") !== undefined;
}
