// A real OAuth 2.0 authorization server for tests, whose behaviour tests can switch.
//
//   node server.mjs [--cert FILE --key FILE] [--plain] [--scopes "A B"] [--secrets FILE] [--stay]
//
// --secrets names a file to which every token and client secret is added as it is issued: what no log may hold.
//
// One JSON line on standard output says where everything is. The server ends when its standard input does, so that it
// never outlives the test that started it; with --stay it goes on until SIGTERM.
//
//   front.mjs      takes every token request: counts it, logs it, injects faults; then hands it to one of the next two
//   provider.mjs   oidc-provider, a certified OpenID Provider
//   pages.mjs      what stands around its pages and answers; people.mjs who can sign in; twists.mjs what goes wrong then
//   delegation.mjs Google's service accounts, which oidc-provider does not know
//   plain.mjs      (--plain) answers every refresh, for benches that must not measure the provider
//   admin.mjs      the tests' own door, plain HTTP with JSON
import {readFileSync} from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import {parseArgs} from 'node:util';

import {serveAdmin} from './admin.mjs';
import {Front} from './front.mjs';
import {Plain} from './plain.mjs';

const {values: flags} = parseArgs({
  options: {
    cert: {type: 'string'},
    key: {type: 'string'},
    plain: {type: 'boolean', default: false},
    stay: {type: 'boolean', default: false},
    secrets: {type: 'string'},
    scopes: {type: 'string', default: 'mail https://mail.google.com/ https://outlook.office.com/IMAP.AccessAsUser.All https://outlook.office.com/SMTP.Send'},
  },
});

const settings = {
  rotation: 'strict', // none | soft | strict
  accessTokenLifetime: 3600, // seconds, as all lifetimes
  refreshTokenLifetime: 14 * 24 * 3600,
  deviceCodeLifetime: 600,
  deviceInterval: 0, // told to clients, and who polls sooner is told to slow down; 0: neither
  logRequests: !flags.plain,
};

const front = new Front(settings);
const server = flags.cert
  ? https.createServer({cert: readFileSync(flags.cert), key: readFileSync(flags.key)}, front.handle)
  : http.createServer(front.handle);
const port = await listen(server);
const url = `${flags.cert ? 'https' : 'http'}://127.0.0.1:${port}`;

// The provider wants to know its own address, hence the order.
const backend = flags.plain
  ? new Plain(settings)
  : new (await import('./provider.mjs')).OpenIdProvider(url, settings, flags.scopes.split(' '), flags.secrets);
front.serve(backend);
const admin = await listen(http.createServer(serveAdmin({front, backend, settings})));

if (!flags.stay) process.stdin.on('end', () => process.exit(0)).resume();
console.log(JSON.stringify({
  url,
  tokenUrl: `${url}/token`,
  revocationUrl: `${url}/token/revocation`,
  deviceAuthorizationUrl: `${url}/device/auth`,
  authorizationUrl: `${url}/auth`,
  adminUrl: `http://127.0.0.1:${admin}`,
  port,
  pid: process.pid,
}));
// Whoever reads that line reads no more, and a write into a closed pipe would end the server: oidc-provider has notices.
console.log = console.info = console.error;

function listen(listener) {
  // Node closes idle connections after 5 s, just when a client may be sending its next request. A test that wants a
  // broken connection says so with a fault; none shall break by chance.
  listener.keepAliveTimeout = 3600_000;
  listener.headersTimeout = 3660_000;
  listener.requestTimeout = 0;
  return new Promise((resolve, reject) => {
    listener.once('error', reject);
    listener.listen({port: 0, host: '127.0.0.1', backlog: 4096}, () => resolve(listener.address().port));
  });
}
