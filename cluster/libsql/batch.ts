import { hranaError } from "./connection.ts";
import type { HranaBatch, HranaCondition, HranaError, HranaResult } from "./protocol.ts";

/** What the steps of a batch gave so far. */
export interface Steps {
  /** What each step gave; null where one failed or did not run. */
  readonly results: (HranaResult | null)[];
  /** Why each step failed; null where it did not. */
  readonly errors: (HranaError | null)[];
}

/**
 * Runs those steps of a batch whose conditions hold, one after the other; one that fails does not end it.
 *
 * @param execute Runs the statement of a step.
 * @param isAutocommit Tells whether no transaction is open.
 */
export async function runSteps(
  steps: HranaBatch["steps"],
  execute: (statement: HranaBatch["steps"][number]["stmt"]) => Promise<HranaResult>,
  isAutocommit: () => boolean,
): Promise<Steps> {
  const done: Steps = { results: [], errors: [] };
  for (const { condition, stmt } of steps) {
    let result: HranaResult | null = null;
    let error: HranaError | null = null;
    if (condition === null || condition === undefined || holds(condition, done, isAutocommit)) {
      try {
        result = await execute(stmt);
      } catch (thrown) {
        error = hranaError(thrown);
      }
    }
    done.results.push(result);
    done.errors.push(error);
  }
  return done;
}

function holds(condition: HranaCondition, done: Steps, isAutocommit: () => boolean): boolean {
  const also = (other: HranaCondition): boolean => holds(other, done, isAutocommit);
  switch (condition.type) {
    case "ok":
      return (done.results[condition.step] ?? null) !== null;
    case "error":
      return (done.errors[condition.step] ?? null) !== null;
    case "not":
      return !also(condition.cond);
    case "and":
      return condition.conds.every(also);
    case "or":
      return condition.conds.some(also);
    default:
      return isAutocommit();
  }
}
