import { isIPv6 } from "node:net";
import { parseOrigin } from "./address.ts";
import { ConfigError } from "./error.ts";

/** What stands for the primary's name in a template. */
const PLACE = "{hostname}";

const EXAMPLE = "http://{hostname}:8080";

/**
 * Reads a template for the origin of the primary's proxy.
 *
 * @param text An http(s) origin in which `{hostname}` stands for the primary's name.
 * @returns The template, with its scheme.
 * @throws {ConfigError} When it is none.
 */
export function parsePrimaryUrl(text: string): string {
  const pieces = text.split(PLACE);
  if (pieces.length !== 2) {
    const found = pieces.length > 2 ? `has ${PLACE} more than once` : `has no ${PLACE}`;
    throw new ConfigError(`${JSON.stringify(text)} ${found}, write one such as "${EXAMPLE}"`);
  }
  // A plain name shows what is wrong with the rest.
  parseOrigin(pieces.join("primary"), EXAMPLE);
  return text.includes("://") ? text : `http://${text}`;
}

/**
 * Returns the template that needs no setting: by Fly.io's private network, or by the name alone, at the same port.
 *
 * @param port The port of this node's proxy; 0: any free one, so that nobody knows the primary's.
 * @param app The app's name on Fly.io; undefined: elsewhere.
 */
export function standardPrimaryUrl(port: number, app: string | undefined): string | undefined {
  if (port === 0) return undefined;
  return `http://${PLACE}${app === undefined ? "" : `.vm.${app}.internal`}:${port}`;
}

/**
 * Makes the function that finds the primary's proxy. It takes the primary's name as LiteFS knows it, `lease.hostname`,
 * and returns undefined when that is no host, so that there is no way there. A port of its own in that name counts where
 * the template names none: then it is the proxy's, which is how nodes on one machine find each other.
 *
 * @param template What `parsePrimaryUrl()` returned; undefined: there is never a way.
 */
export function primaryUrl(
  template: string | undefined,
): ((hostname: string) => string | undefined) | undefined {
  if (template === undefined) return undefined;
  const place = template.replace(/\/$/, "");
  const hasPort = /:\d+$/.test(place);
  function find(hostname: string): string | undefined {
    const ownPort = isIPv6(hostname) ? "" : (/:\d+$/.exec(hostname)?.[0] ?? "");
    const name = hostname.slice(0, hostname.length - ownPort.length).replace(/^\[|\]$/g, "");
    if (!isIPv6(name) && !/^[\w.-]+$/.test(name)) return undefined;
    const origin = place.replace(PLACE, isIPv6(name) ? `[${name}]` : name);
    const whole = hasPort ? origin : `${origin}${ownPort}`;
    return URL.canParse(whole) ? whole : undefined;
  }

  let last: { readonly hostname: string; readonly url: string | undefined } | undefined;
  return (hostname) => {
    if (last?.hostname !== hostname) last = { hostname, url: find(hostname) };
    return last.url;
  };
}
