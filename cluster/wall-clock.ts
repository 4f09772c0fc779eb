import { type Clock, systemClock } from "../src/clock.ts";

/** The time of day: the nodes run in processes of their own and compare each other's times, as LiteFS's do. */
export const wallClock: Clock = { ...systemClock, now: () => Date.now() };
