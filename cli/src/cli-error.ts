/** Exit codes, as docker's: what failed, and what was wrongly asked for. */
export const EXIT_FAILED = 1;
export const EXIT_USAGE = 125;
export const EXIT_INTERRUPTED = 130;

/** What the user is told, without a stack. */
export class CliError extends Error {
  override readonly name: string = 'CliError';
  constructor(
    message: string,
    readonly exitCode: number = EXIT_FAILED,
  ) {
    super(message);
  }
}

/** The API's own words, with their status. */
export class ApiError extends CliError {
  override readonly name = 'ApiError';
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(`Error response from daemon: ${message}`);
  }
}

/** What the user named is not there, in words that docker's client has for it. */
export class MissingError extends CliError {
  override readonly name = 'MissingError';
}

/** A flag whose value makes no sense: names it and says what would. */
export const badFlag = (flag: string, value: string, mend: string): CliError =>
  new CliError(`invalid argument "${value}" for "${flag}" flag: ${mend}`, EXIT_USAGE);
