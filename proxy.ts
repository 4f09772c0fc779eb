#!/usr/bin/env node
/**
 * LiteFS's HTTP proxy as a program: reads flags, environment and a YAML file, and serves until a signal comes.
 *
 * @module
 */
import process from "node:process";
import { primaryUrl } from "./adapters/drop-in/primary-url.ts";
import { run } from "./adapters/drop-in/run.ts";
import { createStorageLog, createTargetLog, watchState } from "./adapters/drop-in/state.ts";
import { litefs } from "./adapters/litefs.ts";
import { serve } from "./adapters/serve.ts";
import { createProxy } from "./src/index.ts";

const code = await run(async (settings, log) => {
  const onError = log.error;
  const { target, targetConnectTimeout = 30_000 } = settings.proxy;
  const { databases, ...place } = settings.storage;
  const storage = litefs({ ...place, onError: createStorageLog(place.dir, true, log) });
  const onOtherError = createStorageLog(place.dir, false, log);
  const others = databases.map(
    (db) => [db, litefs({ ...place, db, onError: onOtherError })] as const,
  );
  const proxy = createProxy({
    ...settings.proxy,
    primaryUrl: primaryUrl(settings.primaryUrl),
    storage,
    databases: Object.fromEntries(others),
    onError,
    onDecision: log.decision,
    onTarget: createTargetLog(target, targetConnectTimeout, log),
  });
  const server = await serve(proxy, { ...settings.server, onError });
  const stopWatching = watchState(storage, log);
  return {
    url: server.url,
    drain: proxy.drain,
    close: async (timeout) => {
      await server.close({ timeout });
      stopWatching();
      proxy.close();
      storage.close();
      for (const [, other] of others) other.close();
    },
  };
});
// What was written must be out before the process ends.
process.stdout.write("", () => process.stderr.write("", () => process.exit(code)));
