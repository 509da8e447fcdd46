// What a flag's text must look like, by type, whatever its source; and how its row is found, also
// under a spelling that etcd 3.7 dropped.
import { parseDuration } from "./duration.ts";
import type { FlagRow, FlagType } from "./flags.ts";
import { flagByName, flagRenames } from "./flags.ts";
import { StartError } from "./start-error.ts";

/** A flag that one source gave. */
export interface Given {
  readonly row: FlagRow;
  readonly text: string;
}

/** The row for a spelling, noting a dropped one. */
export function rowFor(name: string, warnings: string[], source: string): FlagRow | undefined {
  const renamed = flagRenames.get(name);
  if (renamed !== undefined) {
    warnings.push(`${source} is a spelling that etcd 3.7 dropped; use --${renamed}`);
  }
  return flagByName.get(renamed ?? name);
}

export function parseBool(text: string): boolean | undefined {
  if (["1", "t", "T", "TRUE", "true", "True"].includes(text)) return true;
  if (["0", "f", "F", "FALSE", "false", "False"].includes(text)) return false;
  return undefined;
}

/** Why `text` is no value of this type; undefined when it is one. */
export function syntaxFault(type: FlagType, text: string): string | undefined {
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

/** Whether `text` means the default: "60s" is "1m". */
export function isFallback(row: FlagRow, text: string): boolean {
  if (text === row.fallback) return true;
  if (row.type === "bool") return parseBool(text) === parseBool(row.fallback);
  if (row.type === "int") return Number(text) === Number(row.fallback);
  if (row.type === "duration") return parseDuration(text) === parseDuration(row.fallback);
  return false;
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

export function featureError(what: string, feature: string, remedy: string): StartError {
  return new StartError(
    `${what} belongs to ${feature}, which this version does not have; ${remedy}`,
  );
}
