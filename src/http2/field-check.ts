// What makes a request malformed before anybody asks what it means (RFC 9113, 8.2 and 8.3).
//
// Laxer than the paper where Go's server is, so that no client of etcd is turned away: spaces
// around values pass, and so does any "te".
import type { HeaderFields } from "./hpack-decoder.ts";

const pseudoFields = [":method", ":scheme", ":path", ":authority"];
/** All of them but the last, which is optional: a bit for each. */
const pseudoRequired = 0b0111;
const connectionFields = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);

export function isMalformed(fields: HeaderFields): boolean {
  let isPastPseudo = false;
  let pseudoSeen = 0;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? "";
    if (name.startsWith(":")) {
      const place = pseudoFields.indexOf(name);
      if (isPastPseudo || place < 0 || ((pseudoSeen >> place) & 1) === 1) return true;
      pseudoSeen |= 1 << place;
    } else {
      isPastPseudo = true;
      if (!isName(name) || connectionFields.has(name)) return true;
    }
    if (hasControl(fields[i + 1] ?? "")) return true;
  }
  return (pseudoSeen & pseudoRequired) !== pseudoRequired;
}

/** Visible ASCII without upper case. */
function isName(name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code <= 0x20 || code >= 0x7f || (code >= 0x41 && code <= 0x5a) || code === 0x3a)
      return false;
  }
  return name.length > 0;
}

function hasControl(value: string): boolean {
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code === 0 || code === 0x0a || code === 0x0d) return true;
  }
  return false;
}
