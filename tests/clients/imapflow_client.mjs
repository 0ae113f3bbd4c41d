// A client over imapflow, used as its documentation shows it: each message is stored before the server hears of it.
import { createRequire } from "node:module";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { Refused, ofSocket, serve, tls } from "./library_protocol.mjs";

const { ImapFlow } = createRequire(import.meta.url)("imapflow");

const FEATURES = ["fetch", "imap", "starttls", "implicit-tls", "opportunistic-tls", "client-cert", "complete",
  "auth-plain", "auth-login", "auth-xoauth2", "auth-oauthbearer"];
const METHODS = { auto: undefined, login: "LOGIN", plain: "AUTH=PLAIN" };

// What has come, by UIDVALIDITY and UID, and what has been handed over of it.
class Store {
  constructor(folder) {
    this.file = join(folder, "store.json");
    this.known = existsSync(this.file) ? JSON.parse(readFileSync(this.file)) : [];
  }

  save() {
    writeFileSync(this.file + ".new", JSON.stringify(this.known));
    renameSync(this.file + ".new", this.file);
  }

  find(validity, uid) {
    return this.known.find((each) => each.validity === validity && each.uid === uid);
  }

  // After a change of UIDVALIDITY the same message comes under another number.
  add(validity, uid, raw) {
    const digest = createHash("sha256").update(raw).digest("hex");
    const same = this.known.find((each) => each.validity !== validity && each.digest === digest);
    if (same) Object.assign(same, { validity, uid });
    else this.known.push({ validity, uid, digest, raw: raw.toString("base64") });
    this.save();
  }

  handOver() {
    const waiting = this.known.filter((each) => each.raw !== null);
    const messages = waiting.map((each) => ({ eml_base64: each.raw }));
    for (const each of waiting) each.raw = null;
    this.save();
    return messages;
  }
}

function refused(error) {
  if (error instanceof Refused) return error;
  const code = String(error.serverResponseCode ?? "");
  const text = String(error.reason || error.responseText || error.response || error.message);
  if (/^(UNAVAILABLE|SYS\/TEMP|INUSE|IN-USE)$/i.test(code)) return new Refused("temporary", text);
  if (/^(LIMIT|LOGIN-DELAY)$/i.test(code) || /too many/i.test(text)) return new Refused("rate-limit", text);
  if (/^PRIVACYREQUIRED$/i.test(code)) return new Refused("tls-required", text);
  if (/unavailable|try again later/i.test(text)) return new Refused("temporary", text);
  if (/Unsupported authentication mechanism|No matching auth|Login is disabled/i.test(text))
    return new Refused("auth-mechanism", text);
  if (error.authenticationFailed) return new Refused("authentication", text);
  if (error.tlsFailed && /STARTTLS|start TLS/.test(error.message) && error.code !== "STARTTLS_INJECTION")
    return new Refused("tls-required", text);
  return new Refused(ofSocket(error), text);
}

function account(settings) {
  if (!(settings.auth in METHODS) && !settings.access_token)
    throw new Refused("auth-mechanism", `imapflow has no ${settings.auth}`);
  const { username: user, password: pass, access_token: accessToken } = settings;
  const byToken = accessToken && !["login", "plain"].includes(settings.auth);
  return byToken ? { user, accessToken } : { user, pass, loginMethod: METHODS[settings.auth] };
}

function connection(settings) {
  const timeout = settings.timeout * 1000;
  const inClear = settings.allow_cleartext;
  if (settings.security === "none" && !inClear) throw new Refused("tls-required", "No password in clear");
  // Undefined falls back to clear, and the login goes with it.
  return new ImapFlow({
    host: settings.host, port: settings.port, secure: settings.security === "implicit",
    auth: account(settings), tls: tls(settings), disableAutoIdle: true, logger: false,
    // Under COMPRESS the words of a BYE are lost now and then.
    disableCompression: true,
    doSTARTTLS: { none: false, starttls: true, opportunistic: inClear ? undefined : true }[settings.security],
    connectionTimeout: timeout, greetingTimeout: timeout, socketTimeout: timeout,
  });
}

// Stored before it is marked, marked before it is moved; what was stored and not moved the last time is moved now.
async function read(client, settings, store) {
  await client.mailboxOpen(settings.inbox || "INBOX");
  const validity = String(client.mailbox.uidValidity);
  const search = async (query) => {
    const found = await client.search(query, { uid: true });
    if (!found) throw new Refused("protocol", "SEARCH was refused");
    return found;
  };
  let refusal = null;
  for (const uid of await search(settings.unseen_only ? { seen: false } : { all: true })) {
    try {
      if (!store.find(validity, uid)) {
        const message = await client.fetchOne(String(uid), { source: true, uid: true }, { uid: true });
        if (!message?.source) continue;
        store.add(validity, uid, message.source);
      }
      await client.messageFlagsAdd(String(uid), ["\\Seen"], { uid: true });
    } catch (error) {
      // One that is refused does not stop the others.
      if (!client.usable) throw error;
      refusal = error;
    }
  }
  if (settings.completed !== null && settings.completed !== undefined) {
    const there = await search({ all: true });
    const done = there.filter((uid) => store.find(validity, uid));
    if (done.length) await file(client, done.join(","), settings.completed || "Completed");
  }
  if (refusal) throw refusal;
}

async function file(client, uids, mailbox) {
  if (await client.messageMove(uids, mailbox, { uid: true })) return;
  await client.mailboxCreate(mailbox);
  if (!(await client.messageMove(uids, mailbox, { uid: true })))
    throw new Refused("protocol", `Nothing moves to ${mailbox}`);
}

async function fetch({ settings: { incoming }, state_dir }) {
  const store = new Store(state_dir);
  let error = null;
  let client;
  try {
    client = connection(incoming);
    const broken = new Promise((_, reject) => client.on("error", reject));
    await Promise.race([broken, client.connect().then(() => read(client, incoming, store))]);
    await Promise.race([broken, client.logout()]).catch(() => null);
  } catch (kept) {
    error = refused(kept).error;
  } finally {
    client?.close();
  }
  return { messages: store.handOver(), error };
}

await serve("imapflow", FEATURES, fetch);
