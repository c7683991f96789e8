// oidc-provider with the features that the operator uses, and short cuts for tests.
import {generateKeyPairSync, randomBytes} from 'node:crypto';
import {appendFileSync} from 'node:fs';

import Provider from 'oidc-provider';

import {Delegation} from './delegation.mjs';
import {around} from './pages.mjs';
import {People} from './people.mjs';
import {Storage} from './storage.mjs';
import {Twists} from './twists.mjs';

// What is a credential for as long as it lives. (Grants, sessions and interactions have names, which open nothing.)
const CREDENTIALS = ['AccessToken', 'AuthorizationCode', 'ClientCredentials', 'DeviceCode', 'RefreshToken'];
// What is exchanged for tokens of a grant.
const EXCHANGED = ['AuthorizationCode', 'DeviceCode', 'RefreshToken'];
const GRANT_TYPES = ['authorization_code', 'refresh_token', 'client_credentials', 'urn:ietf:params:oauth:grant-type:device_code'];

export class OpenIdProvider {
  #grants = new Map();
  #accounts = new Map();
  #rotations = new Map();
  #secrets = new Set();
  #turns = new Map();
  // Where browsers were sent back to, with codes in it: for tests that play a thief.
  responses = [];
  people = new People();
  twists = new Twists();

  constructor(url, settings, scopes, secretsFile) {
    this.settings = settings;
    this.secretsFile = secretsFile;
    this.onKilled = () => {};
    this.storage = new Storage({
      // `soft` is rotation without the old token's death, which oidc-provider does not know.
      consumes: (model, payload) => model !== 'RefreshToken' || this.#rotation(payload.grantId) === 'strict',
      onStored: (model, id, payload) => this.#noteStored(model, id, payload),
    });
    this.provider = this.#configure(url, scopes);
    this.callback = this.provider.callback();
  }

  // Refreshes of one grant are dealt with in turn. oidc-provider alone would let two at the same moment both find the
  // old token good, and a rotating server that does not punish a replay is no test.
  handle(request, response, parameters) {
    const grantId = parameters?.refresh_token && this.grantOf(parameters.refresh_token);
    if (!grantId) return this.callback(request, response);
    const turn = (this.#turns.get(grantId) ?? Promise.resolve()).then(() => this.callback(request, response));
    this.#turns.set(grantId, turn);
    return turn;
  }

  // Of a refresh token, an authorization code or a device code.
  grantOf = (credential) => this.#grants.get(credential);
  accountOf = (grantId) => this.#accounts.get(grantId);

  // Everything that must never be seen in a log: all tokens and codes ever issued, and the clients' secrets.
  secrets = () => [...this.#secrets];

  keepSecret = (secret) => {
    if (this.secretsFile && !this.#secrets.has(secret)) appendFileSync(this.secretsFile, `${secret}\n`);
    this.#secrets.add(secret);
  };

  async addClient({clientId, clientSecret, authentication = 'client_secret_basic', redirectUris = ['http://127.0.0.1/callback'], ...more}) {
    const secret = authentication.startsWith('client_secret') ? clientSecret ?? randomBytes(24).toString('base64url') : undefined;
    if (secret) this.keepSecret(secret);
    await this.storage.adapter('Client').upsert(clientId, {
      client_id: clientId,
      ...(secret && {client_secret: secret}),
      token_endpoint_auth_method: authentication,
      redirect_uris: redirectUris,
      application_type: 'native',
      response_types: ['code'],
      grant_types: authentication === 'none' ? GRANT_TYPES.filter((type) => type !== 'client_credentials') : GRANT_TYPES,
      ...more,
    });
    // oidc-provider checks a client's metadata when it is first used; a test should hear of a mistake now.
    await this.provider.Client.find(clientId);
    return {clientId, clientSecret: secret, authentication};
  }

  // What the sign-in of an account ends in, without a browser.
  async mint({clientId, account, scope = 'mail offline_access', rotation, lifetime}) {
    const client = await this.provider.Client.find(clientId);
    if (!client) throw new Error(`there is no client ${clientId}`);
    const accountId = this.people.find(account)?.sub ?? account;
    const grant = new this.provider.Grant({accountId, clientId});
    grant.addOIDCScope(scope);
    const grantId = await grant.save(10 * 365 * 24 * 3600);
    this.#accounts.set(grantId, account);
    if (rotation) this.#rotations.set(grantId, rotation);
    const token = new this.provider.RefreshToken({
      client,
      accountId,
      grantId,
      scope,
      gty: 'authorization_code',
      authTime: Math.floor(Date.now() / 1000),
      expiresIn: lifetime ?? this.settings.refreshTokenLifetime,
    });
    return {refreshToken: await token.save(), grantId};
  }

  async revoke(grantId) {
    this.storage.revoke(grantId);
    await this.storage.adapter('Grant').destroy(grantId);
  }

  // Whose token this is, and whether it is good now.
  async introspect(token) {
    const {AccessToken, ClientCredentials, RefreshToken} = this.provider;
    const found = await AccessToken.find(token) ?? await ClientCredentials.find(token) ?? await RefreshToken.find(token);
    if (!found?.isValid) return {active: false};
    return {
      active: true,
      kind: found.kind,
      account: found.accountId && this.people.claims(found.accountId).email,
      clientId: found.clientId,
      grantId: found.grantId,
      scope: found.scope,
      expiresAt: found.exp,
    };
  }

  #rotation(grantId) {
    return this.#rotations.get(grantId) ?? this.settings.rotation;
  }

  #noteStored(model, id, {grantId, accountId}) {
    if (CREDENTIALS.includes(model)) this.keepSecret(id);
    if (!grantId || model === 'Grant') return;
    if (EXCHANGED.includes(model)) this.#grants.set(id, grantId);
    if (accountId) this.#accounts.set(grantId, this.people.claims(accountId).email);
  }

  #configure(url, scopes) {
    const {settings, storage, people, twists, keepSecret} = this;
    const keys = {
      RS256: generateKeyPairSync('rsa', {modulusLength: 2048}).privateKey,
      ES256: generateKeyPairSync('ec', {namedCurve: 'P-256'}).privateKey,
    };
    const provider = new Provider(url, {
      adapter: storage.adapter,
      jwks: {keys: Object.entries(keys).map(([alg, key]) => ({...key.export({format: 'jwk'}), use: 'sig', alg, kid: `test-${alg}`}))},
      cookies: {keys: [randomBytes(24).toString('hex')]},
      scopes: ['openid', 'offline_access', 'email', 'profile', ...scopes],
      claims: {openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'preferred_username']},
      // Google, Microsoft and most others put the claims of a scope into the ID token too.
      conformIdTokenClaims: false,
      findAccount: (_, id) => ({accountId: id, claims: () => people.claims(id)}),
      features: {
        clientCredentials: {enabled: true},
        deviceFlow: {enabled: true},
        introspection: {enabled: true},
        revocation: {enabled: true},
      },
      issueRefreshToken: (_, client, code) =>
        client.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access')
        && !twists.take('no-refresh-token', {clientId: client.clientId, account: people.claims(code.accountId).email}),
      rotateRefreshToken: (ctx) => this.#rotation(ctx.oidc.entities.RefreshToken.grantId) !== 'none',
      pkce: {required: () => true},
      ttl: {
        AccessToken: () => settings.accessTokenLifetime,
        ClientCredentials: () => settings.accessTokenLifetime,
        RefreshToken: () => settings.refreshTokenLifetime,
        Grant: 10 * 365 * 24 * 3600,
        Session: 24 * 3600,
        Interaction: 3600,
        DeviceCode: () => settings.deviceCodeLifetime,
        IdToken: 3600,
      },
    });
    for (const middleware of around({provider, people, twists, settings, keys, keepSecret, noteResponse: (url) => this.responses.push(url)})) provider.use(middleware);
    this.delegation = new Delegation({url, provider, people, settings, keepSecret});
    provider.use(this.delegation.middleware);
    provider.on('grant.revoked', (ctx, grantId) => {
      if (ctx.oidc.params?.grant_type === 'refresh_token') this.onKilled(grantId);
    });
    provider.on('server_error', (_, error) => console.error(error));
    return provider;
  }
}
