import { describe, expect, test } from "vitest";
import { parseDuration } from "../../src/server/duration.ts";
import type { Environment } from "../../src/server/flag-sources.ts";
import { readFlags } from "../../src/server/flag-sources.ts";
import { flagByName, flagRenames, flagRows, flagsHelp } from "../../src/server/flags.ts";
import { checkFirstStart, serveOptions } from "../../src/server/options.ts";
import { StartError } from "../../src/server/start-error.ts";

const noFile = (path: string): string => {
  throw new Error(`ENOENT: ${path}`);
};

function options(args: readonly string[], variables: Environment = {}, readFile = noFile) {
  return serveOptions(readFlags(args, variables, readFile));
}

/** Exit code and line of a refused start. */
function refusal(args: readonly string[], variables: Environment = {}, readFile = noFile) {
  try {
    checkFirstStart(options(args, variables, readFile));
  } catch (failure) {
    if (failure instanceof StartError) return [failure.exitCode, failure.message];
    throw failure;
  }
  return null;
}

const warnings = (args: readonly string[], variables: Environment = {}) =>
  readFlags(args, variables, noFile).warnings;

describe("readFlags, spelling", () => {
  test("takes both dashes, both forms of a value, and booleans without one", () => {
    for (const args of [
      ["--name", "m1", "--enable-grpc-gateway=false"],
      ["-name=m1", "-enable-grpc-gateway=0"],
    ]) {
      const { name, dataDir, hasGateway } = options(args);
      expect([name, dataDir, hasGateway]).toEqual(["m1", "m1.etcd", false]);
    }
    expect(options(["--enable-grpc-gateway", "--name=b"]).name).toBe("b");
  });

  test("gives etcd's defaults", () => {
    expect(options([])).toMatchObject({
      name: "default",
      dataDir: "default.etcd",
      listenClient: [{ host: "127.0.0.1", port: 2379 }],
      listenPeer: [{ host: "127.0.0.1", port: 2380 }],
      advertiseClientUrls: ["http://localhost:2379"],
      initialCluster: [{ name: "default", peerUrls: ["http://localhost:2380"] }],
      initialClusterToken: "etcd-cluster",
      heartbeatMs: 100,
      electionMs: 1000,
      txnOpsMax: 128,
      requestBytesMax: 1_572_864,
      keepaliveIntervalMs: 7_200_000,
      watchProgressMs: 600_000,
    });
  });

  test("reads lists of URLs and of members", () => {
    const got = options([
      "--listen-client-urls=http://127.0.0.1:1,http://[::1]:2",
      "--advertise-client-urls=http://a.example:1",
      "--initial-cluster=a=http://h:1,b=http://h:2,a=http://h:3",
    ]);
    expect(got.listenClient).toMatchObject([
      { host: "127.0.0.1", port: 1 },
      { host: "::1", port: 2 },
    ]);
    expect(got.initialCluster).toEqual([
      { name: "a", peerUrls: ["http://h:1", "http://h:3"] },
      { name: "b", peerUrls: ["http://h:2"] },
    ]);
  });

  test("takes spellings that etcd dropped, with a warning", () => {
    const args = ["--experimental-watch-progress-notify-interval=5s"];
    expect(options(args).watchProgressMs).toBe(5000);
    expect(warnings(args)).toEqual([
      "--experimental-watch-progress-notify-interval is a spelling that etcd 3.7 dropped; " +
        "use --watch-progress-notify-interval",
    ]);
    for (const name of flagRenames.values()) expect(flagByName.has(name)).toBe(true);
  });

  test("asked for help or the version, looks at nothing else", () => {
    expect(
      readFlags(["--version", "--cert-file=x"], { ETCD_NAME: "" }, noFile).bool("version"),
    ).toBe(true);
    expect(readFlags(["-h"], {}, noFile).bool("help")).toBe(true);
  });
});

describe("readFlags, environment", () => {
  test("takes ETCD_ and KEELSON_ variables", () => {
    const variables = { ETCD_NAME: "m1", KEELSON_ELECTION_TIMEOUT: "2000" };
    expect(options([], variables)).toMatchObject({ name: "m1", electionMs: 2000 });
  });

  test("warns of variables that name no flag", () => {
    const variables = { ETCD_NMAE: "m1", ETCDCTL_API: "3", HOME: "/", ETCD_UNSUPPORTED_ARCH: "x" };
    expect(warnings([], variables)).toEqual(["unrecognized environment variable ETCD_NMAE"]);
  });

  test("refuses a flag and its variable, and two variables of one flag", () => {
    const line = (variable: string) =>
      `conflicting environment variable "${variable}" is shadowed by --name or a second ` +
      `variable; unset one of them`;
    expect(refusal(["--name=a"], { ETCD_NAME: "a" })).toEqual([1, line("ETCD_NAME")]);
    expect(refusal([], { ETCD_NAME: "a", KEELSON_NAME: "a" })).toEqual([1, line("KEELSON_NAME")]);
  });
});

describe("readFlags, configuration file", () => {
  const yaml = `
name: m1
listen-client-urls: http://127.0.0.1:2379
advertise-client-urls: http://127.0.0.1:2379
wal-dir:
heartbeat-interval: 50
watch-progress-notify-interval: 1000000000
log-outputs: [stderr, x.log]
client-transport-security: { cert-file: "", client-cert-auth: false }
`;

  test("reads YAML and JSON, durations in nanoseconds, and ignores all else", () => {
    const flags = readFlags(
      ["--config-file=c.yml", "--name=other"],
      { ETCD_NAME: "x" },
      () => yaml,
    );
    expect(serveOptions(flags)).toMatchObject({
      name: "m1",
      dataDir: "m1.etcd",
      heartbeatMs: 50,
      watchProgressMs: 1000,
      logOutputs: ["stderr", "x.log"],
    });
    expect(flags.warnings).toEqual([
      "a configuration file is given: other flags and variables are ignored",
    ]);
    const json = () => '{"name":"j","enable-grpc-gateway":false}';
    expect(options([], { ETCD_CONFIG_FILE: "c.json" }, json)).toMatchObject({
      name: "j",
      hasGateway: false,
    });
  });

  test("warns of unknown keys", () => {
    const flags = readFlags(["--config-file=c"], {}, () => "nmae: x\nenable-v2: true");
    expect(flags.warnings.slice(1)).toEqual([
      "unrecognized key nmae in c",
      "unrecognized key enable-v2 in c",
    ]);
  });

  for (const [what, content, line] of [
    ["no map", "- a", 'c must hold flag names and values, as "name: m1"'],
    ["a map for a text", "name: {a: 1}", "c: name must be a string"],
    [
      "TLS settings",
      "peer-transport-security: {cert-file: a.pem}",
      "peer-transport-security in c belongs to TLS, which this version does not have; " +
        "leave the block out",
    ],
    [
      "a malformed number",
      "heartbeat-interval: soon",
      'invalid value "soon" for heartbeat-interval in c: expected a whole number',
    ],
  ] as const) {
    test(`refuses a file with ${what}`, () => {
      expect(refusal(["--config-file=c"], {}, () => content)).toEqual([1, line]);
    });
  }

  test("refuses a file that cannot be read or parsed", () => {
    expect(refusal(["--config-file=gone.yml"])).toEqual([
      1,
      "cannot read the configuration file gone.yml: ENOENT: gone.yml",
    ]);
    const [code, line] = refusal(["--config-file=c"], {}, () => "a: [") ?? [];
    expect(code).toBe(1);
    expect(line).toMatch(/^c is neither YAML nor JSON: /);
  });
});

describe("refused starts, by line and exit code", () => {
  const advertise = "--advertise-client-urls=http://h:1";
  for (const [args, code, line] of [
    [["--nmae=x"], 2, "unknown flag --nmae; see keelson serve --help"],
    [["serve"], 1, '"serve" is not a flag; flags are written --name=value'],
    [["--name"], 2, "--name needs a value: --name=<value>"],
    [
      ["--election-timeout=abc"],
      2,
      'invalid value "abc" for --election-timeout: expected a whole number',
    ],
    [
      ["--enable-grpc-gateway=maybe"],
      2,
      'invalid value "maybe" for --enable-grpc-gateway: expected true or false',
    ],
    [
      ["--grpc-keepalive-min-time=5"],
      2,
      'invalid value "5" for --grpc-keepalive-min-time: ' +
        "expected a duration such as 500ms, 10s or 1h30m",
    ],
    [
      ["--listen-peer-urls=://"],
      2,
      'invalid value "://" for --listen-peer-urls: ' +
        '"://" is no URL; expected http://<address>:<port>',
    ],
    [
      ["--listen-peer-urls=ftp://127.0.0.1:1"],
      2,
      'invalid value "ftp://127.0.0.1:1" for --listen-peer-urls: ' +
        '"ftp://127.0.0.1:1" has scheme "ftp"; expected http or https',
    ],
    [
      ["--listen-peer-urls=http://127.0.0.1"],
      2,
      'invalid value "http://127.0.0.1" for --listen-peer-urls: ' +
        '"http://127.0.0.1" must be http://<address>:<port> and nothing more',
    ],
    [
      ["--listen-peer-urls=http://127.0.0.1:70000"],
      2,
      'invalid value "http://127.0.0.1:70000" for --listen-peer-urls: ' +
        '"http://127.0.0.1:70000" has a port above 65535',
    ],
    [
      ["--listen-client-urls=http://store.example:1", advertise],
      1,
      "expected IP in URL for binding (http://store.example:1); " +
        "give --listen-client-urls an IP address or localhost",
    ],
    [
      ["--listen-client-urls=unix://x.sock", advertise],
      1,
      "--listen-client-urls=unix://x.sock belongs to unix sockets, which this version does not " +
        "have; listen on http://<address>:<port>",
    ],
    [
      ["--listen-peer-urls=https://127.0.0.1:1"],
      1,
      "--listen-peer-urls=https://127.0.0.1:1 belongs to TLS, which this version does not have; " +
        "listen on http://<address>:<port>",
    ],
    [
      ["--listen-client-urls=http://127.0.0.1:1"],
      1,
      "--advertise-client-urls is required when --listen-client-urls is set explicitly; " +
        "give the URLs at which clients reach this member",
    ],
    [["--listen-peer-urls="], 1, "--listen-peer-urls is empty; give one URL"],
    [["--name="], 1, "--name is empty; give this member a name"],
    [
      ["--name=zz", "--initial-cluster=a=http://localhost:2380"],
      1,
      `couldn't find local name "zz" in the initial cluster configuration; ` +
        "add zz=<peer-url> to --initial-cluster or correct --name",
    ],
    [
      ["--initial-cluster=a"],
      1,
      '--initial-cluster is malformed: "a" is not name=url; ' +
        "write name=http://<address>:<port>,…",
    ],
    [
      ["--initial-cluster=a=http://h:1,b=http://h:1"],
      1,
      "--initial-cluster has http://h:1 twice; each member has its own peer URL",
    ],
    [
      ["--initial-advertise-peer-urls=http://127.0.0.1:8"],
      1,
      "--initial-cluster has default=http://localhost:2380 but --initial-advertise-peer-urls is " +
        "http://127.0.0.1:8; make them equal",
    ],
    [
      ["--initial-cluster-state=existing"],
      1,
      "--initial-cluster-state=existing with the empty data directory default.etcd belongs to " +
        "membership changes, which this version does not have; start all members of a new " +
        "cluster with --initial-cluster-state=new",
    ],
    [
      ["--initial-cluster-state=old"],
      1,
      "--initial-cluster-state=old is unknown; give new or existing",
    ],
    [
      ["--election-timeout=400"],
      1,
      "--election-timeout[400ms] should be at least as 5 times as --heartbeat-interval[100ms]; " +
        "raise the first or lower the second",
    ],
    // What no frame between members can carry.
    [
      ["--max-request-bytes=10485761"],
      1,
      "--max-request-bytes=10485761 is out of range; give 1 to 10485760",
    ],
    [["--election-timeout=50001"], 1, "--election-timeout=50001 is out of range; give 5 to 50000"],
    [["--log-level=loud"], 1, /^--log-level=loud is unknown; give debug or info or/],
    [["--log-format=console"], 1, "--log-format=console is unknown; give json"],
    [
      ["--watch-progress-notify-interval=-1s"],
      1,
      "--watch-progress-notify-interval=-1s is too short; give 100ms or more",
    ],
  ] as const) {
    test(args.join(" ") || "no flags", () => {
      const [gotCode, gotLine] = refusal(args) ?? [];
      expect(gotCode).toBe(code);
      if (typeof line === "string") expect(gotLine).toBe(line);
      else expect(gotLine).toMatch(line);
    });
  }
});

describe("flags of features to come", () => {
  const rows = flagRows.filter((row) => row.use.kind === "feature");

  for (const { name, type, fallback, use } of rows) {
    const other = { bool: fallback === "true" ? "false" : "true", int: "77", duration: "77s" };
    const value = type in other ? other[type as keyof typeof other] : "something";
    test(`--${name} starts with its default only`, () => {
      expect(refusal([`--${name}=${fallback}`])).toBeNull();
      const feature = use.kind === "feature" ? use.feature : "";
      const [code, line] = refusal([`--${name}=${value}`]) ?? [];
      expect(code).toBe(1);
      expect(line).toContain(`--${name}=${value} belongs to ${feature}, which this version`);
      expect(line).toContain(`leave it out${fallback === "" ? "" : ` or give its default`}`);
    });
  }

  test("take their default in another spelling", () => {
    expect(refusal(["--compact-hash-check-time=60s", "--pre-vote=1"])).toBeNull();
  });
});

test("flagRows are unique, with defaults that their types accept, and all in the help", () => {
  expect(flagByName.size).toBe(flagRows.length);
  const help = flagsHelp();
  for (const { name, fallback } of flagRows) {
    expect(help).toContain(`--${name}`);
    expect(() => readFlags([`--${name}=${fallback}`], {}, () => "")).not.toThrow();
  }
});

describe("parseDuration", () => {
  for (const [text, ms] of [
    ["0", 0],
    ["100ms", 100],
    ["1h30m", 5_400_000],
    ["1.5s", 1500],
    ["-2m", -120_000],
    ["10us", 0.01],
    ["1000000ns", 1],
    ["5", undefined],
    ["", undefined],
    ["s", undefined],
    ["5 s", undefined],
    ["5d", undefined],
  ] as const) {
    test(`reads "${text}" as ${ms}`, () => {
      expect(parseDuration(text)).toBe(ms);
    });
  }
});
