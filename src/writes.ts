import { answer, RETRY, shuttingDown, tooLate, tooMany } from "./answer.ts";
import type { IncomingRequest, ResponseMessage } from "./message.ts";
import type { Node } from "./node.ts";
import type { Passage } from "./passage.ts";
import type { Runner } from "./runner.ts";
import { beginTrail, type Reporter, type Trail } from "./trail.ts";
import type { ResolvedOptions } from "./options.ts";

/** Answers what belongs to the primary. */
export type Writes = (request: IncomingRequest) => Promise<ResponseMessage>;

const EVERYWHERE = "every node takes writes";

/** Creates the part of the policy that answers writes. */
export function createWrites(
  settings: Pick<ResolvedOptions, "clock" | "primaryRedirectTimeout" | "waitTimeout">,
  node: Node,
  runner: Runner,
  passage: Passage,
  reporter: Reporter,
): Writes {
  const { clock, waitTimeout } = settings;
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
    if (at.at === "everywhere") return (await everywhere(trail, start)) ?? write(request, start);
    const why = `the primary is ${at.hostname}`;
    const passed = await passage.take(trail, at.hostname, why, deadline);
    if (passed.is === "moved") return write(request, start);
    if (passed.is === "answered") return passed.response;
    return reporter.own(trail, passed.reason, passed.refusal);
  }

  /**
   * Runs a write where every node takes writes, once this node has what the client has seen: the app may read here
   * before it writes. Undefined: it has waited, or that is no longer so; nothing was sent, and it finds its way anew.
   */
  async function everywhere(trail: Trail, start: number): Promise<ResponseMessage | undefined> {
    const { request, claims } = trail;
    const { isBehind, believed } = await node.judge(claims);
    if (!isBehind) return runner.onPrimary(trail, EVERYWHERE);
    const left = waitTimeout - (clock.now() - start);
    const outcome = await node.waitFor(believed, left, request);
    const waited: Trail = { ...trail, waited: clock.now() - start };
    if (outcome === "timeout") return reporter.own(waited, "still behind", tooLate());
    if (outcome === "full") return reporter.own(waited, "too many wait", tooMany());
    if (outcome === "aborted")
      return reporter.own(waited, "client gone or shutting down", shuttingDown());
    return undefined;
  }

  return (request) => write(request, clock.now());
}
