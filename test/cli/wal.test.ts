import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname } from "node:path";
import { afterAll, expect, test } from "vitest";
import { runWal } from "../../src/cli/wal.ts";
import { dumpLog } from "../../src/wal/dump.ts";
import { nodeFiles } from "../../src/wal/node-files.ts";
import { segmentName } from "../../src/wal/segment.ts";
import { verifyLog } from "../../src/wal/verify.ts";
import { cluster, entries, member } from "../contract/log.ts";
import { openOn } from "../wal/settle.ts";

const scratch = mkdtempSync(`${tmpdir()}/keelson-cli-wal-`);
afterAll(() => rmSync(scratch, { recursive: true }));

async function makeMember(name: string): Promise<string> {
  const directory = `${scratch}/${name}`;
  mkdirSync(dirname(directory), { recursive: true });
  const log = await openOn(nodeFiles, { directory });
  await log.append({ hardState: { term: 2, vote: member, commit: 0 }, entries: entries(1, 3, 2) });
  await log.append({ hardState: null, entries: entries(3, 4, 3) });
  await log.close();
  return directory;
}

function run(...args: string[]): { code: number; out: string; error: string } {
  let out = "";
  let error = "";
  const code = runWal(args, { out: (text) => (out += text), error: (text) => (error += text) });
  return { code, out, error };
}

test("wal verify says what is in a whole log, and changes nothing", async () => {
  const directory = await makeMember("whole");
  const segment = `${directory}/wal/${segmentName(2)}`;
  const before = readFileSync(segment);
  expect(run("verify", directory)).toMatchObject({
    code: 0,
    error: "",
    out:
      `member ${member} of cluster ${cluster}, store 00112233445566778899aabbccddeeff, start 1\n` +
      "read 3 batches, 3 pages, 8 records\n" +
      `segments 1, entries 1..4, term 2, vote ${member}, commit 0\n` +
      "whole\n",
  });
  expect(readFileSync(segment)).toEqual(before);
});

test("wal verify names segment and page of damage, and counts a torn tail as none", async () => {
  const directory = await makeMember("damaged");
  const segment = `${directory}/wal/${segmentName(2)}`;
  const bytes = readFileSync(segment);
  const torn = Buffer.from(bytes);
  torn.fill(0, 2 * 4096 + 512, 3 * 4096);
  writeFileSync(segment, torn);
  expect(run("verify", directory)).toMatchObject({
    code: 0,
    out: expect.stringMatching(/entries 1\.\.3,.*\nwhole; 1 pages of a torn last batch, /),
  });
  bytes[4096 + 600] = 0xff;
  writeFileSync(segment, bytes);
  const { code, out } = run("verify", directory);
  expect(code).toBe(1);
  expect(out).toContain(`DAMAGED: ${segmentName(2)}, page 1: sector 1`);
  expect(verifyLog(nodeFiles, directory)).toMatchObject({
    isQuarantined: false,
    counts: { batches: 1 },
    result: { state: "damaged", page: 1 },
  });
});

test("wal takes the data directory as well as the member's directory in it", async () => {
  const directory = await makeMember("data/member");
  for (const command of ["verify", "dump"]) {
    const whole = run(command, directory);
    expect(whole.code).toBe(0);
    expect(run(command, `${scratch}/data`)).toEqual(whole);
  }
});

test("wal dump prints batches and records as text and as JSON, without contents", async () => {
  const directory = await makeMember("dumped");
  const text = run("dump", directory).out;
  expect(text).toMatch(/^identity +cluster=/);
  expect(text).toMatch(/\ntruncate +from=3\nentry +term=3 index=3 kind=normal bytes=8 crc32=\d+\n/);
  const lines = run("dump", directory, "--json").out.trim().split("\n");
  expect(lines.map((line) => (JSON.parse(line) as { type: string }).type).join(" ")).toBe(
    "identity batch checkpoint batch hardState entry entry entry batch truncate entry entry end",
  );
  const taken: string[] = [];
  dumpLog(nodeFiles, directory, (line) => taken.push(JSON.stringify(line)));
  expect(taken).toEqual(lines);
});

test("wal refuses wrong use with 2 and its usage, and a directory without a log with 1", () => {
  for (const args of [
    [],
    ["verify"],
    ["dump"],
    ["mend", "x"],
    ["verify", "x", "y"],
    ["verify", "x", "--json"],
  ]) {
    expect(run(...args)).toMatchObject({
      code: 2,
      out: "",
      error: expect.stringMatching(/^Usage:/),
    });
  }
  expect(run("verify", `${scratch}/nothing`)).toEqual({
    code: 1,
    out: "",
    error: `keelson wal: ${scratch}/nothing holds no data of a Keelson member\n`,
  });
});
