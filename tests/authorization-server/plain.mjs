// Answers every refresh at once, with a new access token of the size that Microsoft's have (about 1,500 bytes).
//
// For benches: 5,000 assets must wait for the operator, not for this server.
import {randomBytes} from 'node:crypto';

// Only the first part of a token differs from request to request: random bytes are what costs here.
const REST = randomBytes(1100).toString('base64url');

export class Plain {
  constructor(settings) {
    this.settings = settings;
  }

  grantOf = () => undefined;
  accountOf = () => undefined;
  secrets = () => [];

  handle(request, response) {
    if (request.method !== 'POST' || request.url !== '/token') {
      response.writeHead(404).end();
      return;
    }
    const unique = randomBytes(24).toString('base64url');
    const answer = {
      access_token: `${unique}${REST}`,
      token_type: 'Bearer',
      expires_in: this.settings.accessTokenLifetime,
      scope: 'mail',
      ...(this.settings.rotation !== 'none' && {refresh_token: `refresh-${unique}`}),
    };
    const body = JSON.stringify(answer);
    response.writeHead(200, {'content-type': 'application/json', 'cache-control': 'no-store', 'content-length': Buffer.byteLength(body)});
    response.end(body);
  }

  addClient = refuse;
  mint = refuse;
  revoke = refuse;
  introspect = refuse;
}

async function refuse() {
  throw new Error('the plain server keeps nothing: start it without --plain');
}
