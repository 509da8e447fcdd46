// The house rules that no linter knows: which room may import which, where each third-party
// package lives, file heads, sizes, names, twins. Every rule is a function over text, so that a
// planted violation proves that it bites.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";
import { errorTable } from "../src/base/errors.ts";

interface SourceFile {
  readonly path: string;
  readonly text: string;
}

const roomImports: Readonly<Record<string, readonly string[]>> = {
  base: [],
  proto: [],
  raft: ["base"],
  wal: ["base", "raft"],
  store: ["base"],
  state: ["base", "proto", "store"],
  peer: ["base", "proto", "raft"],
  server: ["base", "proto", "raft", "wal", "store", "state", "peer"],
  api: ["base", "proto", "server", "state"],
  http2: ["base"],
  grpc: ["base", "proto", "api", "http2"],
  http: ["base", "proto", "api"],
  dns: ["base", "proto", "api"],
  client: ["base", "proto"],
  cli: ["base", "proto", "client", "wal", "store"],
  sidecar: ["base", "proto", "client"],
  console: [],
};

/** Rooms from which only types may be taken. */
const typesOnly: readonly (readonly [from: string, to: string])[] = [
  ["state", "store"],
  ["api", "state"],
];

const packageHomes: Readonly<Record<string, readonly string[]>> = {
  level: ["src/store/"],
  "@grpc/grpc-js": ["src/client/"],
  fastify: ["src/http/"],
  pino: ["src/main.ts"],
  "prom-client": ["src/server/metrics.ts"],
  yaml: ["src/server/flags.ts", "src/server/config-file.ts"],
  "@bufbuild/protobuf": ["src/proto/", "src/http/", "src/grpc/"],
};

const lineCountMax = 450;
/** Files allowed up to 600 lines, each with its reason. */
const longFiles: Readonly<Record<string, string>> = {};

const bannedFileNames = /(^|\/)(index|utils?|helpers?|common|types|manager|misc)\.ts$/;
const bannedIdentifiers =
  /\b(?:class|function|const|let|interface|type)\s+(\w*(?:[Mm]anager|[Hh]elper|[Uu]tils?|[Mm]aster|[Ss]lave)\w*)\b/;
/** Bare names that say nothing (house section 10, "naming mush"). */
const mushyNames = /\b(?:const|let|function)\s+(data|info|handle|manager|helper|process|doStuff)\b/;

function listFiles(pattern: string): SourceFile[] {
  const listed = execFileSync("git", ["ls-files", "-co", "--exclude-standard", pattern], {
    encoding: "utf8",
  });
  return listed
    .split("\n")
    .filter((path) => path !== "" && existsSync(path))
    .map((path) => ({ path, text: readFileSync(path, "utf8") }));
}

interface Import {
  readonly target: string;
  readonly isType: boolean;
}

function importsOf(text: string): Import[] {
  const found: Import[] = [];
  const statement = /^\s*(?:import|export)\s+(type\s+)?(?:[\w*{}\s,$]+?\s+from\s+)?"([^"]+)"/gm;
  for (const match of text.matchAll(statement)) {
    found.push({ target: match[2] ?? "", isType: match[1] !== undefined });
  }
  for (const match of text.matchAll(/\bimport\(\s*"([^"]+)"\s*\)/g)) {
    found.push({ target: match[1] ?? "", isType: false });
  }
  return found;
}

function roomOf(path: string): string {
  const parts = path.split("/");
  return parts.length > 2 ? (parts[1] ?? "") : "main.ts";
}

function importViolations({ path, text }: SourceFile): string[] {
  const room = roomOf(path);
  const wrong: string[] = [];
  for (const { target, isType } of importsOf(text)) {
    if (!target.startsWith(".")) {
      const name = target.startsWith("@") ? target.split("/", 2).join("/") : target.split("/")[0];
      const homes = packageHomes[name ?? ""];
      if (target.startsWith("node:")) {
        if (["base", "raft", "state"].includes(room)) wrong.push(`${path}: ${target}`);
      } else if (homes === undefined || !homes.some((home) => path.startsWith(home))) {
        wrong.push(`${path}: package ${target} has no home here`);
      }
      continue;
    }
    if (room === "main.ts") continue;
    const other = roomOf(normalize(join(dirname(path), target)));
    if (other === room) continue;
    if (!(roomImports[room] ?? []).includes(other)) {
      wrong.push(`${path}: ${room} may not import ${other}`);
    } else if (!isType && typesOnly.some(([from, to]) => from === room && to === other)) {
      wrong.push(`${path}: ${room} may import only types from ${other}`);
    }
  }
  return wrong;
}

function headViolations({ path, text }: SourceFile): string[] {
  const lines = text.split("\n");
  const start = lines[0]?.startsWith("#!") ? 1 : 0;
  let count = 0;
  while (lines[start + count]?.startsWith("//")) count++;
  return count >= 1 && count <= 40 ? [] : [`${path}: has no file head comment`];
}

function sizeViolations({ path, text }: SourceFile): string[] {
  const count = text.split("\n").length - 1;
  const max = longFiles[path] === undefined ? lineCountMax : 600;
  return count <= max ? [] : [`${path}: ${count} lines, ${max} allowed`];
}

function nameViolations({ path, text }: SourceFile): string[] {
  const wrong: string[] = [];
  if (bannedFileNames.test(path)) wrong.push(`${path}: the file name says nothing`);
  if (!/^[a-z0-9/.-]+$/.test(path)) wrong.push(`${path}: file names are kebab-case`);
  for (const line of text.split("\n")) {
    const code = line.replace(/\/\/.*$/, "");
    const banned = bannedIdentifiers.exec(code) ?? mushyNames.exec(code);
    if (banned !== null) wrong.push(`${path}: name ${banned[1]}`);
    if (/\b(TODO|FIXME|XXX)\b/.test(line) && !/TODO #\d+/.test(line)) {
      wrong.push(`${path}: ${line.trim()} names no issue`);
    }
    if (/\bas unknown as\b|\bas any\b|@ts-ignore|@ts-expect-error/.test(code)) {
      wrong.push(`${path}: ${line.trim()}`);
    }
  }
  return wrong;
}

function purityViolations({ path, text }: SourceFile): string[] {
  if (!["raft", "state"].includes(roomOf(path))) return [];
  return text
    .split("\n")
    .map((line) => line.replace(/\/\/.*$|^\s*\*.*$|\/\*\*.*$/, ""))
    .filter((line) => /\basync\b|\bawait\b|\bDate\b|\bMath\.random\b|\bPromise\b/.test(line))
    .map((line) => `${path}: ${line.trim()}`);
}

/** A file has logic when it exports a function or class; its twin may cover a named group. */
function twinViolations(source: SourceFile, tests: readonly SourceFile[]): string[] {
  if (!/^export (?:async )?(?:function|class) /m.test(source.text)) return [];
  const stem = (/([^/]+)\.ts$/.exec(source.path) ?? [])[1] ?? "";
  const named = new RegExp(`/${stem}\\.ts"`);
  return tests.some(({ text }) => named.test(text)) ? [] : [`${source.path}: no test imports it`];
}

const sources = listFiles("src/*.ts").filter(({ path }) => !path.startsWith("src/proto/"));
const tests = listFiles("test/*.ts");

describe("tidy", () => {
  test("imports keep to the import table", () => {
    expect(sources.flatMap(importViolations)).toEqual([]);
  });

  test("imports rule finds a planted wrong edge, package and kind", () => {
    const planted = (path: string, text: string) => importViolations({ path, text });
    expect(planted("src/raft/x.ts", 'import { a } from "../server/node.ts";\n')).toHaveLength(1);
    expect(planted("src/raft/x.ts", 'import { readFileSync } from "node:fs";\n')).toHaveLength(1);
    expect(planted("src/api/x.ts", 'import fastify from "fastify";\n')).toHaveLength(1);
    expect(planted("src/state/x.ts", 'import { a } from "../store/x.ts";\n')).toHaveLength(1);
    expect(planted("src/state/x.ts", 'import type { A } from "../store/x.ts";\n')).toEqual([]);
    expect(planted("src/wal/x.ts", 'import {\n  a,\n  b,\n} from "../peer/x.ts";\n')).toHaveLength(
      1,
    );
  });

  test("every source file begins with its head comment", () => {
    expect(sources.flatMap(headViolations)).toEqual([]);
    expect(headViolations({ path: "x", text: "import a;\n" })).toHaveLength(1);
  });

  test("files stay below the size limit", () => {
    expect(sources.flatMap(sizeViolations)).toEqual([]);
    expect(sizeViolations({ path: "x", text: "\n".repeat(451) })).toHaveLength(1);
  });

  test("names say what a thing is, and nothing is left unfinished", () => {
    expect(
      [...sources, ...tests]
        .filter(({ path }) => path !== "test/tidy.test.ts")
        .flatMap(nameViolations),
    ).toEqual([]);
    expect(nameViolations({ path: "src/utils.ts", text: "const data = 1;\n" })).toHaveLength(2);
  });

  test("raft and state know no promise, no clock and no chance", () => {
    expect(sources.flatMap(purityViolations)).toEqual([]);
    expect(purityViolations({ path: "src/raft/x.ts", text: "const a = Date.now();" })).toHaveLength(
      1,
    );
  });

  test("every file with logic is imported by a test", () => {
    const exempt = ["src/main.ts"];
    expect(
      sources
        .filter(({ path }) => !exempt.includes(path))
        .flatMap((source) => twinViolations(source, tests)),
    ).toEqual([]);
  });

  test("ARCHITECTURE.md names every room, and only rooms that exist", () => {
    const text = readFileSync("docs/ARCHITECTURE.md", "utf8");
    const rooms = new Set(
      sources.map(({ path }) => roomOf(path)).filter((room) => room !== "main.ts"),
    );
    for (const room of rooms) expect(text, `room ${room}`).toContain(`\`${room}/\``);
    for (const match of text.matchAll(/`src\/([\w/.-]+)`/g)) {
      expect(existsSync(join("src", match[1] ?? "")), `src/${match[1]}`).toBe(true);
    }
  });

  test("guarantees.md names the tests behind its clauses, and they exist", () => {
    const clauses = readFileSync("docs/guarantees.md", "utf8").split(/^## /m).slice(1);
    expect(clauses).toHaveLength(14);
    for (const clause of clauses) {
      const named = [...clause.matchAll(/`(test\/[\w/.-]+\.ts)`/g)].map(([, path]) => path ?? "");
      for (const path of named) expect(existsSync(path), path).toBe(true);
      expect(named.length > 0 || clause.includes("Not yet"), clause.split("\n")[0]).toBe(true);
    }
  });

  test("errors: every code has a text of its own", () => {
    const texts = Object.values(errorTable).map(({ text }) => text);
    expect(new Set(texts).size).toBe(texts.length);
  });
});
