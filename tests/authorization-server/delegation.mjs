// Service accounts with domain-wide delegation, as at Google: grant type `urn:ietf:params:oauth:grant-type:jwt-bearer` (RFC 7523 section 2.1), which
// oidc-provider does not have. The assertion is checked by jose; the words of a refusal are Google's.
import {generateKeyPairSync, randomBytes} from 'node:crypto';

import {decodeProtectedHeader, jwtVerify} from 'jose';

const GRANT_TYPE = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const LONGEST = 3600;

export class Delegation {
  #accounts = new Map();

  constructor({url, provider, people, settings, keepSecret}) {
    Object.assign(this, {url, provider, people, settings, keepSecret});
  }

  // A service account with one key, or one more key for it: the file as Google's console downloads it.
  addKey({email}) {
    const account = this.#accounts.get(email) ?? {keys: new Map(), scopes: new Set()};
    this.#accounts.set(email, account);
    const {publicKey, privateKey} = generateKeyPairSync('rsa', {modulusLength: 2048});
    const keyId = randomBytes(20).toString('hex');
    account.keys.set(keyId, publicKey);
    const pem = privateKey.export({type: 'pkcs8', format: 'pem'});
    // The first line is the same in all keys.
    for (const line of pem.split('\n').slice(2).filter((line) => line.length === 64)) this.keepSecret(line);
    return {
      type: 'service_account',
      project_id: 'test',
      private_key_id: keyId,
      private_key: pem,
      client_email: email,
      client_id: '103456789012345678901',
      auth_uri: 'https://accounts.google.com/o/oauth2/auth',
      token_uri: 'https://oauth2.googleapis.com/token',
      auth_provider_x509_cert_url: 'https://www.googleapis.com/oauth2/v1/certs',
      universe_domain: 'googleapis.com',
    };
  }

  // What an admin allows the account, in place of what was allowed before.
  delegate({email, scopes}) {
    this.#account(email).scopes = new Set(scopes);
    return {};
  }

  deleteKey({email, keyId}) {
    this.#account(email).keys.delete(keyId);
    return {};
  }

  #account(email) {
    const account = this.#accounts.get(email);
    if (!account) throw new Error(`there is no service account ${email}`);
    return account;
  }

  middleware = async (ctx, next) => {
    if (ctx.method !== 'POST' || ctx.path !== '/token') return next();
    const form = new URLSearchParams(ctx.req.body);
    if (form.get('grant_type') !== GRANT_TYPE) return next();
    const refuse = (status, error, description) => {
      ctx.status = status;
      ctx.body = {error, error_description: description};
    };
    const odd = [...form.keys()].find((name) => !['grant_type', 'assertion'].includes(name));
    if (odd || ctx.get('authorization')) return refuse(400, 'invalid_request', `Parameter not allowed for this message type: ${odd ?? 'authorization'}`);
    const assertion = form.get('assertion') ?? '';
    this.keepSecret(assertion.split('.').at(-1));
    const header = decodeProtectedHeader(assertion);
    let claims;
    let account;
    try {
      const key = () => {
        const {iss} = JSON.parse(Buffer.from(assertion.split('.')[1], 'base64url'));
        account = this.#accounts.get(iss);
        if (!account) throw Object.assign(new Error('Invalid grant: account not found'), {plain: true});
        const known = account.keys.get(header.kid);
        if (!known) throw Object.assign(new Error('Invalid JWT Signature.'), {plain: true});
        return known;
      };
      ({payload: claims} = await jwtVerify(assertion, key, {
        algorithms: ['RS256'],
        typ: 'JWT',
        audience: `${this.url}/token`,
        requiredClaims: ['iss', 'sub', 'scope', 'aud', 'iat', 'exp'],
      }));
    } catch (error) {
      return refuse(400, 'invalid_grant', error.plain ? error.message : `Invalid JWT: ${error.code} ${error.message}`);
    }
    const now = Date.now() / 1000;
    if (claims.exp - claims.iat > LONGEST || claims.iat > now + 5) {
      return refuse(400, 'invalid_grant', 'Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your \'iat\' and \'exp\' values in the JWT claim.');
    }
    const scopes = claims.scope.split(' ');
    if (!scopes.every((scope) => account.scopes.has(scope))) {
      return refuse(401, 'unauthorized_client', 'Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.');
    }
    const accountId = this.people.find(claims.sub)?.sub ?? claims.sub;
    const token = new this.provider.AccessToken({accountId, clientId: claims.iss, scope: claims.scope, gty: 'jwt_bearer', expiresIn: this.settings.accessTokenLifetime});
    ctx.body = {access_token: await token.save(), expires_in: this.settings.accessTokenLifetime, token_type: 'Bearer'};
  };
}
