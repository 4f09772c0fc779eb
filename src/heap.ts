/** A priority queue whose items may end before they surface. */
export interface Heap<T> {
  /** Adds an item. */
  push(item: T): void;
  /** Returns the least item and leaves it. */
  peek(): T | undefined;
  /** Takes the least item out. */
  pop(): T | undefined;
  /** Notes that one item somewhere inside is done; when most are, they are thrown out. */
  forget(): void;
  /** Takes all items out. */
  clear(): void;
}

/**
 * Creates a binary heap with the least item on top. Items that are done stay inside until they surface or are the most.
 *
 * @param isBefore Tells whether the first item belongs above the second.
 */
export function createHeap<T extends { readonly done: boolean }>(
  isBefore: (a: T, b: T) => boolean,
): Heap<T> {
  let items: T[] = [];
  let forgotten = 0;

  function sink(start: number): void {
    let at = start;
    const item = items[at];
    if (item === undefined) return;
    for (;;) {
      const left = 2 * at + 1;
      let least = item;
      let next = at;
      for (const child of [left, left + 1]) {
        const candidate = items[child];
        if (candidate === undefined || !isBefore(candidate, least)) continue;
        least = candidate;
        next = child;
      }
      if (next === at) return;
      items[at] = least;
      items[next] = item;
      at = next;
    }
  }

  return {
    push: (item) => {
      let at = items.length;
      items.push(item);
      while (at > 0) {
        const parent = (at - 1) >> 1;
        const above = items[parent];
        if (above === undefined || !isBefore(item, above)) return;
        items[at] = above;
        items[parent] = item;
        at = parent;
      }
    },
    peek: () => items[0],
    pop: () => {
      const top = items[0];
      const last = items.pop();
      if (last !== undefined && items.length > 0) {
        items[0] = last;
        sink(0);
      }
      return top;
    },
    forget: () => {
      forgotten++;
      if (forgotten < 64 || forgotten * 2 < items.length) return;
      forgotten = 0;
      items = items.filter((item) => !item.done);
      for (let at = (items.length >> 1) - 1; at >= 0; at--) sink(at);
    },
    clear: () => {
      items = [];
      forgotten = 0;
    },
  };
}
