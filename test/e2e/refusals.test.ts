// Starts that are refused, by the built command as operators run it: one line on stderr that says
// what is wrong and what to do, and etcd's exit codes.
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ProcessCluster } from "./processes.ts";

const folder = mkdtempSync(join(tmpdir(), "keelson-refusals-"));

interface Ending {
  readonly exitCode: number | null;
  readonly lines: readonly string[];
}

function run(args: readonly string[]): Promise<Ending> {
  const child = spawn(process.execPath, ["dist/main.js", ...args], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: process.env["PATH"] },
    timeout: 20_000,
  });
  let text = "";
  child.stderr.setEncoding("utf8").on("data", (part: string) => (text += part));
  return new Promise((resolve) => {
    child.on("close", (exitCode) =>
      resolve({ exitCode, lines: text.split("\n").filter((line) => line !== "") }),
    );
  });
}

interface Ports {
  readonly client: number;
  readonly peer: number;
}

function serveArgs(dataDir: string, { client, peer }: Ports): string[] {
  return [
    "serve",
    "--log-level=error",
    `--data-dir=${dataDir}`,
    `--listen-client-urls=http://127.0.0.1:${client}`,
    `--advertise-client-urls=http://127.0.0.1:${client}`,
    `--listen-peer-urls=http://127.0.0.1:${peer}`,
    `--initial-advertise-peer-urls=http://127.0.0.1:${peer}`,
  ];
}

/** Port 0: taken anew by whoever gets so far. */
function serve(dataDir: string, ports: Ports, ...more: string[]): Promise<Ending> {
  const cluster = `--initial-cluster=default=http://127.0.0.1:${ports.peer}`;
  return run([...serveArgs(dataDir, ports), cluster, ...more]);
}

async function refused(ending: Promise<Ending>, exitCode: number, says: RegExp): Promise<void> {
  const { exitCode: found, lines } = await ending;
  expect(lines).toEqual([expect.stringMatching(/^keelson: /)]);
  expect(lines[0]).toMatch(says);
  expect(found).toBe(exitCode);
}

describe("a start is refused with one line and an exit code", () => {
  let running: ProcessCluster;
  let memberDir: string;

  beforeAll(async () => {
    running = await ProcessCluster.start(1);
    memberDir = join(running.folder, "m0");
  });

  afterAll(async () => {
    await running.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** The flags of the running member, and others. */
  function asRunning(dataDir: string, ...more: string[]): Promise<Ending> {
    const { name, client, peer } = running.member("m0");
    const cluster = `--initial-cluster=${name}=http://127.0.0.1:${peer}`;
    return run([...serveArgs(dataDir, { client, peer }), `--name=${name}`, cluster, ...more]);
  }

  test("no command, and an unknown one", async () => {
    await refused(run([]), 2, /no command given; see keelson help/);
    await refused(run(["sreve"]), 2, /unknown command "sreve"; see keelson help/);
  });

  test("an unknown flag, a flag without its value, a value of the wrong form", async () => {
    await refused(run(["serve", "--data-dri=x"]), 2, /--data-dri; see keelson serve --help/);
    await refused(run(["serve", "--name"]), 2, /--name needs a value: --name=<value>/);
    await refused(run(["serve", "--heartbeat-interval=1s"]), 2, /expected a whole number/);
  });

  test("a malformed URL", async () => {
    const url = "--listen-client-urls=localhost:2379";
    await refused(run(["serve", url]), 2, /expected http:\/\/<address>:<port>/);
  });

  test("a name that is missing from the initial cluster", async () => {
    const dataDir = join(folder, "unnamed");
    const ending = serve(dataDir, { client: 0, peer: 0 }, "--name=m1");
    await refused(ending, 1, /couldn't find local name "m1" .* add m1=<peer-url>/);
  });

  test("flags of features to come, by their names", async () => {
    await refused(run(["serve", "--auto-compaction-retention=1"]), 1, /does not have; leave it/);
    await refused(run(["serve", "--cert-file=a.pem"]), 1, /belongs to TLS, .* leave it out/);
    const dataDir = join(folder, "existing");
    const existing = "--initial-cluster-state=existing";
    await refused(serve(dataDir, { client: 0, peer: 0 }, existing), 1, /membership changes/);
  });

  test("a data directory that another process uses", async () => {
    await refused(asRunning(memberDir), 1, /is in use; stop that process, or name another/);
  });

  test("a data directory of another cluster", async () => {
    const copy = join(folder, "other-cluster");
    cpSync(memberDir, copy, { recursive: true });
    const ending = asRunning(copy, "--initial-cluster-token=other");
    await refused(
      ending,
      1,
      /belongs to member .* name another directory, or start with the flags/,
    );
  });

  test("a data directory of a newer format", async () => {
    const copy = join(folder, "newer");
    cpSync(memberDir, copy, { recursive: true });
    writeFileSync(join(copy, "member/format"), "keelson data format 2\n");
    await refused(asRunning(copy), 1, /data format 2, .* start the version that wrote it/);
  });

  test("a data directory that cannot be made", async () => {
    const file = join(folder, "file");
    writeFileSync(file, "");
    const ending = serve(join(file, "data"), { client: 0, peer: 0 });
    await refused(ending, 1, /ENOTDIR.*file\/data/);
  });

  test("a port in use, on each listener", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const address = taken.address();
    const port = address !== null && typeof address === "object" ? address.port : 0;
    const { peer } = running.member("m0");
    await refused(
      serve(join(folder, "peer"), { client: 0, peer }),
      1,
      /--listen-peer-urls.*in use; stop the other process or choose another port/,
    );
    await refused(
      serve(join(folder, "client"), { client: port, peer: 0 }),
      1,
      /--listen-client-urls.*in use; stop the other process or choose another port/,
    );
    const metrics = `--listen-metrics-urls=http://127.0.0.1:${port}`;
    await refused(
      serve(join(folder, "metrics"), { client: 0, peer: 0 }, metrics),
      1,
      /--listen-metrics-urls.*in use; stop the other process or choose another port/,
    );
    await new Promise((resolve) => taken.close(resolve));
  });
});
