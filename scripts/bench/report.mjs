// Rounds to text: the table of medians and ratios, and docs/benchmarks.md.
import { cpus, totalmem } from "node:os";

export function median(values) {
  const sorted = [...values].sort((left, right) => left - right);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** One line a row: medians over rounds, and the ratio round by round with its spread. */
export function summarise(rows, rounds) {
  return rows.map((row) => {
    const pick = (system) => rounds.map((round) => round[row.name][system]);
    const keelson = pick("keelson");
    const etcd = pick("etcd");
    const ratios = keelson.map((result, i) => result.perSecond / etcd[i].perSecond);
    return {
      row: row.name,
      keelson: median(keelson.map((result) => result.perSecond)),
      etcd: median(etcd.map((result) => result.perSecond)),
      ratio: median(ratios),
      ratioMin: Math.min(...ratios),
      ratioMax: Math.max(...ratios),
      keelsonP99Ms: median(keelson.map((result) => result.p99Ms)),
      etcdP99Ms: median(etcd.map((result) => result.p99Ms)),
      failures: [...keelson, ...etcd].reduce((sum, result) => sum + result.failures, 0),
    };
  });
}

export function table(summary) {
  const head = [
    "| Row | Keelson /s | etcd /s | ratio (min to max) | p99 ms Keelson / etcd | failed |",
    "|---|---|---|---|---|---|",
  ];
  const lines = summary.map(
    (s) =>
      `| ${s.row} | ${Math.round(s.keelson)} | ${Math.round(s.etcd)} | ` +
      `**${s.ratio.toFixed(2)}** (${s.ratioMin.toFixed(2)} to ${s.ratioMax.toFixed(2)}) | ` +
      `${s.keelsonP99Ms.toFixed(2)} / ${s.etcdP99Ms.toFixed(2)} | ${s.failures} |`,
  );
  return [...head, ...lines].join("\n");
}

export function markdown({ summary, rounds, versions, settings, command }) {
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB`;
  return `# Benchmarks

Keelson beside real etcd, in one run on one machine: three members each on loopback, the idle side
stopped while the other is measured, rounds interleaved. Machine and load share the same cores, so
ratios count, not absolute figures.

| | |
|---|---|
| Date | ${new Date().toISOString().slice(0, 10)} |
| Machine | ${machine}, Linux |
| Versions | ${versions.join("; ")} |
| Work | ${settings.keyCount} keys, random values of ${settings.valueBytes} bytes, ${rounds.length} rounds of ${settings.runMs / 1000} s after ${settings.warmMs / 1000} s of warm-up |
| Load | raw HTTP/2 client of scripts/bench, closed loop, at most 8 connections, same requests to both |
| Command | \`${command}\` |

Medians over the rounds; the ratio is taken round by round.

${table(summary)}

## Raw rounds

\`\`\`json
${JSON.stringify(rounds.map((round) => Object.fromEntries(Object.entries(round).map(([name, both]) => [name, Object.fromEntries(Object.entries(both).map(([system, result]) => [system, Math.round(result.perSecond)]))]))))}
\`\`\`
`;
}
