// Where flag values come from: the command line, the environment, or a configuration file. As etcd: a flag and its variable both set is fatal; a configuration file makes
// flags and variables be ignored; an unknown variable or file key only warns; a spelling that
// etcd 3.7 dropped warns and counts as the new one. What values mean together is in options.ts.
import { assert } from "../base/assert.ts";
import { parseDuration } from "./duration.ts";
import { readConfigFile } from "./config-file.ts";
import type { Given } from "./flag-syntax.ts";
import { featureError, isFallback, parseBool, rowFor, syntaxFault } from "./flag-syntax.ts";
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

/** Joins what one source gave, refusing features to come and a flag given under two spellings. */
function collect(given: readonly Given[]): Map<string, string> {
  const values = new Map<string, string>();
  for (const { row, text } of given) {
    if (row.use.kind === "feature" && !isFallback(row, text)) {
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
    const values = collect(readConfigFile(path, content, fileWarnings));
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
