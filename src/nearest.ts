/**
 * Finds the name that was probably meant.
 *
 * @param name What was written.
 * @param names What can be written.
 * @returns The nearest name, or undefined when none is near.
 */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const plain = plainly(name);
  let best =
    plain.length < 3 ? undefined : names.find((candidate) => plainly(candidate).startsWith(plain));
  let least = Math.max(1, Math.floor(plain.length / 3)) + 1;
  for (const candidate of names) {
    const distance = editDistance(plain, plainly(candidate));
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

/** Spells a name in the way of files: `wait-timeout` for `waitTimeout` and `WAIT_TIMEOUT`. */
function plainly(name: string): string {
  return name
    .replace(/([a-z])([A-Z])/g, "$1-$2")
    .replaceAll("_", "-")
    .toLowerCase();
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
