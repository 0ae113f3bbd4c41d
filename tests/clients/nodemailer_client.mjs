// A client over nodemailer's SMTPConnection, as its documentation shows it: one connection for all of a request.
import { createRequire } from "node:module";
import { domainToASCII } from "node:url";
import { randomUUID } from "node:crypto";
import { Refused, category, ofSocket, serve, tls } from "./library_protocol.mjs";

const require = createRequire(import.meta.url);
const SMTPConnection = require("nodemailer/lib/smtp-connection");
const encodeWords = (name) => require("nodemailer/lib/mime-funcs").encodeWords(name, "Q", 52, true);
const XOAuth2 = require("nodemailer/lib/xoauth2");

const FEATURES = ["send", "starttls", "implicit-tls", "opportunistic-tls", "client-cert", "auth-plain", "auth-login",
  "auth-cram-md5", "auth-xoauth2"];
// The rest of the batch would meet the same.
const FOR_ALL = ["authentication", "auth-mechanism", "tls-certificate", "tls-required", "tls-handshake", "timeout",
  "connect", "dns", "rate-limit"];

function refused(error) {
  if (error instanceof Refused) return error;
  const code = error.responseCode ?? null;
  const text = String(error.response ?? error.message);
  if (code === null) {
    if (error.command === "STARTTLS" && !/initiating TLS/.test(error.message)) return new Refused("tls-required", text);
    if (error.code === "EENVELOPE" && error.command === "API") return new Refused("config", text);
    if (error.code === "EMESSAGE") return new Refused("size", text);
    return new Refused(ofSocket(error), text);
  }
  if (code < 400) return new Refused("protocol", text);
  if (/EHLO failed but HELO/.test(error.message))
    return new Refused(code < 500 ? "temporary" : "tls-required", text, code);
  return new Refused(category(code, text, String(error.command).split(" ")[0]), text, code);
}

// Left alone, nodemailer tries PLAIN where it knows nothing that is offered, and in clear as well.
function auth(connection, out) {
  if (out.auth === "none" || !out.username) return null;
  const offered = connection._supportedAuth;
  const byToken = out.access_token && offered.includes("XOAUTH2");
  const free = connection.secure || out.allow_cleartext;
  const known = ["cram-md5", "plain", "login"].filter((name) => offered.includes(name.toUpperCase()));
  if (out.auth === "auto" && !known.length && !byToken)
    throw new Refused("auth-mechanism", `The server offers ${offered.join(" ") || "no mechanism that we know"}`);
  const best = byToken ? "xoauth2" : known.find((name) => free || name === "cram-md5");
  const way = out.auth === "auto" ? best : out.auth;
  if (!way || (!free && way !== "cram-md5")) throw new Refused("tls-required", "No password in clear");
  const method = way.toUpperCase();
  if (!offered.includes(method)) throw new Refused("auth-mechanism", `${method} is not among ${offered.join(" ")}`);
  const { username: user, password: pass, access_token: accessToken } = out;
  if (way === "xoauth2") return { oauth2: new XOAuth2({ user, accessToken }), method };
  return { credentials: { user, pass }, method };
}

async function connect(out) {
  const timeout = out.timeout * 1000;
  const connection = new SMTPConnection({
    host: out.host, port: out.port, name: out.ehlo_name || undefined, secure: out.security === "implicit",
    requireTLS: out.security === "starttls", ignoreTLS: out.security === "none",
    opportunisticTLS: out.security === "opportunistic",
    connectionTimeout: timeout, greetingTimeout: timeout, socketTimeout: timeout, dnsTimeout: timeout, tls: tls(out),
  });
  const step = (act) => new Promise((resolve, reject) => {
    connection.removeAllListeners("error");
    connection.on("error", reject);
    act((error, info) => (error ? reject(error) : resolve(info)));
  });
  try {
    await step((done) => connection.connect(done));
    const login = auth(connection, out);
    if (login) await step((done) => connection.login(login, done));
  } catch (error) {
    connection.close();
    throw error;
  }
  return { connection, step };
}

const ascii = (address) => {
  const [, local, domain] = /^(.*)@([^@]*)$/.exec(address) ?? [null, address, ""];
  if (/[^\x20-\x7e]/.test(local)) throw new Refused("unsupported", `${address} needs SMTPUTF8`);
  return /[^\x00-\x7f]/.test(domain) ? `${local}@${domainToASCII(domain)}` : address;
};

const phrase = (name) => /^[ -~]*$/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : encodeWords(name);

// The octets as they are, but for what the contract wants added, and no Bcc.
function wireForm({ eml_base64, from }, out) {
  const raw = Buffer.from(eml_base64, "base64").toString("latin1").replace(/\r\n|\r|\n/g, "\r\n");
  const end = raw.startsWith("\r\n") ? 0 : raw.indexOf("\r\n\r\n") < 0 ? raw.length : raw.indexOf("\r\n\r\n") + 2;
  const head = raw.slice(0, end).replace(/^bcc[ \t]*:.*(\r\n[ \t].*)*(\r\n|$)/gim, "");
  const has = (name) => new RegExp(`^${name}[ \\t]*:`, "im").test(head);
  const address = from || out.from_address;
  const sender = out.from_name ? `${phrase(out.from_name)} <${address}>` : address;
  const added = [
    !has("date") && `Date: ${new Date().toUTCString().replace("GMT", "+0000")}`,
    !has("message-id") && `Message-ID: <${randomUUID()}@client.example.test>`,
    !has("from") && `From: ${sender}`,
  ].filter(Boolean).map((line) => line + "\r\n").join("");
  return Buffer.concat([Buffer.from(added), Buffer.from(head + raw.slice(end), "latin1")]);
}

async function sendOne(session, message, out) {
  const from = message.from === "" ? "" : ascii(out.bounce_address || message.from || out.from_address);
  const raw = wireForm(message, out);
  const failed = {};
  const to = {};
  for (const recipient of message.to) {
    try {
      to[ascii(recipient)] = recipient;
    } catch (error) {
      failed[recipient] = error;
    }
  }
  if (!Object.keys(to).length) return failed;
  session.now ??= await connect(out);
  try {
    const envelope = { from, to: Object.keys(to), size: raw.length, use8BitMime: raw.some((octet) => octet > 127) };
    const info = await session.now.step((done) => session.now.connection.send(envelope, raw, done));
    for (const error of info.rejectedErrors ?? []) failed[to[error.recipient]] = refused(error);
  } catch (error) {
    for (const each of error.rejectedErrors ?? []) failed[to[each.recipient]] = refused(each);
    // The connection may be in the midst of a transaction.
    await reset(session);
    if (!error.rejectedErrors) throw error;
  }
  return failed;
}

async function reset(session) {
  const { connection, step } = session.now;
  if (!connection._destroyed) {
    try {
      await step((done) => connection.reset(done));
      return;
    } catch {
      connection.close();
    }
  }
  session.now = null;
}

async function send({ settings: { outgoing: out }, messages }) {
  const session = { now: null };
  const results = [];
  let stop = null;
  for (const message of messages) {
    let failed = {};
    try {
      if (stop) throw stop;
      failed = await sendOne(session, message, out);
    } catch (error) {
      const reason = refused(error);
      for (const to of message.to) failed[to] ??= reason;
      if (FOR_ALL.includes(reason.category)) stop = reason;
    }
    const outcomes = message.to.map((to) => failed[to]?.outcome ?? "sent");
    const outcome = ["deferred", "sent"].find((word) => outcomes.includes(word)) ?? "failed";
    const worst = outcome === "sent" ? null : Object.values(failed).find((each) => each.outcome === outcome);
    const told = message.to.map((to, at) => [to, { outcome: outcomes[at], error: failed[to]?.error ?? null }]);
    const recipients = Object.fromEntries(told);
    results.push({ message: message.id, outcome, error: worst?.error ?? null, retry_at: null, recipients });
  }
  if (session.now) await quit(session.now.connection);
  return { results, rate_limited_until: null };
}

const quit = (connection) => new Promise((resolve) => {
  connection.removeAllListeners("error");
  connection.on("error", resolve);
  connection.on("end", resolve);
  connection.quit();
});

await serve("nodemailer", FEATURES, send);
