// A round trip with imapflow; its only argument is JSON with port, security, ca_file, user, password, name, mail.
const assert = require('node:assert');
const fs = require('node:fs');
const {ImapFlow} = require('imapflow');

const given = JSON.parse(process.argv[2]);
const mail = Buffer.from(given.mail, 'base64');

function connection() {
  return new ImapFlow({
    host: 'localhost', port: given.port, secure: given.security === 'implicit', doSTARTTLS: given.security !== 'implicit',
    tls: {ca: fs.readFileSync(given.ca_file)}, auth: {user: given.user, pass: given.password}, logger: false,
  });
}

async function main() {
  const client = connection();
  await client.connect();
  const created = await client.mailboxCreate(given.name);
  assert(created.created);
  assert((await client.list()).some(each => each.path === given.name));
  const appended = await client.append('INBOX', mail, ['\\Flagged']);
  assert.strictEqual(appended.seq ?? 1, 1);
  const lock = await client.getMailboxLock('INBOX');
  assert.strictEqual(client.mailbox.exists, 1);
  const message = await client.fetchOne('1', {source: true, flags: true, envelope: true, bodyStructure: true, uid: true});
  assert(message.source.equals(mail), 'the message has changed');
  assert.strictEqual(message.envelope.subject, 'Grüße');
  assert.strictEqual(message.envelope.from[0].name, 'Jürgen');
  assert.strictEqual(message.bodyStructure.childNodes.length, 2);
  assert(message.flags.has('\\Flagged'));
  const {content} = await client.download('1', '2');
  const chunks = [];
  for await (const chunk of content) chunks.push(chunk);
  assert(Buffer.concat(chunks).toString().startsWith('<p>xxx'));
  assert.deepStrictEqual(await client.search({subject: 'Grüße'}), [1]);
  assert(await client.messageFlagsAdd('1', ['\\Seen', 'work']));
  assert((await client.fetchOne('1', {flags: true})).flags.has('work'));
  const other = connection();
  await other.connect();
  const told = new Promise(resolve => client.on('exists', resolve));
  const idling = client.idle();
  await other.append('INBOX', 'Subject: Second\r\n\r\ntwo\r\n');
  assert.strictEqual((await told).count, 2);
  await client.noop();
  await idling;
  await other.logout();
  const moved = await client.messageMove('1', given.name);
  assert.strictEqual(moved.uidMap.size, 1);
  assert.strictEqual((await client.search({all: true})).length, 1);
  lock.release();
  const filed = await client.getMailboxLock(given.name);
  assert(await client.messageDelete('1:*'));
  assert.strictEqual((await client.status(given.name, {messages: true})).messages, 0);
  filed.release();
  await client.mailboxClose();
  assert((await client.mailboxDelete(given.name)).path);
  assert(!(await client.list()).some(each => each.path === given.name));
  await client.logout();
}

main().catch(error => { console.error(error); process.exit(1); });
