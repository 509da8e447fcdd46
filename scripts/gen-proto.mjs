// Generates src/proto from /proto (ts-proto, run by buf) and the descriptor set that the JSON
// gateway and gRPC reflection read. `--check` writes nothing and fails when the committed output
// differs. One rewrite is made: request integers beyond 2^53 saturate instead of throwing, so that
// they take etcd's path (future revision, TTL too large); docs/adr/0003-integers.md.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";

const root = new URL("..", import.meta.url).pathname;
const check = process.argv.includes("--check");
const out = mkdtempSync(join(tmpdir(), "keelson-proto-"));

const throwing =
  /function longToNumber\(int64: \{ toString\(\): string \}\): number \{[\s\S]*?\n\}\n/;
const saturating = `function longToNumber(int64: { toString(): string }): number {
  const value = globalThis.Number(int64);
  return globalThis.Math.min(
    globalThis.Math.max(value, globalThis.Number.MIN_SAFE_INTEGER),
    globalThis.Number.MAX_SAFE_INTEGER,
  );
}
`;

function files(folder) {
  return readdirSync(folder, { recursive: true })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile())
    .map((path) => relative(folder, path))
    .sort();
}

function generate() {
  const buf = join(root, "node_modules/.bin/buf");
  execFileSync(buf, ["generate", "--output", out], { cwd: root, stdio: "inherit" });
  const generated = join(out, "src/proto");
  for (const name of files(generated)) {
    const path = join(generated, name);
    const text = readFileSync(path, "utf8");
    if (text.includes("function longToNumber") && !throwing.test(text)) {
      throw new Error(`gen-proto: ${name}: longToNumber has an unknown shape`);
    }
    writeFileSync(path, text.replace(throwing, saturating));
  }
  const image = execFileSync(buf, ["build", "--exclude-source-info", "-o", "-#format=binpb"], {
    cwd: root,
  });
  const lines = image.toString("base64").match(/.{1,96}/g);
  writeFileSync(
    join(generated, "descriptors.ts"),
    `// The FileDescriptorSet of /proto, base64. Made by scripts/gen-proto.mjs. DO NOT EDIT.\n` +
      `export const fileDescriptorSetBase64 =\n${lines.map((line) => `  "${line}"`).join(" +\n")};\n`,
  );
  return generated;
}

try {
  const generated = generate();
  const committed = join(root, "src/proto");
  if (check) {
    const left = files(generated);
    const right = files(committed);
    const differing = [...new Set([...left, ...right])].filter(
      (name) =>
        !left.includes(name) ||
        !right.includes(name) ||
        readFileSync(join(generated, name), "utf8") !== readFileSync(join(committed, name), "utf8"),
    );
    if (differing.length > 0) {
      console.error(`src/proto is out of date, run npm run gen: ${differing.join(", ")}`);
      process.exitCode = 1;
    }
  } else {
    rmSync(committed, { recursive: true, force: true });
    execFileSync("cp", ["-r", generated, committed]);
  }
} finally {
  rmSync(out, { recursive: true, force: true });
}
