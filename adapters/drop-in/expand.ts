/** What a `${…}` may hold beside a name: a comparison with a text in quotes or with another variable. */
const comparison = /^(\w+)[\t\n\f\r ]*(==|!=)[\t\n\f\r ]*(?:'([^\n]*)'|"([^\n]*)"|(\w+))$/;

/** The white space that Go's `strings.TrimSpace` takes off; `String.prototype.trim` differs in U+0085 and U+FEFF. */
const space = "[\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+";
const outerSpace = new RegExp(`^${space}|${space}$`, "g");

/** The names of one character after a `$`, as in a shell; no environment variable is called so. */
const special = /[*#$@!?\-0-9]/;

/**
 * Replaces environment variables in the raw text of a configuration file as LiteFS does, comments included: `$NAME`,
 * `${NAME}`, and comparisons that become `true` or `false`, such as `${REGION == "ams"}` or `${A != B}`. A variable
 * that is not set is empty. There is no escape and no default: `$$` and `${}` vanish, a `$` before anything else stays.
 *
 * @param text The file's text.
 * @param lookup Returns a variable's value, or undefined when it is not set.
 */
export function expandEnvironment(
  text: string,
  lookup: (name: string) => string | undefined,
): string {
  let expanded = "";
  let from = 0;
  let at = text.indexOf("$");
  while (at !== -1) {
    const { name, length } = readName(text, at + 1);
    if (name !== "") expanded += text.slice(from, at) + evaluate(name, lookup);
    else if (length > 0) expanded += text.slice(from, at);
    else expanded += text.slice(from, at + 1);
    from = at + 1 + length;
    at = text.indexOf("$", from);
  }
  return expanded + text.slice(from);
}

/** Reads the name after a `$`. No name but a length: bad syntax, which vanishes. Neither: the `$` is an ordinary one. */
function readName(text: string, at: number): { name: string; length: number } {
  const first = text.charAt(at);
  if (first === "{") return readBraces(text, at);
  if (special.test(first)) return { name: first, length: 1 };
  let end = at;
  while (/\w/.test(text.charAt(end))) end++;
  return { name: text.slice(at, end), length: end - at };
}

function readBraces(text: string, at: number): { name: string; length: number } {
  const end = text.indexOf("}", at + 1);
  if (end === -1) return { name: "", length: 1 };
  return { name: text.slice(at + 1, end), length: end - at + 1 };
}

function evaluate(expression: string, lookup: (name: string) => string | undefined): string {
  const name = expression.replace(outerSpace, "");
  const parts = comparison.exec(name);
  if (parts === null) return lookup(name) ?? "";
  const [, left = "", operator, single, double, variable = ""] = parts;
  const right = single ?? double ?? lookup(variable) ?? "";
  return String(((lookup(left) ?? "") === right) === (operator === "=="));
}
