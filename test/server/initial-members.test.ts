import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readFlags } from "../../src/server/flag-sources.ts";
import {
  chooseInitialMembers,
  readInitialMembers,
  writeInitialMembers,
} from "../../src/server/initial-members.ts";
import { serveOptions } from "../../src/server/options.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "keelson-initial-"));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

const options = (...args: string[]) => serveOptions(readFlags(args, {}, () => ""));
const saved = {
  name: "a",
  token: "t",
  members: [{ name: "a", peerUrls: ["http://localhost:2380"] }],
};

describe("chooseInitialMembers", () => {
  test("takes the flags at the first start, after checking them", () => {
    expect(chooseInitialMembers(options(), directory).name).toBe("default");
    expect(() =>
      chooseInitialMembers(options("--initial-cluster=a=http://h:1"), directory),
    ).toThrow(`couldn't find local name "default"`);
  });

  test("takes what was written when the flags say nothing", () => {
    writeInitialMembers(directory, saved);
    expect(chooseInitialMembers(options("--name=other"), directory)).toEqual(saved);
  });

  test("takes the flags when they say something, for the log's identity to judge", () => {
    writeInitialMembers(directory, saved);
    const args = ["--name=a", "--initial-cluster-token=u", "--initial-cluster=a=http://h:1"];
    const chosen = chooseInitialMembers(
      options(...args, "--initial-cluster-state=existing"),
      directory,
    );
    expect(chosen).toEqual({
      name: "a",
      token: "u",
      members: [{ name: "a", peerUrls: ["http://h:1"] }],
    });
    expect(() =>
      chooseInitialMembers(options("--initial-cluster=b=http://h:1"), directory),
    ).toThrow("leave --initial-cluster out");
  });
});

describe("readInitialMembers", () => {
  test("reads what was written, and nothing where nothing is", () => {
    expect(readInitialMembers(directory)).toBeUndefined();
    writeInitialMembers(directory, saved);
    expect(readInitialMembers(directory)).toMatchObject(saved);
    expect(readFileSync(join(directory, "initial-cluster"), "utf8")).toBe(
      '{"format":1,"name":"a","token":"t","members":[{"name":"a",' +
        '"peerUrls":["http://localhost:2380"]}]}\n',
    );
  });

  for (const text of ["", "{", "[]", '{"format":2}', '{"format":1,"name":"a","token":"t"}']) {
    test(`refuses ${text || "an empty file"}`, () => {
      writeFileSync(join(directory, "initial-cluster"), text);
      expect(() => readInitialMembers(directory)).toThrow("is damaged or newer");
    });
  }
});
