import { answer, RETRY } from "./answer.ts";
import type { IncomingRequest, ResponseMessage } from "./message.ts";
import type { Node } from "./node.ts";
import type { Passage } from "./passage.ts";
import type { Runner } from "./runner.ts";
import { beginTrail, type Reporter, type Trail } from "./trail.ts";
import type { ResolvedOptions } from "./options.ts";

/** Answers what belongs to the primary. */
export type Writes = (request: IncomingRequest) => Promise<ResponseMessage>;

/** Creates the part of the policy that answers writes. */
export function createWrites(
  settings: Pick<ResolvedOptions, "clock" | "primaryRedirectTimeout">,
  node: Node,
  runner: Runner,
  passage: Passage,
  reporter: Reporter,
): Writes {
  const { clock } = settings;
  const patience = Math.max(0, settings.primaryRedirectTimeout);

  async function write(request: IncomingRequest, start: number): Promise<ResponseMessage> {
    const deadline = start + patience;
    const at = await node.knownPrimary(request, deadline - clock.now());
    const waited = clock.now() - start;
    const trail: Trail = { ...beginTrail(request, "write", node.claims(request)), waited };
    if (at.at === "unknown") {
      const alone = answer(503, "Proxy error: no primary available", RETRY);
      return reporter.own(trail, "no primary known", alone);
    }
    // The primary moves before anything is sent, now and then: the request finds its way anew.
    if (at.at === "here")
      return (await runner.onPrimary(trail, "primary")) ?? (await write(request, start));
    const why = `the primary is ${at.hostname}`;
    const passed = await passage.take(trail, at.hostname, why, deadline);
    if (passed.is === "moved") return write(request, start);
    if (passed.is === "answered") return passed.response;
    return reporter.own(trail, passed.reason, passed.refusal);
  }
  return (request) => write(request, clock.now());
}
