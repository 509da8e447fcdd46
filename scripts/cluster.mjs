// Three members on loopback: client ports 2379, 22379 and 32379, peer ports one above, data under
// ./data/cluster. Each member's log lines come out behind its name; Ctrl-C stops all. When one
// ends by itself the others go on, as a cluster does, and the exit code is its own at the end.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const members = [
  { name: "m1", client: 2379, peer: 2380 },
  { name: "m2", client: 22379, peer: 22380 },
  { name: "m3", client: 32379, peer: 32380 },
];
const initialCluster = members
  .map(({ name, peer }) => `${name}=http://127.0.0.1:${peer}`)
  .join(",");

function flags({ name, client, peer }) {
  return [
    `--name=${name}`,
    `--data-dir=${root}data/cluster/${name}`,
    `--listen-client-urls=http://127.0.0.1:${client}`,
    `--advertise-client-urls=http://127.0.0.1:${client}`,
    `--listen-peer-urls=http://127.0.0.1:${peer}`,
    `--initial-advertise-peer-urls=http://127.0.0.1:${peer}`,
    `--initial-cluster=${initialCluster}`,
    "--initial-cluster-token=keelson-local",
  ];
}

let ready = 0;

function greet() {
  const endpoints = members.map(({ client }) => `127.0.0.1:${client}`).join(",");
  process.stdout.write(`
Three members serve clients at ${endpoints}

Try, in another terminal:

  ETCDCTL_API=3 etcdctl --endpoints=${endpoints} endpoint status -w table
  curl -s 127.0.0.1:2379/v3/kv/put -d '{"key":"Y29sb3Vy","value":"Ymx1ZQ=="}'
  curl -s 127.0.0.1:32379/v3/kv/range -d '{"key":"Y29sb3Vy"}'

Ctrl-C stops them.

`);
}

function start(member) {
  const node = ["--max-semi-space-size=16", `${root}dist/main.js`];
  const args = [...node, "serve", ...flags(member), ...process.argv.slice(2)];
  // A process group of its own, so that Ctrl-C reaches it once, through this script.
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "ignore", "pipe"],
    detached: true,
  });
  createInterface({ input: child.stderr }).on("line", (line) => {
    process.stderr.write(`${member.name} ${line}\n`);
    if (line.includes('"ready to serve client requests"') && ++ready === members.length) greet();
  });
  child.on("exit", (code, signal) => {
    process.stderr.write(`${member.name} ended with ${signal ?? `exit code ${code}`}\n`);
    if (code) process.exitCode = code;
  });
  return child;
}

const children = members.map(start);

/** The first signal stops the members, the second ends them. */
let signals = 0;
function stop() {
  const signal = signals++ === 0 ? "SIGTERM" : "SIGKILL";
  for (const child of children) {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
  }
}
process.on("SIGINT", stop);
process.on("SIGTERM", stop);
