import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * Scenarios spread among the unit tests, so that one of two workers has a scenario and the other has unit tests: a
 * scenario waits as often as it works, and no two of them run at a time (`turn.ts`).
 */
export class SideBySide extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isScenario = ({ project }: TestSpecification) => project.name === 'e2e';
    return spread(
      sorted.filter(isScenario),
      sorted.filter((file) => !isScenario(file)),
    );
  }
}

/** The few at even distances among the many, from the first place on. */
export function spread<T>(few: readonly T[], many: readonly T[]): T[] {
  const mixed: T[] = [];
  let taken = 0;
  few.forEach((one, index) => {
    const upTo = Math.ceil(((index + 1) * many.length) / few.length);
    mixed.push(one, ...many.slice(taken, upTo));
    taken = upTo;
  });
  return [...mixed, ...many.slice(taken)];
}
