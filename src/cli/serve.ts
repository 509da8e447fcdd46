// What the command says to people: its usage, its version as launchers of etcd parse it, and the
// greeting of a member that serves. Texts only; main.ts does the rest.
import { etcdVersion, keelsonVersion } from "../base/version.ts";

export const usageText = `Keelson ${keelsonVersion}: a replicated configuration store that speaks etcd v3

Usage:
  keelson serve [flags]       run a member; keelson serve --help lists the flags
  keelson wal verify <dir>    check the log of a stopped member
  keelson wal dump <dir>      print the log of a stopped member
  keelson version             print the version
  keelson help                print this text
`;

/** Launchers look for the line that starts with "etcd Version: ". */
export function versionText(runtime: { version: string; platform: string; arch: string }): string {
  return (
    `etcd Version: ${etcdVersion}\n` +
    `Keelson Version: ${keelsonVersion}\n` +
    `Node Version: ${runtime.version}\n` +
    `Node OS/Arch: ${runtime.platform}/${runtime.arch}\n`
  );
}

/** Where the member is, and three commands to try. */
export function greetingText(member: {
  name: string;
  dataDir: string;
  clientUrls: readonly string[];
  peerUrls: readonly string[];
}): string {
  const [url = ""] = member.clientUrls;
  return `
Keelson ${keelsonVersion}, member ${member.name}

  clients   ${member.clientUrls.join(", ")}
  peers     ${member.peerUrls.join(", ")}
  data      ${member.dataDir}

Try, in another terminal (keys and values are base64 in JSON):

  curl -s ${url}/v3/kv/put -d '{"key":"Y29sb3Vy","value":"Ymx1ZQ=="}'
  curl -s ${url}/v3/kv/range -d '{"key":"Y29sb3Vy"}'
  curl -s ${url}/health

Ctrl-C stops it.

`;
}
