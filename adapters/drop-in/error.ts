import { printable } from "./text.ts";

/** The configuration cannot be used; the message is one printable line that names the place, the key and the mend. */
export class ConfigError extends Error {
  /**
   * Makes the error.
   *
   * @param message The line, without a final period.
   */
  constructor(message: string) {
    super(printable(message));
    this.name = "ConfigError";
  }
}

/**
 * Runs `read` and puts a place before the message of a `ConfigError` that it throws.
 *
 * @param place The place, such as `proxy.yml:7: proxy.max-lag` or `--max-lag`.
 * @param read What may throw.
 * @throws {ConfigError} What `read` threw, with its place.
 */
export function at<T>(place: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof ConfigError) throw new ConfigError(`${place}: ${error.message}`);
    throw error;
  }
}
