// Real members as processes: started from the build, killed, stopped and continued by pid. Ports
// are taken from the kernel, so that test files run side by side. TEST_SERVER=etcd runs the same
// tests against real etcd, which is how the interop suite is held against its model.
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const isEtcd = process.env["TEST_SERVER"] === "etcd";

export interface MemberPorts {
  readonly name: string;
  readonly client: number;
  readonly peer: number;
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
          const server = createServer();
          server.once("error", reject);
          server.listen(0, "127.0.0.1", () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    return address.port;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Resolves with the first answer that is not undefined; fails after limitMs with the last error. */
export async function until<T>(
  what: string,
  limitMs: number,
  attempt: () => Promise<T | undefined>,
): Promise<T> {
  const end = performance.now() + limitMs;
  let last: unknown;
  while (performance.now() < end) {
    try {
      const answer = await attempt();
      if (answer !== undefined) return answer;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`gave up waiting for ${what}`, { cause: last });
}

export async function postJson(
  port: number,
  path: string,
  body: unknown = {},
): Promise<Record<string, unknown>> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: "POST",
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  const answer: unknown = await response.json();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${JSON.stringify(answer)}`);
  if (typeof answer !== "object" || answer === null) throw new Error(`${path}: not an object`);
  return { ...answer };
}

/** Members of one cluster, each with a data directory that outlives its process. */
export class ProcessCluster {
  readonly folder: string;
  readonly members: readonly MemberPorts[];
  readonly #children = new Map<string, ChildProcess>();
  readonly #flags: readonly string[];

  private constructor(folder: string, members: readonly MemberPorts[], flags: readonly string[]) {
    this.folder = folder;
    this.members = members;
    this.#flags = flags;
  }

  /** Starts `count` members and waits until all of them serve. */
  static async start(count: number, flags: readonly string[] = []): Promise<ProcessCluster> {
    const ports = await freePorts(2 * count);
    const members = Array.from({ length: count }, (_, i) => ({
      name: `m${i}`,
      client: ports[2 * i] ?? 0,
      peer: ports[2 * i + 1] ?? 0,
    }));
    const folder = mkdtempSync(join(tmpdir(), "keelson-e2e-"));
    const cluster = new ProcessCluster(folder, members, flags);
    for (const member of members) cluster.spawn(member.name);
    try {
      await cluster.ready();
    } catch (error) {
      const logs = members.map(({ name }) => cluster.log(name)).join("\n");
      await cluster.close();
      throw new Error(`cluster did not start:\n${logs}`, { cause: error });
    }
    return cluster;
  }

  member(name: string): MemberPorts {
    const found = this.members.find((member) => member.name === name);
    if (found === undefined) throw new Error(`no member ${name}`);
    return found;
  }

  spawn(name: string): void {
    const { client, peer } = this.member(name);
    const initial = this.members
      .map((member) => `${member.name}=http://127.0.0.1:${member.peer}`)
      .join(",");
    const log = openSync(this.#logPath(name), "a");
    const args = [
      ...(isEtcd ? [] : ["--max-semi-space-size=16", "dist/main.js", "serve"]),
      ...["--name", name, "--data-dir", join(this.folder, name)],
      ...["--listen-client-urls", `http://127.0.0.1:${client}`],
      ...["--advertise-client-urls", `http://127.0.0.1:${client}`],
      ...["--listen-peer-urls", `http://127.0.0.1:${peer}`],
      ...["--initial-advertise-peer-urls", `http://127.0.0.1:${peer}`],
      ...["--initial-cluster", initial, ...this.#flags],
    ];
    const environment = { PATH: process.env["PATH"] };
    const child = spawn(isEtcd ? "etcd" : process.execPath, args, {
      stdio: ["ignore", log, log],
      env: environment,
    });
    this.#children.set(name, child);
  }

  /** Waits until each running member answers /readyz with ok. */
  async ready(): Promise<void> {
    await Promise.all(
      [...this.#children.keys()].map((name) =>
        until(`${name} to be ready`, 30_000, async () => {
          const { client } = this.member(name);
          const answer = await fetch(`http://127.0.0.1:${client}/${isEtcd ? "health" : "readyz"}`, {
            signal: AbortSignal.timeout(2000),
          });
          return answer.ok ? true : undefined;
        }),
      ),
    );
  }

  signal(name: string, signal: NodeJS.Signals): void {
    this.#children.get(name)?.kill(signal);
  }

  /** Ends the process at once and waits until it is gone. Its data stay. */
  async kill(name: string, signal: NodeJS.Signals = "SIGKILL"): Promise<number | null> {
    const child = this.#children.get(name);
    if (child === undefined) return null;
    this.#children.delete(name);
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const gone = new Promise<number | null>((resolve) => child.once("exit", resolve));
    child.kill(signal);
    return gone;
  }

  running(): MemberPorts[] {
    return this.members.filter(({ name }) => this.#children.has(name));
  }

  pid(name: string): number {
    const pid = this.#children.get(name)?.pid;
    if (pid === undefined) throw new Error(`${name} does not run`);
    return pid;
  }

  /** The name of the member that the running ones agree leads. */
  async leader(): Promise<string> {
    return until("a leader", 30_000, async () => {
      const answers = await Promise.all(
        this.running().map(async ({ name, client }) => {
          const status = await postJson(client, "/v3/maintenance/status");
          const header = status["header"];
          if (typeof header !== "object" || header === null) throw new Error("no header");
          return { name, id: "member_id" in header && header.member_id, leader: status["leader"] };
        }),
      );
      const leader = answers[0]?.leader;
      if (leader === undefined || answers.some((answer) => answer.leader !== leader)) {
        return undefined;
      }
      return answers.find(({ id }) => id === leader)?.name;
    });
  }

  log(name: string): string {
    return readFileSync(this.#logPath(name), "utf8");
  }

  endpoints(): string[] {
    return this.members.map(({ client }) => `127.0.0.1:${client}`);
  }

  async close(): Promise<void> {
    for (const name of this.#children.keys()) this.signal(name, "SIGCONT");
    await Promise.all([...this.#children.keys()].map((name) => this.kill(name)));
    rmSync(this.folder, { recursive: true, force: true });
  }

  #logPath(name: string): string {
    return join(this.folder, `${name}.log`);
  }
}
