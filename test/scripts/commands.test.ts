// The commands that people are told to run: each one that a document, a script or a comment names
// must be there, so that nobody copies a line that fails.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

const { scripts } = JSON.parse(readFileSync("package.json", "utf8")) as {
  scripts: Readonly<Record<string, string>>;
};

/** What `npm run` is followed by, and npm's own short forms. */
function commandsIn(text: string): string[] {
  const run = [...text.matchAll(/\bnpm run (?:--silent )?([a-z-]+(?::[a-z-]+)*)/g)];
  const short = [...text.matchAll(/\bnpm (start|test)\b/g)];
  return [...run, ...short].map((match) => match[1] ?? "");
}

function missingIn(text: string): string[] {
  return commandsIn(text).filter((name) => !Object.hasOwn(scripts, name));
}

describe("commands", () => {
  test("every npm command that is named anywhere exists", () => {
    const listed = execFileSync("git", ["grep", "-lIE", "npm (run|start|test)"], {
      encoding: "utf8",
    });
    const paths = listed
      .split("\n")
      .filter((path) => path !== "" && !path.includes("commands.test"));
    for (const path of ["README.md", "CONTRIBUTING.md", ".ci/run", "package.json"]) {
      expect(paths).toContain(path);
    }
    const wrong = paths.flatMap((path) =>
      missingIn(readFileSync(path, "utf8")).map((name) => `${path}: npm run ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  test("finds a planted command that does not exist", () => {
    expect(missingIn("`npm run bench`, `npm run --silent benhc`, `npm start`, npm test")).toEqual([
      "benhc",
    ]);
  });

  test("every script of ours that a command starts is there", () => {
    const files = Object.values(scripts).flatMap((command) =>
      [...command.matchAll(/\bscripts\/\S+/g)].map(([path]) => path),
    );
    expect(files.length).toBeGreaterThan(0);
    for (const path of files) expect(readFileSync(path, "utf8"), path).not.toBe("");
  });
});
