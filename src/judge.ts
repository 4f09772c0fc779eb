import type { Claim, Claims } from "./claims.ts";
import type { Clock } from "./clock.ts";
import type { Signer } from "./signature.ts";
import type { Position, Storage } from "./storage.ts";
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
  /** The claims that count: without tokens that nobody of the cluster can have minted. */
  readonly believed: Claims;
  /** Whether there were such tokens. */
  readonly forged: boolean;
}

/** By what tokens are judged. */
export interface JudgeOptions {
  readonly signer: Signer | undefined;
  /** The name of the cluster, if it has one. */
  readonly cluster: string | undefined;
  /** How long a signed token is believed, in milliseconds. */
  readonly maxAge: number;
  /** How far a token that is not signed can be ahead of this node, in transactions; 0: as far as it likes. */
  readonly plausibleGap: number;
  readonly clock: Clock;
}

/** What became of the claim on one database. */
interface Finding {
  readonly standing: Standing;
  readonly isBehind: boolean;
  /** The tokens that count. */
  readonly tokens: readonly Token[];
  readonly forged: boolean;
}

/** How far the clocks of two nodes may be apart, in milliseconds. */
const CLOCK_SKEW = 60_000;

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
): (claims: Claims) => Promise<Verdict> {
  const { signer, cluster, maxAge, plausibleGap, clock } = options;

  return async (claims) => {
    let standing: Standing = "caught up";
    let isBehind = false;
    let forged = false;
    const believed: (Claim | undefined)[] = [];
    for (const [index, database] of databases.entries()) {
      const claim = claims.claims[index];
      const found = claim && (await judgeOne(database, claim));
      if (found === undefined) {
        believed.push(undefined);
        continue;
      }
      standing = worse(standing, found.standing);
      isBehind ||= found.isBehind;
      forged ||= found.forged;
      believed.push(claimOf(found.tokens));
    }
    if (!forged) return { standing, isBehind, believed: claims, forged };
    const isEmpty = believed.every((claim) => claim === undefined);
    return { standing, isBehind, believed: { ...claims, claims: believed, isEmpty }, forged };
  };

  async function judgeOne(database: Database, claim: Claim): Promise<Finding> {
    const position = await database.storage.position();
    const tokens: Token[] = [];
    let standing: Standing = "caught up";
    let isBehind = false;
    for (const token of claim.tokens) {
      const own = await standingOf(database.storage, token, position);
      if (own === "caught up") {
        tokens.push(token);
        continue;
      }
      const credit = await creditOf(token, database, position);
      if (credit === "forged") continue;
      tokens.push(token);
      standing = worse(standing, credit === "foreign" ? "foreign" : own);
      isBehind ||= own === "behind";
    }
    return { standing, isBehind, tokens, forged: tokens.length < claim.tokens.length };
  }

  /** Tells what a token that asks for more than this node has is worth. */
  async function creditOf(
    token: Token,
    { name, storage }: Database,
    position: Position | undefined,
  ): Promise<"good" | "foreign" | "forged"> {
    if (signer !== undefined) {
      if (!(await signer.verify(token, name))) return "forged";
      const age = (clock.date?.() ?? clock.now()) - (token.proof?.issued ?? 0) * 1000;
      if (age > maxAge + CLOCK_SKEW || age < -CLOCK_SKEW) return "foreign";
    } else if (position !== undefined && plausibleGap > 0) {
      const gap = (storage.gap ?? difference)(token.position, position);
      if (gap !== undefined && gap > plausibleGap) return "forged";
    }
    const isForeign = cluster !== undefined && token.cluster !== undefined;
    return isForeign && token.cluster !== cluster ? "foreign" : "good";
  }
}

/**
 * Tells how a node stands to one token.
 *
 * @param storage The database on this node.
 * @param token The token.
 * @param position The position that the node has applied, if there is one.
 */
export async function standingOf(
  storage: Storage,
  token: Token,
  position: Position | undefined,
): Promise<Standing> {
  if (position === undefined || token.position > position) return "behind";
  if (token.history === undefined || storage.historyAt === undefined) return "caught up";
  const own = await storage.historyAt(token.position);
  if (own !== undefined) return own === token.history ? "caught up" : "foreign";
  // It may be forgotten, or not be there any more: a snapshot of a shorter history may have come meanwhile.
  const now = await storage.position();
  return now === undefined || token.position > now ? "behind" : "caught up";
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
