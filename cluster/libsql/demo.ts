import { join } from "node:path";
import { createClient } from "@libsql/client";
import { checkSessions, hasKept, sessionTable } from "../session.ts";
import type { SessionReport } from "../session.ts";
import { notesSchema } from "../app.ts";
import { createEdge } from "../edge.ts";
import { runtimeInTurn } from "../runtime.ts";
import type { Settings } from "../settings.ts";
import { startLibsqlPrimary } from "./primary.ts";
import type { LibsqlPrimary } from "./primary.ts";
import { startLibsqlReplica } from "./replica.ts";
import type { LibsqlReplica } from "./replica.ts";

/** How often the replicas ask the primary for more, in milliseconds. */
const INTERVAL = 50;

/**
 * Starts a stand-in for a libSQL primary and embedded replicas with apps, lets clients look for reads that are out of
 * date without the middleware and with it, and stays up unless all ends after that.
 *
 * @param settings What the command line asks for.
 * @param root The directory of all files.
 * @param print Tells what happens.
 * @returns Whether the middleware kept its word.
 */
export async function showLibsql(
  settings: Settings,
  root: string,
  print: (text: string) => void,
): Promise<boolean> {
  const { nodes, lag, clients, seconds } = settings;
  const primary = await startLibsqlPrimary({ directory: join(root, "primary"), delay: lag });
  await createNotesTable(primary);
  const replicas = await Promise.all(
    Array.from({ length: nodes }, (_, index) => {
      const name = `n${index + 1}`;
      const runtime = runtimeInTurn(index);
      const directory = join(root, name);
      return startLibsqlReplica({
        name,
        primary: primary.url,
        directory,
        runtime,
        interval: INTERVAL,
      });
    }),
  );
  const front = (url: (replica: LibsqlReplica) => string): ReturnType<typeof createEdge> =>
    createEdge({
      nodes: () => replicas.map((replica) => ({ name: replica.name, url: url(replica) })),
      keepAlive: true,
    });
  const bare = await front(({ url }) => url);
  const consistent = await front((replica) => replica.consistent.both);
  print(describeNodes(primary, replicas));

  const check = ({ url }: { readonly url: string }): Promise<SessionReport> =>
    checkSessions({ urls: [url], clients, duration: seconds * 1000 });
  print(
    `\n${clients} clients write and read for ${seconds} s, ${lag} ms of lag, each request at any node, first without the middleware …\n`,
  );
  const without = await check(bare);
  print("… and now with it …\n\n");
  const report = await check(consistent);
  print(
    sessionTable([
      ["without the middleware", without],
      ["with the middleware", report],
    ]),
  );
  const kept = hasKept(report);
  print(kept ? "" : report.examples.map((example) => `  ${example}\n`).join(""));
  if (!settings.isOnce) {
    print(invitation(primary, replicas, consistent.url, join(root, "cookies")));
    await new Promise(() => undefined);
  }
  return kept;
}

/** Through the primary, before there are replicas: what they begin with has it. */
async function createNotesTable({ url }: LibsqlPrimary): Promise<void> {
  const client = createClient({ url });
  for (const { sql } of notesSchema) {
    await client.execute(sql);
  }
  client.close();
}

function describeNodes(primary: LibsqlPrimary, replicas: readonly LibsqlReplica[]): string {
  const lines = replicas.map(
    ({ name, runtime, url, consistent, process }) =>
      `  ${name}  ${runtime}  app ${url}  with the middleware ${consistent.both} (pid ${process().pid})\n`,
  );
  return `A stand-in for a libSQL primary, and embedded replicas of it by the real native client, each with a Hono app:
  primary ${primary.url} (pid ${primary.process().pid})
${lines.join("")}The apps read from their replicas and write to the primary by a client of their own. The middleware takes what was written
from a row, libsql({ client, writer, primary }), and what was seen from the replica, libsql({ info }).
Neither Turso Cloud nor sqld was run: the primary here is written by us, and the replicas speak to it as they would to Turso.
`;
}

function invitation(
  primary: LibsqlPrimary,
  replicas: readonly LibsqlReplica[],
  front: string,
  jar: string,
): string {
  const names = replicas.map(({ name }) => name).join(" ");
  const read = `-H "fly-force-instance-id: $node" ${front}/kv/greeting`;
  return `
All stays up until Ctrl-C. To try, in another terminal:

  # make replication slow, write through the front, and read at once from every node: they do not have it yet
  curl -s -d "[4000]" -o /dev/null ${primary.url}/control/setDelay
  curl -s -c ${jar} -X PUT -d hello ${front}/kv/greeting
  for node in ${names}; do curl -s ${read}; echo " from $node"; done

  # the same with the cookies that came with the write: the app waits for its replica
  curl -s -c ${jar} -X PUT -d "hello again" ${front}/kv/greeting
  for node in ${names}; do curl -s -b ${jar} ${read}; echo " from $node"; done

  # how far each node has come
  for node in ${names}; do curl -s -H "fly-force-instance-id: $node" ${front}/; done

  # and more, each a POST to ${primary.url}/control/: setDelay [MS], partition ["NODE"], heal [], roll []
`;
}
