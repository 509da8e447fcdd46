// Where flag values come from: the command line, the environment, or a configuration file; and
// their syntax. As etcd: a flag and its variable both set is fatal; a configuration file makes
// flags and variables be ignored; an unknown variable or file key only warns; a spelling that
// etcd 3.7 dropped warns and counts as the new one. What values mean together is in options.ts.
import { parse as parseYaml } from "yaml";
import { assert } from "../base/assert.ts";
import { parseDuration } from "./duration.ts";
import type { FlagRow, FlagType } from "./flags.ts";
import { flagByName, flagRenames, flagRows, flagVariable } from "./flags.ts";
import { StartError } from "./start-error.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Values by flag, as text that its row's type has accepted. */
export class FlagSet {
  readonly #given: ReadonlyMap<string, string>;
  readonly warnings: readonly string[];

  constructor(given: ReadonlyMap<string, string>, warnings: readonly string[]) {
    this.#given = given;
    this.warnings = warnings;
  }

  isGiven(name: string): boolean {
    return this.#given.has(name);
  }

  text(name: string): string {
    const row = flagByName.get(name);
    assert(row !== undefined, `no flag named ${name}`);
    return this.#given.get(name) ?? row.fallback;
  }

  bool(name: string): boolean {
    return parseBool(this.text(name)) === true;
  }

  int(name: string): number {
    return Number(this.text(name));
  }

  durationMs(name: string): number {
    const value = parseDuration(this.text(name));
    assert(value !== undefined, `--${name} holds an unchecked duration`);
    return value;
  }

  /** Comma-separated parts; none for the empty text. */
  list(name: string): string[] {
    const text = this.text(name);
    return text === "" ? [] : text.split(",").map((part) => part.trim());
  }
}

function parseBool(text: string): boolean | undefined {
  if (["1", "t", "T", "TRUE", "true", "True"].includes(text)) return true;
  if (["0", "f", "F", "FALSE", "false", "False"].includes(text)) return false;
  return undefined;
}

/** Why `text` is no value of this type; undefined when it is one. */
function syntaxFault(type: FlagType, text: string): string | undefined {
  switch (type) {
    case "bool":
      return parseBool(text) === undefined ? "expected true or false" : undefined;
    case "int":
      return /^-?\d+$/.test(text) && Number.isSafeInteger(Number(text))
        ? undefined
        : "expected a whole number";
    case "duration":
      return parseDuration(text) === undefined
        ? "expected a duration such as 500ms, 10s or 1h30m"
        : undefined;
    case "urls":
      for (const url of text === "" ? [] : text.split(",")) {
        const fault = urlFault(url.trim());
        if (fault !== undefined) return fault;
      }
      return undefined;
    case "string":
    case "list":
      return undefined;
  }
}

/** Why `text` is no URL for a listener or an advertisement, as etcd's rules go. */
export function urlFault(text: string): string | undefined {
  const match = /^([a-z]+):\/\/(.*)$/.exec(text);
  if (match === null) return `"${text}" is no URL; expected http://<address>:<port>`;
  const [, scheme, rest] = match;
  if (scheme === "unix" || scheme === "unixs") return undefined;
  if (scheme !== "http" && scheme !== "https") {
    return `"${text}" has scheme "${scheme}"; expected http or https`;
  }
  if (rest === undefined || !/^(\[[0-9a-fA-F:.%]+\]|[^:/?#@[\]\s]+):\d{1,5}$/.test(rest)) {
    return `"${text}" must be ${scheme}://<address>:<port> and nothing more`;
  }
  if (Number(rest.slice(rest.lastIndexOf(":") + 1)) > 65_535) {
    return `"${text}" has a port above 65535`;
  }
  return undefined;
}

interface Given {
  readonly row: FlagRow;
  readonly text: string;
}

/** The row for a spelling, noting a dropped one. */
function rowFor(name: string, warnings: string[], source: string): FlagRow | undefined {
  const renamed = flagRenames.get(name);
  if (renamed !== undefined) {
    warnings.push(`${source} is a spelling that etcd 3.7 dropped; use --${renamed}`);
  }
  return flagByName.get(renamed ?? name);
}

function commandLine(args: readonly string[], warnings: string[]): Given[] {
  const given: Given[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? "";
    const match = /^--?([^-=][^=]*)(?:=([\s\S]*))?$/.exec(arg);
    if (match === null) {
      throw new StartError(`"${arg}" is not a flag; flags are written --name=value`, 1);
    }
    const name = match[1] === "h" ? "help" : (match[1] ?? "");
    const row = rowFor(name, warnings, `--${name}`);
    if (row === undefined) {
      throw new StartError(`unknown flag --${name}; see keelson serve --help`, 2);
    }
    let text = match[2];
    if (text === undefined && row.type === "bool") text = "true";
    if (text === undefined) {
      i++;
      text = args[i];
      if (text === undefined) throw new StartError(`--${name} needs a value: --${name}=<value>`, 2);
    }
    const fault = syntaxFault(row.type, text);
    if (fault !== undefined) {
      throw new StartError(`invalid value "${text}" for --${name}: ${fault}`, 2);
    }
    given.push({ row, text });
  }
  return given;
}

function environment(variables: Environment, warnings: string[]): (Given & { variable: string })[] {
  const names = new Map<string, string>();
  for (const name of [...flagRows.map((row) => row.name), ...flagRenames.keys()]) {
    names.set(flagVariable("ETCD", name), name);
    names.set(flagVariable("KEELSON", name), name);
  }
  const given: (Given & { variable: string })[] = [];
  for (const [variable, text] of Object.entries(variables)) {
    if (!/^(ETCD|KEELSON)_/.test(variable) || text === undefined || text === "") continue;
    // Read by etcd itself on machines it does not support, so it stands in many unit files.
    if (variable === "ETCD_UNSUPPORTED_ARCH") continue;
    const name = names.get(variable);
    const row = name === undefined ? undefined : rowFor(name, warnings, variable);
    if (row === undefined) {
      warnings.push(`unrecognized environment variable ${variable}`);
      continue;
    }
    const fault = syntaxFault(row.type, text);
    if (fault !== undefined)
      throw new StartError(`invalid value "${text}" for ${variable}: ${fault}`);
    given.push({ row, text, variable });
  }
  return given;
}

const securityBlocks = ["client-transport-security", "peer-transport-security"];

/** Text of one file value; null and absent alike are "not set". */
function fileText(row: FlagRow, value: unknown, path: string): string | undefined {
  if (value === null || value === undefined) return undefined;
  if (Array.isArray(value)) return value.map(String).join(",");
  if (typeof value === "number" && row.type === "duration") return `${value}ns`;
  if (["string", "number", "boolean"].includes(typeof value)) return String(value);
  throw new StartError(`${path}: ${row.name} must be a ${row.type}`);
}

function configFile(path: string, content: string, warnings: string[]): Given[] {
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
      const isSet = Object.values(value ?? {}).some((part) => part && String(part) !== "");
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

export function featureError(what: string, feature: string, remedy: string): StartError {
  return new StartError(
    `${what} belongs to ${feature}, which this version does not have; ${remedy}`,
  );
}

function sameValue(row: FlagRow, text: string): boolean {
  if (text === row.fallback) return true;
  if (row.type === "bool") return parseBool(text) === parseBool(row.fallback);
  if (row.type === "int") return Number(text) === Number(row.fallback);
  if (row.type === "duration") return parseDuration(text) === parseDuration(row.fallback);
  return false;
}

/** Joins what one source gave, refusing features to come and a flag given under two spellings. */
function collect(given: readonly Given[]): Map<string, string> {
  const values = new Map<string, string>();
  for (const { row, text } of given) {
    if (row.use.kind === "feature" && !sameValue(row, text)) {
      const fallback = row.fallback === "" ? "" : ` or give its default ${row.fallback}`;
      throw featureError(`--${row.name}=${text}`, row.use.feature, `leave it out${fallback}`);
    }
    values.set(row.name, text);
  }
  return values;
}

/** Reads every source. `readFile` throws what the file system says. */
export function readFlags(
  args: readonly string[],
  variables: Environment,
  readFile: (path: string) => string,
): FlagSet {
  const warnings: string[] = [];
  const flags = commandLine(args, warnings);
  const lastFlag = (name: string) => flags.findLast((one) => one.row.name === name)?.text;
  // Asked for help, nothing else matters, however broken.
  if (lastFlag("help") === "true" || lastFlag("version") === "true") {
    return new FlagSet(new Map(flags.map(({ row, text }) => [row.name, text])), []);
  }
  const path =
    lastFlag("config-file") ??
    variables[flagVariable("ETCD", "config-file")] ??
    variables[flagVariable("KEELSON", "config-file")];
  if (path !== undefined && path !== "") {
    let content: string;
    try {
      content = readFile(path);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new StartError(`cannot read the configuration file ${path}: ${reason}`);
    }
    const fileWarnings = ["a configuration file is given: other flags and variables are ignored"];
    const values = collect(configFile(path, content, fileWarnings));
    return new FlagSet(values, fileWarnings);
  }
  const given: Given[] = [...flags];
  for (const one of environment(variables, warnings)) {
    const other = given.find(({ row }) => row === one.row);
    if (other !== undefined) {
      throw new StartError(
        `conflicting environment variable "${one.variable}" is shadowed by ` +
          `--${one.row.name} or a second variable; unset one of them`,
      );
    }
    given.push(one);
  }
  return new FlagSet(collect(given), warnings);
}
