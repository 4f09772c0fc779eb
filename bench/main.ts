// Measures the proxy on each runtime beside those that a user would take instead: `npm run bench [-- --quick]`. What it
// does and what the columns mean is in bench/README.md.
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { run } from "./children.ts";
import { checkWait } from "./check.ts";
import { compare, type Plan } from "./compare.ts";
import { told } from "./error.ts";
import { withSockets, withWrk } from "./load.ts";
import { commandOf, type Options, parseOptions } from "./options.ts";
import { startOrigin } from "./origin.ts";
import { type Found, findPeers, findProgram, type Peer, YARDSTICK } from "./peers.ts";
import { openFiles } from "./process.ts";
import { renderReport, renderSection, replaceMarked, type Report, type Section } from "./report.ts";
import { SCALING, severalOf } from "./scaling.ts";
import { type Scenario, SCENARIOS } from "./scenarios.ts";
import { isFlat, soak } from "./soak.ts";
import { openStage, type Stage } from "./stage.ts";
import { measureWaiting } from "./waiting.ts";

/** What is measured in a way of its own, by name. */
const OWN_WAY = ["scaling", "waiting"];

const NAMES = [...SCENARIOS.map(({ name }) => name), ...OWN_WAY];

const WITH_WRK =
  "wrk sends the requests, and raw sockets of Node where a rate, event streams or WebSockets are asked for.";

const WITHOUT_WRK =
  "wrk is not installed (apt-get install wrk): raw sockets of Node send the requests, which takes more of the machine.";

const options = parseOptions(process.argv.slice(2));

if (options.isList) console.log(NAMES.join("\n"));
else process.exitCode = await measure(options);
// Connections to a peer that was ended may be left.
process.exit();

async function measure({ scenarios, soak: soakTime, ...asked }: Options): Promise<number> {
  const unknown = scenarios.filter((name) => !NAMES.includes(name));
  if (unknown.length > 0) throw new Error(`Unknown scenario ${unknown.join(", ")}: see --list`);
  const found = await findPeers(asked.litefs);
  const peers = chosenPeers(found.peers, asked.peers);
  for (const { name, reason } of found.missing) say(`not measured: ${name}, ${reason}`);
  const broken = await checkTokens(peers);
  const plan: Plan = {
    peers,
    tools: {
      generate: findProgram("wrk") === undefined ? withSockets : withWrk,
      seconds: asked.seconds,
      files: openFiles(),
    },
    rounds: asked.rounds,
    say,
  };
  const own = peers.filter(({ kind }) => kind === "exact" || kind === "native");
  const sections: Section[] = [];
  const add = (section: Section): void => {
    sections.push(section);
    process.stdout.write(`${renderSection(section)}\n\n`);
  };
  const wants = (name: string, isShort = false): boolean =>
    scenarios.length > 0 ? scenarios.includes(name) : isShort || !asked.isQuick;
  if (soakTime > 0) add(await soak(own, soakTime, plan.tools.generate, say));
  else {
    await inTurn(
      SCENARIOS.filter(({ name, quick }) => wants(name, quick)),
      plan,
      add,
    );
    if (wants("scaling")) await inTurn([SCALING], { ...plan, peers: severalOf(peers) }, add);
    if (wants("waiting")) {
      const places = own.map(({ name }) => name);
      add(await measureWaiting(places, asked.seconds));
    }
  }
  const report = describe(found, sections);
  if (asked.json !== undefined)
    writeFileSync(asked.json, `${JSON.stringify(report, undefined, 2)}\n`);
  if (asked.write === undefined) process.stdout.write(renderReport({ ...report, sections: [] }));
  else await write(asked.write, report);
  for (const [name, error] of broken) process.stderr.write(`WRONG: ${name} ${error}\n`);
  return broken.size === 0 && (soakTime === 0 || sections.every(isFlat)) ? 0 : 1;
}

/** Runs scenarios one after the other; those with the same app share its peers. */
async function inTurn(
  scenarios: readonly Scenario[],
  plan: Plan,
  add: (section: Section) => void,
): Promise<void> {
  let stage: Stage | undefined;
  for (const scenario of scenarios) {
    if (stage?.origin !== scenario.origin) {
      stage?.close();
      stage = await openStage(scenario.origin, plan.tools);
    }
    add(await compare(scenario, stage, plan));
  }
  stage?.close();
}

/** Returns the peers that were asked for; without the yardstick nothing could be compared. */
function chosenPeers(all: readonly Peer[], names: readonly string[]): readonly Peer[] {
  const unknown = names.filter((name) => !all.some((peer) => peer.name === name));
  if (unknown.length > 0) throw new Error(`Nobody here is called ${unknown.join(", ")}`);
  if (names.length === 0) return all;
  return all.filter(({ name }) => names.includes(name) || name === YARDSTICK);
}

/** Sees each drop-in hold a read before anything is measured of it. */
async function checkTokens(peers: readonly Peer[]): Promise<ReadonlyMap<string, string>> {
  const broken = new Map<string, string>();
  const origin = await startOrigin("own");
  for (const peer of peers.filter(({ kind }) => kind === "exact" || kind === "native")) {
    say(`tokens: ${peer.name}`);
    try {
      await checkWait(peer, origin.port);
    } catch (error) {
      broken.set(peer.name, told(error));
    }
  }
  origin.stop();
  return broken;
}

function describe({ missing, versions }: Found, sections: readonly Section[]): Report {
  const model = cpus()[0]?.model.trim() ?? "unknown processor";
  const memory = Math.round(totalmem() / 2 ** 30);
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpus().length} processors (${model}), ${memory} GiB, ${process.platform} ${release()}`,
    versions,
    command: commandOf(process.argv.slice(2)),
    generator: findProgram("wrk") === undefined ? WITHOUT_WRK : WITH_WRK,
    missing,
    sections,
  };
}

async function write(path: string, report: Report): Promise<void> {
  writeFileSync(path, replaceMarked(readFileSync(path, "utf8"), "figures", renderReport(report)));
  await run(fileURLToPath(new URL("../node_modules/.bin/oxfmt", import.meta.url)), [path], 30_000);
}

/** Tells on the side how far it is. */
function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
