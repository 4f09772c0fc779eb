/** Who may wait: so many in all, and so many for one client, so that nobody can fill the room. */
export interface Seats {
  /**
   * Takes a seat.
   *
   * @param client Whose it is; undefined: nobody knows, and only the whole counts.
   * @returns A function that gives it back, or undefined when there is none left.
   */
  take(client: string | undefined): (() => void) | undefined;
}

/**
 * Creates the seats of a proxy.
 *
 * @param total How many there are.
 * @param perClient How many of them one client may take.
 */
export function createSeats(total: number, perClient: number): Seats {
  const taken = new Map<string, number>();
  let all = 0;
  return {
    take: (client) => {
      const own = client === undefined ? 0 : (taken.get(client) ?? 0);
      if (all >= total || own >= perClient) return undefined;
      all++;
      if (client !== undefined) taken.set(client, own + 1);
      return () => {
        all--;
        if (client === undefined) return;
        const left = (taken.get(client) ?? 1) - 1;
        if (left === 0) taken.delete(client);
        else taken.set(client, left);
      };
    },
  };
}
