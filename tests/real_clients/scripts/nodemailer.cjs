// Sends what stands on standard input; its only argument is JSON with port, security, ca_file, mechanism, user, ...
const {readFileSync} = require('node:fs');
const nodemailer = require('nodemailer');

const given = JSON.parse(process.argv[2]);
const auth = given.mechanism === 'XOAUTH2' ?
  {type: 'OAuth2', user: given.user, accessToken: given.token} : {user: given.user, pass: given.password};

nodemailer.createTransport({
  host: 'localhost', port: given.port, name: 'client.example.test', tls: {ca: readFileSync(given.ca_file)},
  secure: given.security === 'implicit', requireTLS: given.security === 'starttls', ignoreTLS: given.security === 'none',
  ...(given.mechanism && {auth, authMethod: given.mechanism}),
}).sendMail({envelope: {from: given.sender, to: given.to}, raw: readFileSync(0)})
  .catch(error => { console.error(error); process.exit(1); });
