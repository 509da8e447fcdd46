// Where a peer URL points.

export interface PeerHost {
  readonly host: string;
  readonly port: number;
}

export function hostOf(url: string): PeerHost {
  const { hostname, port, protocol } = new URL(url);
  const schemePort = protocol === "https:" ? 443 : 80;
  // An address of IPv6 stands in brackets.
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  return { host, port: port === "" ? schemePort : Number(port) };
}
