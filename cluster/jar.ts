/** The cookies of one client, kept as a browser keeps them; ports do not part them (RFC 6265 section 8.5). */
export interface Jar {
  /** Takes the `Set-Cookie` lines of an answer that came from `url`. */
  take(lines: readonly string[], url: URL): void;
  /** Returns the `Cookie` header of a request to `url`; undefined: no cookie fits. */
  header(url: URL): string | undefined;
}

interface Cookie {
  readonly name: string;
  readonly value: string;
  readonly host: string;
  readonly path: string;
  readonly isSecure: boolean;
  readonly expires: number;
}

/**
 * Creates an empty cookie jar.
 *
 * @param now Returns milliseconds since the Unix epoch.
 */
export function createJar(now: () => number = Date.now): Jar {
  const cookies = new Map<string, Cookie>();
  return {
    take(lines, url) {
      for (const line of lines) {
        const cookie = parseSetCookie(line, url, now());
        if (cookie === undefined) {
          continue;
        }
        const key = `${cookie.host} ${cookie.path} ${cookie.name}`;
        // The last one wins, whatever it says.
        if (cookie.expires <= now()) {
          cookies.delete(key);
          continue;
        }
        cookies.set(key, cookie);
      }
    },
    header(url) {
      const fitting = [...cookies.values()]
        .filter((cookie) => fits(cookie, url, now()))
        .sort((a, b) => b.path.length - a.path.length);
      return fitting.length === 0
        ? undefined
        : fitting.map((cookie) => `${cookie.name}=${cookie.value}`).join("; ");
    },
  };
}

function parseSetCookie(line: string, url: URL, now: number): Cookie | undefined {
  const [pair = "", ...parts] = line.split(";");
  const cut = pair.indexOf("=");
  if (cut < 1) {
    return undefined;
  }
  const attributes = new Map(
    parts.map((part) => {
      const [name = "", ...rest] = part.split("=");
      return [name.trim().toLowerCase(), rest.join("=").trim()];
    }),
  );
  const isSecure = attributes.has("secure");
  const domain = attributes.get("domain")?.replace(/^\./, "").toLowerCase();
  if (domain !== undefined && domain !== "" && domain !== url.hostname) {
    return undefined;
  }
  if (isSecure && url.protocol !== "https:") {
    return undefined;
  }
  const path = attributes.get("path");
  return {
    name: pair.slice(0, cut).trim(),
    value: pair.slice(cut + 1).trim(),
    host: url.hostname,
    path: path?.startsWith("/") === true ? path : defaultPath(url),
    isSecure,
    expires: expiry(attributes.get("max-age"), attributes.get("expires"), now),
  };
}

function expiry(maxAge: string | undefined, expires: string | undefined, now: number): number {
  if (maxAge !== undefined && /^-?\d+$/.test(maxAge)) {
    return now + Number(maxAge) * 1000;
  }
  const date = expires === undefined ? NaN : Date.parse(expires);
  return Number.isNaN(date) ? Infinity : date;
}

function defaultPath(url: URL): string {
  return url.pathname.slice(0, Math.max(1, url.pathname.lastIndexOf("/")));
}

function fits(cookie: Cookie, url: URL, now: number): boolean {
  const { path } = cookie;
  const isUnder = url.pathname.startsWith(path.endsWith("/") ? path : `${path}/`);
  return (
    cookie.expires > now &&
    cookie.host === url.hostname &&
    (url.pathname === path || isUnder) &&
    (!cookie.isSecure || url.protocol === "https:")
  );
}
