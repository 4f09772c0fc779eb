import { createJar } from "./jar.ts";
import type { Machine, Machines } from "./machines.ts";

/** What was seen of a write that was sent to a replica. */
export interface Forwarding {
  /** It in words. */
  readonly text: string;
  /** Whether the primary ran it and every node showed it at once. */
  readonly isSeen: boolean;
}

/** Sends a write to a replica, and reads at once from every node with the token that came back. */
export async function showForwarding({ network, up }: Machines): Promise<Forwarding> {
  const primary = network.primary();
  const replica = up().find(({ name }) => name !== primary);
  if (replica === undefined) {
    return { text: "", isSeen: true };
  }
  const jar = createJar();
  const lines: string[] = [];

  async function ask(machine: Machine, note: string, init: RequestInit): Promise<[string, string]> {
    const url = new URL("/kv/forwarded", machine.url);
    const began = Date.now();
    const response = await fetch(url, init);
    const text = (await response.text()).trim();
    jar.take(response.headers.getSetCookie(), url);
    const node = response.headers.get("x-node") ?? "nobody";
    const took = Date.now() - began;
    const asked = `${init.method} ${machine.name}${note}`.padEnd(24);
    lines.push(`  ${asked}  ${response.status} "${text}" from ${node} in ${took} ms\n`);
    return [text, node];
  }

  const [, writer] = await ask(replica, "", { method: "PUT", body: "hello" });
  const cookie = jar.header(new URL(replica.url)) ?? "";
  const headers = { cookie };
  const reads = await Promise.all([
    ask(replica, " without the token", { method: "GET" }),
    ...up().map((machine) => ask(machine, " with it", { method: "GET", headers })),
  ]);
  const isSeen = writer === primary && reads.slice(1).every(([text]) => text === "hello");
  const title = `A write to ${replica.name}, a replica, and reads at once after it, with the token ${cookie}:\n`;
  return { text: `\n${title}${lines.join("")}`, isSeen };
}
