import type { Claim, Claims } from "./claims.ts";
import { type Clock, timeOfDay } from "./clock.ts";
import { andThen, each } from "./maybe-promise.ts";
import type { Signer } from "./signature.ts";
import type { MaybePromise, Position, Storage } from "./storage.ts";
import type { Token } from "./token.ts";
import type { Waiters } from "./waiters.ts";

/** A replicated database, and those who wait for it. */
export interface Database {
  /** Its name among the databases of the proxy; empty for the storage itself. */
  readonly name: string;
  readonly storage: Storage;
  readonly waiters: Waiters;
}

/** How this node stands to what a client has seen, from best to worst. */
export type Standing =
  /** The node has it all. */
  | "caught up"
  /** The node has yet to apply some of it. */
  | "behind"
  /** Some of it belongs to another history: it was lost, or this node has lost its way. */
  | "foreign";

/** What became of a request's claims. */
export interface Verdict {
  readonly standing: Standing;
  /** Whether some of it has yet to be applied here, whatever else there is. */
  readonly isBehind: boolean;
  /** The claims that count. */
  readonly believed: Claims;
  /** Why some tokens do not count: nobody of the cluster can have minted them, or they are foreign and to be ignored. */
  readonly discounted: Discount | undefined;
}

/** Why a token does not count. */
type Discount = "forged" | "foreign";

/** By what tokens are judged. */
export interface JudgeOptions {
  readonly signer: Signer | undefined;
  /** The name of the cluster, if it has one. */
  readonly cluster: string | undefined;
  /** How long a signed token is believed, in milliseconds. */
  readonly maxAge: number;
  /** How far a token that is not signed can be ahead of this node, in transactions; 0: as far as it likes. */
  readonly plausibleGap: number;
  /** What becomes of tokens of other clusters and of other histories. */
  readonly foreignTokens: "primary" | "ignore" | "error";
  readonly clock: Clock;
}

/** What became of some of the tokens. */
interface Finding {
  readonly standing: Standing;
  readonly isBehind: boolean;
  /** Those that do not count, and why. */
  readonly discounts: ReadonlyMap<Token, Discount>;
}

/** What becomes of tokens that ask for nothing that is not here. */
const NOTHING: Finding = { standing: "caught up", isBehind: false, discounts: new Map() };

/** How far the clocks of two nodes may be apart, in milliseconds. */
const CLOCK_SKEW = 60_000;

/** A position, and when it was asked for. */
interface Read {
  readonly position: Position;
  /** On the proxy's clock. */
  readonly at: number;
}

/**
 * How long a position that was read counts for who asks for no more, in milliseconds. It takes longer than that until a
 * request has reached the app, and to read it for each would cost Node a tenth of a small request.
 */
const FRESH = 1;

/**
 * Creates the judge of claims. What a node has applied anyway needs no proof: only a token that asks for more is looked
 * at closely.
 *
 * @param databases The databases, in the order of the claims.
 * @param options By what tokens are judged.
 */
export function createJudge(
  databases: readonly Database[],
  options: JudgeOptions,
): (claims: Claims) => MaybePromise<Verdict> {
  const { signer, cluster, maxAge, plausibleGap, foreignTokens, clock } = options;
  /** What was read last of each database. */
  const reads: (Read | undefined)[] = [];

  return (claims) => {
    const judged = each(databases, (database, index) => {
      const claim = claims.claims[index];
      if (claim === undefined) return NOTHING;
      return andThen(positionFor(claim, database, index), (position) =>
        judgeClaim(database, claim, position),
      );
    });
    return andThen(judged, (findings) => {
      const { standing, isBehind, discounts } = findings.reduce(both);
      const [discounted] = discounts.values();
      const believed = discounted === undefined ? claims : without(claims, discounts);
      return { standing, isBehind, believed, discounted };
    });
  };

  /** Returns the position of a database, or, where that is enough, what it was a moment ago. */
  function positionFor(
    claim: Claim,
    { storage }: Database,
    index: number,
  ): MaybePromise<Position | undefined> {
    const now = clock.now();
    const read = reads[index];
    const age = read === undefined ? Infinity : now - read.at;
    // A clock that stepped back must not prolong what is kept.
    const isFresh = age >= 0 && age < FRESH;
    if (read !== undefined && isFresh && claim.position <= read.position) return read.position;
    return andThen(storage.position(), (position) => {
      reads[index] = position === undefined ? undefined : { position, at: now };
      return position;
    });
  }

  function judgeClaim(
    database: Database,
    claim: Claim,
    position: Position | undefined,
  ): MaybePromise<Finding> {
    const judged = each(claim.tokens, (token) => judgeToken(database, token, position));
    return andThen(judged, (findings) => findings.reduce(both));
  }

  /** Judges one token; what this node has anyway is not looked at any further. */
  function judgeToken(
    database: Database,
    token: Token,
    position: Position | undefined,
  ): MaybePromise<Finding> {
    return andThen(standingOf(database.storage, token, position), (standing) =>
      standing === "caught up" ? NOTHING : judgeCredit(database, token, position, standing),
    );
  }

  async function judgeCredit(
    database: Database,
    token: Token,
    position: Position | undefined,
    standing: Standing,
  ): Promise<Finding> {
    const credit = await creditOf(token, database, position);
    if (credit === "forged") return { ...NOTHING, discounts: new Map([[token, credit]]) };
    const isForeign = credit !== "good" || standing === "foreign";
    if (isForeign && foreignTokens === "ignore")
      return { ...NOTHING, discounts: new Map([[token, "foreign"]]) };
    // What another cluster has is not on its way to this node, and what has not come in all that time is not either.
    const isOnItsWay = credit === "good" || credit === "of the future";
    const isBehind = standing === "behind" && isOnItsWay;
    return { ...NOTHING, standing: isForeign ? "foreign" : standing, isBehind };
  }

  /** Tells what a token that asks for more than this node has is worth. */
  async function creditOf(
    token: Token,
    { name, storage }: Database,
    position: Position | undefined,
  ): Promise<"good" | "expired" | "of the future" | "of another cluster" | "forged"> {
    if (signer !== undefined) {
      if (!(await signer.verify(token, name))) return "forged";
      const age = timeOfDay(clock) - (token.proof?.issued ?? 0) * 1000;
      if (age > maxAge + CLOCK_SKEW) return "expired";
      if (age < -CLOCK_SKEW) return "of the future";
    } else if (position !== undefined && plausibleGap > 0) {
      const gap = (storage.gap ?? difference)(token.position, position);
      if (gap !== undefined && gap > plausibleGap) return "forged";
    }
    const isNamed = cluster !== undefined && token.cluster !== undefined;
    return isNamed && token.cluster !== cluster ? "of another cluster" : "good";
  }
}

/**
 * Tells how a node stands to one token.
 *
 * @param storage The database on this node.
 * @param token The token.
 * @param position The position that the node has applied, if there is one.
 */
export function standingOf(
  storage: Storage,
  token: Token,
  position: Position | undefined,
): MaybePromise<Standing> {
  if (position === undefined || token.position > position) return "behind";
  if (token.history === undefined || storage.historyAt === undefined) return "caught up";
  return andThen(storage.historyAt(token.position), (own) => {
    if (own !== undefined) return own === token.history ? "caught up" : "foreign";
    // It may be forgotten, or not be there any more: a snapshot of a shorter history may have come meanwhile.
    return andThen(storage.position(), (now) =>
      now === undefined || token.position > now ? "behind" : "caught up",
    );
  });
}

function both(a: Finding, b: Finding): Finding {
  if (a === NOTHING || b === NOTHING) return a === NOTHING ? b : a;
  return {
    standing: worse(a.standing, b.standing),
    isBehind: a.isBehind || b.isBehind,
    discounts: new Map([...a.discounts, ...b.discounts]),
  };
}

/** Returns the claims that are left when some tokens do not count. */
function without(claims: Claims, discounts: ReadonlyMap<Token, Discount>): Claims {
  const left = claims.claims.map(
    (claim) => claim && claimOf(claim.tokens.filter((token) => !discounts.has(token))),
  );
  return { ...claims, claims: left, isEmpty: left.every((claim) => claim === undefined) };
}

function worse(a: Standing, b: Standing): Standing {
  if (a === "foreign" || b === "foreign") return "foreign";
  return a === "behind" ? a : b;
}

function claimOf(tokens: readonly Token[]): Claim | undefined {
  const [first] = tokens;
  if (first === undefined) return undefined;
  let position = first.position;
  for (const token of tokens) if (token.position > position) position = token.position;
  return { position, tokens };
}

/** How many transactions lie between two positions that count them one by one. */
function difference(ahead: Position, behind: Position): number {
  return Number(BigInt(`0x${ahead}`) - BigInt(`0x${behind}`));
}
