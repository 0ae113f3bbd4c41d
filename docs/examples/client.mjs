// A mail client under test in Node: nodemailer behind the client command protocol.
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const nodemailer = createRequire(import.meta.url)("nodemailer");
const features = ["send", "starttls", "implicit-tls", "auth-plain", "auth-login"];
const kinds = { EAUTH: "authentication", ETLS: "tls-required", ESOCKET: "tls-certificate", ETIMEDOUT: "timeout",
  ECONNECTION: "disconnected", EENVELOPE: "recipient-refused", EMESSAGE: "message-refused", EDNS: "dns" };
const later = ["temporary", "timeout", "connect", "disconnected"];

function result(message, error) {
  if (!error) return { message, outcome: "sent", error: null };
  const code = error.responseCode ?? null;
  let category = error.command === "MAIL FROM" ? "sender-refused" : kinds[error.code] ?? "protocol";
  if (code && code < 500) category = "temporary";
  if (error.code === "ESOCKET" && error.syscall === "connect") category = "connect";
  const text = String(error.response ?? error.message);
  const enhanced = text.match(/^\d{3}[ -]([245]\.\d+\.\d+)/)?.[1] ?? null;
  return { message, outcome: later.includes(category) ? "deferred" : "failed", error: { category, code, enhanced, text } };
}

async function send({ settings: { outgoing: out }, messages }) {
  const transport = nodemailer.createTransport({
    host: out.host, port: out.port, name: out.ehlo_name ?? undefined,
    secure: out.security === "implicit", requireTLS: out.security === "starttls", ignoreTLS: out.security === "none",
    auth: out.auth === "none" ? undefined : { user: out.username, pass: out.password },
    authMethod: ["auto", "none"].includes(out.auth) ? undefined : out.auth.toUpperCase(),
    tls: { ca: readFileSync(out.ca_file) }, connectionTimeout: out.timeout * 1000, socketTimeout: out.timeout * 1000,
  });
  const results = [];
  for (const { id, from, to, eml_base64 } of messages)
    results.push(await transport.sendMail({ envelope: { from: from ?? "", to }, raw: Buffer.from(eml_base64, "base64") })
      .then(() => result(id, null), (error) => result(id, error)));
  return { results, rate_limited_until: null };
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  const hello = { protocol: 1, name: "nodemailer-example", version: "1", features };
  const reply = request.action === "hello" ? hello : await send(request);
  process.stdout.write(JSON.stringify({ id: request.id, ...reply }) + "\n");
}
