/**
 * Makes a function that spells times as HTTP does (RFC 9110 section 5.6.7), each second once: requests that come within
 * the same second ask for the same text.
 *
 * @returns The function; it takes milliseconds since the Unix epoch.
 */
export function createDateSpeller(): (time: number) => string {
  let spelled = NaN;
  let text = "";
  return (time) => {
    const second = Math.floor(time / 1000);
    if (second !== spelled) {
      spelled = second;
      text = new Date(second * 1000).toUTCString();
    }
    return text;
  };
}
