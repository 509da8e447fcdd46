// Transcripts: commands and what they answer, in test/testdata/<folder>/*.txt. One test per file;
// each file starts from a fresh state. UPDATE=1 rewrites what is expected; the diff is reviewed.
//
//   # a comment
//   command arguments
//   more input of the same command
//   ----
//   what it answers, to the next empty line
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";

/** Answers one command; no empty lines in the answer. */
export type TranscriptRun = (
  command: string,
  args: string[],
  more: string[],
) => string | Promise<string>;

const update = process.env["UPDATE"] === "1";

/** Defines the tests of a folder; `start` makes the state of one file. */
export function testTranscripts(
  folder: string,
  start: () => TranscriptRun | Promise<TranscriptRun>,
): void {
  const directory = new URL(`./testdata/${folder}/`, import.meta.url);
  for (const name of readdirSync(directory).sort()) {
    if (!name.endsWith(".txt")) continue;
    test(`${folder}/${name}`, async () => {
      const path = new URL(name, directory);
      const text = readFileSync(path, "utf8");
      const answered = await rewritten(text, await start());
      if (update && answered !== text) writeFileSync(path, answered);
      else expect(answered).toBe(text);
    });
  }
}

async function rewritten(text: string, run: TranscriptRun): Promise<string> {
  const blocks: string[] = [];
  for (const block of text.trim().split(/\n\n+/)) {
    const lines = block.split("\n");
    const comments = lines.filter((line) => line.startsWith("#"));
    const rest = lines.filter((line) => !line.startsWith("#"));
    const end = rest.indexOf("----");
    const input = end < 0 ? rest : rest.slice(0, end);
    if (input.length === 0) {
      blocks.push(comments.join("\n"));
      continue;
    }
    const [first = "", ...more] = input;
    const [command = "", ...args] = first.split(/\s+/);
    const answer = (await run(command, args, more)).trimEnd();
    blocks.push([...comments, ...input, "----", ...(answer === "" ? [] : [answer])].join("\n"));
  }
  return `${blocks.join("\n\n")}\n`;
}
