// LevelDB directories for tests: made fresh, and damaged byte by byte.
import { mkdtemp, readFile, readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export function freshDirectory(): Promise<string> {
  return mkdtemp(join(tmpdir(), "keelson-store-"));
}

/** Files of LevelDB whose names match, largest last. */
export async function filesOf(directory: string, pattern: RegExp): Promise<string[]> {
  const names = (await readdir(directory)).filter((name) => pattern.test(name));
  const sized = await Promise.all(
    names.map(async (name) => {
      const path = join(directory, name);
      return { path, size: (await readFile(path)).length };
    }),
  );
  return sized.toSorted((left, right) => left.size - right.size).map(({ path }) => path);
}

/** Flips one bit at a place given as a fraction of the file. */
export async function flipBit(path: string, fraction: number): Promise<void> {
  const content = await readFile(path);
  const at = Math.min(content.length - 1, Math.floor(content.length * fraction));
  content[at] = (content[at] as number) ^ 0x10;
  await writeFile(path, content);
}
