import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { keelsonVersion } from "../../src/base/version.ts";
import { greetingText, usageText, versionText } from "../../src/cli/serve.ts";

test("keelsonVersion is the package's version", () => {
  const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
  expect(keelsonVersion).toBe(version);
});

test("versionText begins with the line that launchers of etcd parse", () => {
  const text = versionText({ version: "v20.20.2", platform: "linux", arch: "x64" });
  expect(text).toBe(
    "etcd Version: 3.7.1\nKeelson Version: 0.1.0\nNode Version: v20.20.2\n" +
      "Node OS/Arch: linux/x64\n",
  );
});

test("greetingText names the URLs and three commands with the member's own address", () => {
  const text = greetingText({
    name: "m1",
    dataDir: "data",
    clientUrls: ["http://localhost:2379"],
    peerUrls: ["http://localhost:2380"],
  });
  expect(text.match(/curl -s http:\/\/localhost:2379\//g)).toHaveLength(3);
  for (const part of ["m1", "data", "http://localhost:2380"]) expect(text).toContain(part);
});

test("usageText names every command", () => {
  for (const command of ["serve", "wal verify", "wal dump", "version", "help"]) {
    expect(usageText).toContain(`keelson ${command}`);
  }
});
