// npm run bench: Keelson beside real etcd (Debian's etcd-server), three members each, one run.
//   --rounds N   measured rounds (5)        --seconds N  length of one measurement (3)
//   --quick      a small set, no file       --only TEXT  rows whose name holds TEXT
// Writes docs/benchmarks.md unless --quick or --only is given.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { measure, preload } from "./bench/load.mjs";
import { markdown, summarise, table } from "./bench/report.mjs";
import { startEtcd, startKeelson } from "./bench/systems.mjs";

const root = new URL("..", import.meta.url).pathname;
const { values: flags } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "3" },
    quick: { type: "boolean", default: false },
    only: { type: "string", default: "" },
  },
});
const settings = {
  keyCount: flags.quick ? 10_000 : 100_000,
  valueBytes: 256,
  warmMs: 1000,
  runMs: Number(flags.seconds) * 1000,
};
const kinds = ["put", "linearizable read", "serializable read"];
const rows = kinds
  .flatMap((kind) =>
    [1, 10, 200].flatMap((inflight) =>
      ["leader", "follower"].map((through) => ({
        name: `${kind}, ${inflight} in flight, ${through}`,
        kind,
        inflight,
        through,
      })),
    ),
  )
  .filter(({ name }) => name.includes(flags.only))
  .filter(({ inflight, through }) => !flags.quick || (inflight !== 10 && through === "leader"));

function hasEtcd() {
  try {
    execFileSync("etcd", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

if (!hasEtcd()) {
  console.error("bench: etcd is not installed; on Debian: apt-get install etcd-server");
  process.exit(1);
}
execFileSync(process.execPath, [`${root}scripts/build.mjs`], { stdio: "inherit" });
const systems = {
  keelson: startKeelson({ count: 3, basePort: 23_790 }),
  etcd: startEtcd({ count: 3, basePort: 24_790 }),
};
const close = async () => {
  await Promise.all(Object.values(systems).map((system) => system.close()));
};
process.once("SIGINT", () => void close().then(() => process.exit(130)));

try {
  for (const system of Object.values(systems)) {
    for (const other of Object.values(systems)) if (other !== system) other.pause();
    const { leader } = await system.resume();
    await preload(leader, settings);
    system.pause();
  }
  const rounds = [];
  for (let round = 0; round < Number(flags.quick ? "1" : flags.rounds); round++) {
    const results = Object.fromEntries(rows.map(({ name }) => [name, {}]));
    for (const [name, system] of Object.entries(systems)) {
      for (const row of rows) {
        // Asked anew for every row: an election in between would measure the wrong path.
        const ports = await system.resume();
        const { kind, inflight } = row;
        const port = ports[row.through];
        results[row.name][name] = await measure({ ...settings, port, kind, inflight });
      }
      system.pause();
    }
    rounds.push(results);
    console.log(`round ${round + 1}\n${table(summarise(rows, [results]))}`);
  }
  const summary = summarise(rows, rounds);
  console.log(`\n${table(summary)}`);
  if (!flags.quick && flags.only === "") {
    const versions = Object.values(systems).map(({ version }) => version);
    const command = `npm run bench -- --rounds ${flags.rounds} --seconds ${flags.seconds}`;
    writeFileSync(
      `${root}docs/benchmarks.md`,
      markdown({ summary, rounds, versions, settings, command }),
    );
  }
} finally {
  await close();
}
