import type { Logger } from '@tessera/shared/env';
import { errorText } from '@tessera/shared/errors';

/** What the managers must never have to say, even while everything breaks. */
const ALARMS = [/an event was lost/, / failed$/, /a subscriber to the store failed/];

/** Collects what would call an operator, and passes every line on to whoever looks into a seed. */
export class SimLogger implements Logger {
  readonly alarms: string[];

  constructor(
    private readonly nowMs: () => number,
    private readonly onLine: ((line: string) => void) | undefined,
    private readonly fields: object = {},
    alarms: string[] = [],
  ) {
    this.alarms = alarms;
  }

  error(fields: object, message: string): void {
    this.#write('error', fields, message);
  }

  warn(fields: object, message: string): void {
    this.#write('warn', fields, message);
  }

  info(fields: object, message: string): void {
    this.#write('info', fields, message);
  }

  debug(fields: object, message: string): void {
    if (this.onLine) this.#write('debug', fields, message);
  }

  child(fields: object): Logger {
    return new SimLogger(this.nowMs, this.onLine, { ...this.fields, ...fields }, this.alarms);
  }

  #write(level: string, fields: object, message: string): void {
    const isAlarm = (level === 'error' || level === 'warn') && ALARMS.some((alarm) => alarm.test(message));
    if (!isAlarm && !this.onLine) return;
    const { error, ...rest } = { ...this.fields, ...fields } as { error?: unknown };
    const cause =
      error === undefined ? '' : ` ${error instanceof Error && isAlarm ? error.stack : errorText(error)}`;
    const line = `${new Date(this.nowMs()).toISOString()} ${level} ${message} ${JSON.stringify(rest)}${cause}`;
    if (isAlarm) this.alarms.push(line);
    this.onLine?.(line);
  }
}
