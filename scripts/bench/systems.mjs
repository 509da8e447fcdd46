// The two systems under measurement: real etcd and Keelson, three members each on loopback with
// the same flags. One runs while the other is stopped (SIGSTOP), so that they never share the
// cores. Only processes started here are signalled, by their pid.
import { spawn, execFileSync } from "node:child_process";
import { mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = new URL("../..", import.meta.url).pathname;

async function postJson(port, path, body = {}) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: "POST",
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(2000),
  });
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`);
  return response.json();
}

async function until(what, limitMs, attempt) {
  const end = Date.now() + limitMs;
  for (;;) {
    try {
      const answer = await attempt();
      if (answer !== undefined) return answer;
    } catch (error) {
      if (Date.now() > end) throw new Error(`bench: gave up waiting for ${what}`, { cause: error });
    }
    if (Date.now() > end) throw new Error(`bench: gave up waiting for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

class Cluster {
  name;
  version;
  #members = [];
  #folder;

  constructor(name, version, { command, args, basePort, count }) {
    this.name = name;
    this.version = version;
    this.#folder = mkdtempSync(join(tmpdir(), `bench-${name}-`));
    const members = Array.from({ length: count }, (_, i) => ({
      name: `m${i}`,
      port: basePort + 10 * i,
      peerPort: basePort + 10 * i + 1,
    }));
    const initial = members.map((m) => `${m.name}=http://127.0.0.1:${m.peerPort}`).join(",");
    for (const member of members) {
      const log = openSync(join(this.#folder, `${member.name}.log`), "a");
      const flags = [
        ...args,
        ...["--name", member.name, "--data-dir", join(this.#folder, member.name)],
        ...["--listen-client-urls", `http://127.0.0.1:${member.port}`],
        ...["--advertise-client-urls", `http://127.0.0.1:${member.port}`],
        ...["--listen-peer-urls", `http://127.0.0.1:${member.peerPort}`],
        ...["--initial-advertise-peer-urls", `http://127.0.0.1:${member.peerPort}`],
        ...["--initial-cluster", initial, "--initial-cluster-state", "new"],
        ...["--initial-cluster-token", `bench-${name}`],
      ];
      const child = spawn(command, flags, { stdio: ["ignore", log, log], cwd: this.#folder });
      child.on("exit", (code, signal) => {
        if (!this.closing) console.error(`bench: ${name} ${member.name} ended: ${code ?? signal}`);
      });
      this.#members.push({ ...member, child });
    }
  }

  closing = false;

  get folder() {
    return this.#folder;
  }

  pids() {
    return this.#members.map(({ child }) => child.pid);
  }

  pause() {
    for (const { child } of this.#members) child.kill("SIGSTOP");
  }

  /** Resolves when all members agree on a leader, twice, one second apart. */
  async resume() {
    for (const { child } of this.#members) child.kill("SIGCONT");
    let before = null;
    return until(`a leader of ${this.name}`, 60_000, async () => {
      const now = await this.#leader();
      if (now !== null && now.leader === before) return now;
      before = now === null ? null : now.leader;
      await new Promise((resolve) => setTimeout(resolve, 1000));
      return undefined;
    });
  }

  async #leader() {
    const answers = await Promise.all(
      this.#members.map(({ port }) => postJson(port, "/v3/maintenance/status")),
    );
    const leader = answers[0].leader;
    if (leader === undefined || answers.some((answer) => answer.leader !== leader)) return null;
    const at = answers.findIndex((answer) => answer.header.member_id === leader);
    const follower = this.#members[(at + 1) % this.#members.length];
    return { leader: this.#members[at].port, follower: follower.port };
  }

  async close() {
    this.closing = true;
    await Promise.all(
      this.#members.map(
        ({ child }) =>
          new Promise((resolve) => {
            if (child.exitCode !== null || child.signalCode !== null) return resolve();
            child.once("exit", resolve);
            child.kill("SIGCONT");
            child.kill("SIGKILL");
          }),
      ),
    );
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export function startEtcd({ count, basePort }) {
  const version = execFileSync("etcd", ["--version"], { encoding: "utf8" }).split("\n")[0];
  return new Cluster("etcd", version.replace("etcd Version: ", "etcd "), {
    command: "etcd",
    args: ["--log-level", "error", "--logger", "zap"],
    basePort,
    count,
  });
}

/** What npm start, npm run cluster and the image give to Node. */
const memberNodeFlags = ["--max-semi-space-size=16"];

export function startKeelson({ count, basePort, nodeFlags = [] }) {
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], {
    cwd: root,
    encoding: "utf8",
  }).trim();
  return new Cluster("keelson", `Keelson at ${commit}, Node ${process.versions.node}`, {
    command: process.execPath,
    args: [
      ...memberNodeFlags,
      ...nodeFlags,
      join(root, "dist/main.js"),
      "serve",
      "--log-level",
      "error",
    ],
    basePort,
    count,
  });
}
