// The client command protocol for mail libraries of Node, and what a server's code means.
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";

const ENHANCED = /^\s*([245]\.\d{1,3}\.\d{1,3})\s*/;
const LATER = ["connect", "dns", "timeout", "tls-handshake", "disconnected", "protocol", "temporary", "rate-limit"];
const LIMIT = /limit exceeded|rate limit|exceeded the .*limit|too many (messages|connections|logins?|failures)/i;
const CERTIFICATE = /CERT_|altname|self.signed|unable to (verify|get)|certificate (has|is)|too (small|weak)/i;
const BY_COMMAND = {
  AUTH: "authentication", MAIL: "sender-refused", RCPT: "recipient-refused", DATA: "message-refused",
};

export class Refused extends Error {
  constructor(category, text, code = null) {
    super(text);
    this.category = category;
    this.code = code;
  }

  get outcome() {
    if (this.code >= 500) return ["connect", "rate-limit"].includes(this.category) ? "deferred" : "failed";
    return this.code !== null || LATER.includes(this.category) ? "deferred" : "failed";
  }

  get error() {
    const lines = this.message.split(/\r?\n/).map((line) => line.replace(/^\d{3}[ -]?/, ""));
    const enhanced = ENHANCED.exec(lines[0])?.[1] ?? null;
    const said = lines.map((line) => line.replace(ENHANCED, "").trim()).join(" ");
    const text = said.replace(/\p{C}/gu, (c) => "\\u" + c.codePointAt(0).toString(16).padStart(4, "0"));
    return { category: this.category, code: this.code, enhanced, text };
  }
}

// As the contract's rulings have it.
export function category(code, text, command) {
  const enhanced = ENHANCED.exec(text.replace(/^\d{3}[ -]?/, ""))?.[1] ?? "";
  const detail = enhanced.slice(2);
  if (LIMIT.test(text)) return "rate-limit";
  if (detail === "3.4" || /\bsize\b/i.test(text)) return "size";
  if (detail === "2.2") return "quota";
  if (command === "CONN") return code >= 500 ? "connect" : "temporary";
  if (code === 538 || (code === 530 && /TLS/i.test(text))) return "tls-required";
  if (command === "STARTTLS") return "tls-required";
  if (code >= 400 && code < 500) return "temporary";
  if (command === "AUTH" && code === 504) return "auth-mechanism";
  if (code === 530) return "authentication";
  return code >= 500 ? BY_COMMAND[command] ?? "protocol" : "protocol";
}

// What the socket or TLS says.
export function ofSocket(error) {
  const code = String(error.originalCode ?? error.code ?? "");
  const said = `${code} ${error.message}`;
  if (CERTIFICATE.test(said) && !/alert/i.test(said)) return "tls-certificate";
  if (/ECONNREFUSED|EHOSTUNREACH|ENETUNREACH/.test(said)) return "connect";
  if (/ENOTFOUND|EAI_AGAIN|EDNS/.test(said)) return "dns";
  if (/TIMEDOUT|TIMEOUT|timed? ?out/i.test(said)) return "timeout";
  if (/ClosedAfterConnect/.test(code)) return "disconnected";
  if (/SSL|TLS|EPROTO\b|alert/.test(said) && !/HTTP|Invalid greeting/.test(said)) return "tls-handshake";
  if (/ECONNRESET|EPIPE|ECONNECTION|EConnectionClosed|NoConnection|closed/i.test(said)) return "disconnected";
  return "protocol";
}

export const tls = (settings) => ({
  // Without it Node trusts its own list.
  ...(settings.ca_file && { ca: readFileSync(settings.ca_file) }),
  ...(settings.client_cert && { cert: readFileSync(settings.client_cert), key: readFileSync(settings.client_key) }),
});

export async function serve(name, features, answer) {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    const reply = request.action === "hello" ? { protocol: 1, name, version: "1", features } : await answer(request);
    process.stdout.write(JSON.stringify({ id: request.id, ...reply }) + "\n");
  }
}
