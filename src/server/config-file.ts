// The file of --config-file: YAML or JSON, keys are flag names (as etcd). Durations are integer
// nanoseconds there, TLS lives in two nested blocks, unknown keys only warn.
import { parse as parseYaml } from "yaml";
import type { FlagRow } from "./flags.ts";
import type { Given } from "./flag-syntax.ts";
import { featureError, rowFor, syntaxFault } from "./flag-syntax.ts";
import { StartError } from "./start-error.ts";

const securityBlocks = ["client-transport-security", "peer-transport-security"];

/** Text of one file value; null and absent alike are "not set". */
function fileText(row: FlagRow, value: unknown, path: string): string | undefined {
  if (value === null || value === undefined) return undefined;
  if (Array.isArray(value)) return value.map(String).join(",");
  if (typeof value === "number" && row.type === "duration") return `${value}ns`;
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  throw new StartError(`${path}: ${row.name} must be a ${row.type}`);
}

/** What the file gives; `warnings` gets what it says in vain. */
export function readConfigFile(path: string, content: string, warnings: string[]): Given[] {
  let parsed: unknown;
  try {
    parsed = parseYaml(content);
  } catch (cause) {
    const [line] = String(cause instanceof Error ? cause.message : cause).split("\n");
    throw new StartError(`${path} is neither YAML nor JSON: ${line}`);
  }
  if (parsed === null || parsed === undefined) return [];
  if (typeof parsed !== "object" || Array.isArray(parsed)) {
    throw new StartError(`${path} must hold flag names and values, as "name: m1"`);
  }
  const given: Given[] = [];
  for (const [key, value] of Object.entries(parsed)) {
    if (securityBlocks.includes(key)) {
      const isSet = Object.values(value ?? {}).some(Boolean);
      if (isSet) throw featureError(`${key} in ${path}`, "TLS", "leave the block out");
      continue;
    }
    const row = rowFor(key, warnings, `${key} in ${path}`);
    if (row === undefined) {
      warnings.push(`unrecognized key ${key} in ${path}`);
      continue;
    }
    const text = fileText(row, value, path);
    if (text === undefined) continue;
    const fault = syntaxFault(row.type, text);
    if (fault !== undefined) {
      throw new StartError(`invalid value "${text}" for ${key} in ${path}: ${fault}`);
    }
    given.push({ row, text });
  }
  return given;
}
