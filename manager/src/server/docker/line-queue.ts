/**
 * The lines that some work reports while it is under way, ending with it and failing as it does.
 *
 * Work is begun at once and is not slowed by a slow reader: its lines are few, and it has an end of its own.
 */
export async function* lines(
  work: (report: (line: string) => void) => Promise<unknown>,
): AsyncGenerator<string> {
  const queue: string[] = [];
  let wake: () => void = () => {};
  let ended = false;
  const done = work((line) => {
    queue.push(line);
    wake();
  }).finally(() => {
    ended = true;
    wake();
  });
  // Rethrown below, once the lines before it have been given.
  done.catch(() => {});

  for (;;) {
    const line = queue.shift();
    if (line !== undefined) {
      yield line;
    } else if (ended) {
      await done;
      return;
    } else {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
}
