// A mail client under test in Node: nodemailer behind the client command protocol.
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const nodemailer = createRequire(import.meta.url)("nodemailer");
const features = ["send", "starttls", "implicit-tls", "auth-plain", "auth-login"];

function failed(error) {
  const code = error.responseCode ?? null;
  const byStage = { EAUTH: "authentication", ETLS: "tls-required", ESOCKET: "tls-certificate", EENVELOPE: "recipient-refused" };
  const category = code && code < 500 ? "temporary" : byStage[error.code] ?? "message-refused";
  return { category, code, enhanced: null, text: String(error.response ?? error.message) };
}

async function send({ settings: { outgoing: out }, messages }) {
  const transport = nodemailer.createTransport({
    host: out.host, port: out.port, name: out.ehlo_name ?? undefined,
    secure: out.security === "implicit", requireTLS: out.security === "starttls", ignoreTLS: out.security === "none",
    auth: out.auth === "none" ? undefined : { user: out.username, pass: out.password },
    authMethod: out.auth === "auto" || out.auth === "none" ? undefined : out.auth.toUpperCase(),
    tls: { ca: readFileSync(out.ca_file) }, connectionTimeout: out.timeout * 1000, socketTimeout: out.timeout * 1000,
  });
  const results = [];
  for (const { id, from, to, eml_base64 } of messages) {
    let error = null;
    await transport.sendMail({ envelope: { from: from ?? "", to }, raw: Buffer.from(eml_base64, "base64") })
      .catch((reason) => { error = failed(reason); });
    const outcome = !error ? "sent" : error.category === "temporary" ? "deferred" : "failed";
    results.push({ message: id, outcome, error });
  }
  return { results, rate_limited_until: null };
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  const hello = { protocol: 1, name: "nodemailer-example", version: "1", features };
  const reply = request.action === "hello" ? hello : await send(request);
  process.stdout.write(JSON.stringify({ id: request.id, ...reply }) + "\n");
}
