import { ambiguity } from "./ambiguity.ts";
import { corpus } from "./corpus.ts";
import { crowds } from "./crowds.ts";
import { errors } from "./errors.ts";
import { far } from "./far.ts";
import type { Case } from "./kit.ts";
import { random } from "./random.ts";
import { repeats } from "./repeats.ts";
import { requests } from "./requests.ts";
import { responses } from "./responses.ts";
import { streams } from "./streams.ts";
import { websockets } from "./websockets.ts";

/** Every case. */
export const CASES: readonly Case[] = [
  ...requests,
  ...responses,
  ...repeats,
  ...ambiguity,
  ...corpus,
  ...streams,
  ...websockets,
  ...errors,
  ...far,
  ...random,
  // Last, for a process that has had many connections keeps more memory.
  ...crowds,
];
