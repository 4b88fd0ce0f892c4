import pino from 'pino';

/** Structured logs. Fields come first, the sentence last; a child carries `module` and ids. */
export interface Logger {
  error(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  info(fields: object, message: string): void;
  debug(fields: object, message: string): void;
  child(fields: object): Logger;
}

export type LogLevel = 'error' | 'warn' | 'info' | 'debug';

/** JSON lines on `fd` (2 by default). Errors under the key `error` are written with stack and cause. */
export function createLogger(options: {
  readonly level: LogLevel;
  readonly name: string;
  readonly fd?: number;
}): Logger {
  return pino(
    {
      level: options.level,
      base: { name: options.name },
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { error: pino.stdSerializers.errWithCause },
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ fd: options.fd ?? 2, sync: true }),
  );
}

export const silentLogger: Logger = {
  error() {},
  warn() {},
  info() {},
  debug() {},
  child: () => silentLogger,
};
