// Header blocks of responses (HPACK, RFC 7541): literals that are never indexed, so that a block
// depends on nothing that went before and can be made once and sent on every connection. The few
// bytes more a response are cheaper than a table a connection.
const statusOk = 0x88;

/** Of the first block on a connection: says that no table is used, whatever the client allows. */
export const noTable = Buffer.from([0x20]);

/** Names and values in turn; one character a byte. */
export function encodeHeaderBlock(fields: readonly string[]): Buffer {
  const bytes: number[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? "";
    const value = fields[i + 1] ?? "";
    if (name === ":status" && value === "200") {
      bytes.push(statusOk);
      continue;
    }
    bytes.push(0);
    pushString(bytes, name);
    pushString(bytes, value);
  }
  return Buffer.from(bytes);
}

function pushString(bytes: number[], text: string): void {
  const prefixMax = 127;
  if (text.length < prefixMax) {
    bytes.push(text.length);
  } else {
    bytes.push(prefixMax);
    let rest = text.length - prefixMax;
    for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
    bytes.push(rest);
  }
  for (let i = 0; i < text.length; i++) bytes.push(text.charCodeAt(i) & 0xff);
}
