// Durations as Go writes them, because that is how etcd's flags do: "100ms", "1h30m", "1.5s".

const unitMs: ReadonlyMap<string, number> = new Map([
  ["ns", 1e-6],
  ["us", 1e-3],
  ["µs", 1e-3],
  ["μs", 1e-3],
  ["ms", 1],
  ["s", 1000],
  ["m", 60_000],
  ["h", 3_600_000],
]);

/** Milliseconds; undefined when the text is no duration. A bare number is one only when it is 0. */
export function parseDuration(text: string): number | undefined {
  const sign = text.startsWith("-") ? -1 : 1;
  const magnitude = text.replace(/^[+-]/, "");
  if (magnitude === "0") return 0;
  if (!/^((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+$/.test(magnitude)) return undefined;
  let total = 0;
  for (const [, count, unit] of magnitude.matchAll(/([\d.]+)([a-zµμ]+)/g)) {
    total += Number(count) * (unitMs.get(unit ?? "") ?? Number.NaN);
  }
  return Number.isFinite(total) ? sign * total : undefined;
}
