import { hexOf } from '@tessera/shared/digest';

/**
 * What Docker's clients draw: `id` is the line, `status` its text, the numbers its bar.
 *
 * Source: moby pkg/jsonmessage/jsonmessage.go.
 */
export interface ProgressMessage {
  readonly status: string;
  readonly id?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  readonly progress?: string;
  readonly aux?: object;
}

export type Progress = (message: ProgressMessage) => void;

/** The twelve digits by which Docker shows a layer. */
export const shortId = (digest: string): string => hexOf(digest).slice(0, 12);

/** A step without numbers. */
export const step = (id: string, status: string): ProgressMessage => ({ status, progressDetail: {}, id });

export const bar = (id: string, status: string, current: number, total: number): ProgressMessage => ({
  status,
  progressDetail: { current, total },
  progress: barText(current, total),
  id,
});

const WIDTH = 50;

/** `[=====>     ]  1.2MB/3.4MB`, as `JSONProgress.String` has it without a terminal. */
function barText(current: number, total: number): string {
  if (current <= 0 && total <= 0) return '';
  if (total <= 0 || current > total) return humanSize(current).padStart(8);
  const filled = Math.min(WIDTH, Math.floor(((current / total) * 100) / 2));
  const box = `[${'='.repeat(filled)}>${' '.repeat(WIDTH - filled)}] `;
  return `${box}${humanSize(current).padStart(8)}/${humanSize(total)}`;
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** Four digits that matter and a decimal unit. Source: github.com/docker/go-units, HumanSize. */
export function humanSize(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${Number(value.toPrecision(4))}${UNITS[unit]}`;
}

/** Lets a bar move by a hundredth of its length, or by 512 KiB, at a time: what is drawn need not be said more often. */
export function throttledBar(
  progress: Progress,
  id: string,
  status: string,
  total: number,
): (current: number) => void {
  const stride = Math.max(512 * 1024, total / 100);
  let last = Number.NEGATIVE_INFINITY;
  return (current) => {
    if (Math.abs(current - last) < stride && current < total) return;
    if (current === last) return;
    last = current;
    progress(bar(id, status, current, total));
  };
}
