/**
 * Judges what happened in a world. It knows nothing of tokens: it looks at what was committed, what each request found in
 * the database, and what its client was answered, and holds that against what is promised.
 *
 * What is promised, and to whom:
 *
 * - **Read your writes**: what a request finds includes every transaction of its client's that was answered before the
 *   request was sent.
 * - **Monotonic reads**, **writes follow reads**: it includes all that its client was shown before it was sent.
 * - A transaction that a failover or a restore has lost is no longer promised, and what was committed after it on the
 *   same line of history neither; what was before it still is. Nobody gets back what was lost, should it come back.
 * - Clients of the header get all of it, but not with `reads: "off"`, by which only writes count. Browsers get from
 *   `reads: "off"` cookies that tell no history: theirs hold as long as nothing is ever lost.
 * - With `foreignTokens: "ignore"` nothing is promised once something was lost, and with `"error"` an answer of 412
 *   takes back what its client has seen before.
 * - Browsers get it, too, but what a cookie said is lost when the answer to an older request comes after it: a read
 *   counts only if no other request was under way when it was answered and was answered after it; a write counts even
 *   then if the other was a read. What a browser has seen before its first token does not count, unless all reads mint.
 * - What is answered while the node's storage throws counts for nothing: there is no position to go by.
 * - Answers that shared caches may store, and those of `stale` paths, count for nothing; the latter promise nothing.
 * - What goes through LiteFS's own proxy: a browser's reads of the first database include its writes there, as long as
 *   nothing is ever lost. Reads through it count for nothing, and what clients of the header do there neither.
 * - **No write twice**; a write that was answered with success was committed once, and is everywhere in the end unless a
 *   failover or a restore has lost it; none reaches an app whose node is not the primary.
 * - **Nobody is blocked**: every request has an answer within a bound, the primary makes no read wait, no read waits
 *   once its node has what had been committed when it was sent, and none gives up before its time. When all is mended
 *   every answer is the app's; there a token of a lost past costs one wait at most and one trip, and only once.
 * - **Forwards**: none goes round, and an answer that is to be held until its node has caught up is.
 * - **Caps**: nobody, forgers included, holds more waits at once than allowed.
 *
 * @module
 */
import type { Violation } from "./facts.ts";
import type { Exchange } from "./history.ts";
import {
  checkAnswer,
  checkCaps,
  checkForwards,
  checkPrompt,
  checkTrips,
  checkWrite,
} from "./requests.ts";
import { checkSession } from "./sessions.ts";
import { describe, type History } from "./world.ts";

/**
 * Judges a history.
 *
 * @param history What happened.
 * @returns The promises that were not kept, in the order of the requests.
 */
export function check(history: History): Violation[] {
  const { exchanges, errors } = history;
  const violations: Violation[] = [];
  for (const error of errors)
    violations.push({ rule: "no unexpected error", text: String(error), exchange: undefined });
  const sessions = new Map<number, Exchange[]>();
  for (const exchange of exchanges) {
    const session = sessions.get(exchange.client) ?? [];
    sessions.set(exchange.client, session);
    session.push(exchange);
    for (const [rule, text] of [
      ...checkWrite(exchange),
      ...checkAnswer(exchange, history),
      ...checkTrips(exchange, history),
      ...checkForwards(exchange, history),
      ...checkPrompt(exchange, session, history),
    ])
      violations.push({ rule, text: `${text}: ${describe(exchange)}`, exchange: exchange.id });
  }
  for (const session of sessions.values()) violations.push(...checkSession(session, history));
  for (const [rule, text] of checkCaps(history))
    violations.push({ rule, text, exchange: undefined });
  return violations.sort((a, b) => (a.exchange ?? -1) - (b.exchange ?? -1));
}
