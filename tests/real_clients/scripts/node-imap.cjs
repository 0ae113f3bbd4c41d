// A round trip with node-imap; its only argument is JSON with port, security, ca_file, user, password, name, mail.
const assert = require('node:assert');
const fs = require('node:fs');
const {promisify} = require('node:util');
const Imap = require('node-imap');

const given = JSON.parse(process.argv[2]);
const mail = Buffer.from(given.mail, 'base64');

function connected() {
  const client = new Imap({
    host: 'localhost', port: given.port, tls: given.security === 'implicit', user: given.user, password: given.password,
    autotls: given.security === 'implicit' ? 'never' : 'required', tlsOptions: {ca: fs.readFileSync(given.ca_file), servername: 'localhost'},
  });
  return new Promise((resolve, reject) => {
    client.once('ready', () => resolve(client));
    client.once('error', reject);
    client.connect();
  });
}

function asking(client, name) {
  return promisify(client[name].bind(client));
}

function fetched(client, what, options) {
  return new Promise((resolve, reject) => {
    const found = {};
    const fetch = client.seq.fetch(what, options);
    fetch.on('message', message => {
      message.on('body', stream => {
        const chunks = [];
        stream.on('data', chunk => chunks.push(chunk));
        stream.once('end', () => { found.body = Buffer.concat(chunks); });
      });
      message.once('attributes', attributes => { found.attributes = attributes; });
    });
    fetch.once('error', reject);
    fetch.once('end', () => resolve(found));
  });
}

async function main() {
  const client = await connected();
  await asking(client, 'addBox')(given.name);
  assert(given.name in await asking(client, 'getBoxes')());
  await asking(client, 'append')(mail, {mailbox: 'INBOX', flags: ['\\Flagged']});
  assert.strictEqual((await asking(client, 'openBox')('INBOX', false)).messages.total, 1);
  const message = await fetched(client, 1, {bodies: '', struct: true, envelope: true});
  assert(message.body.equals(mail), 'the message has changed');
  assert(message.attributes.flags.includes('\\Flagged'));
  assert.strictEqual(message.attributes.struct.length, 3);
  assert.deepStrictEqual(await asking(client, 'search')(['FLAGGED', ['SUBJECT', 'Grüße']]), [message.attributes.uid]);
  await promisify(client.seq.addFlags.bind(client.seq))(1, ['Seen']);
  await promisify(client.seq.addKeywords.bind(client.seq))(1, ['work']);
  assert((await fetched(client, 1, {bodies: ''})).attributes.flags.includes('work'));
  // It idles whenever it has nothing else to do.
  const other = await connected();
  const told = new Promise(resolve => client.once('mail', resolve));
  await asking(other, 'append')('Subject: Second\r\n\r\ntwo\r\n', {mailbox: 'INBOX'});
  assert.strictEqual(await told, 1);
  other.end();
  await promisify(client.seq.move.bind(client.seq))(1, given.name);
  assert.strictEqual((await asking(client, 'search')(['ALL'])).length, 1);
  assert.strictEqual((await asking(client, 'openBox')(given.name, false)).messages.total, 1);
  await promisify(client.seq.addFlags.bind(client.seq))(1, ['Deleted']);
  const gone = new Promise(resolve => client.once('expunge', resolve));
  await asking(client, 'expunge')();
  assert.strictEqual(await gone, 1);
  await asking(client, 'closeBox')();
  await asking(client, 'delBox')(given.name);
  assert(!(given.name in await asking(client, 'getBoxes')()));
  client.end();
}

main().catch(error => { console.error(error); process.exit(1); });
