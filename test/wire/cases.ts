import { ambiguity } from "./ambiguity.ts";
import { corpus } from "./corpus.ts";
import { crowds } from "./crowds.ts";
import type { Case } from "./kit.ts";
import { repeats } from "./repeats.ts";
import { requests } from "./requests.ts";
import { responses } from "./responses.ts";
import { streams } from "./streams.ts";

/** Every case. */
export const CASES: readonly Case[] = [
  ...requests,
  ...responses,
  ...repeats,
  ...ambiguity,
  ...streams,
  ...crowds,
  ...corpus,
];
