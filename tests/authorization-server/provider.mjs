// oidc-provider with the features that the operator uses, and short cuts for tests.
import {generateKeyPairSync, randomBytes} from 'node:crypto';
import {appendFileSync} from 'node:fs';

import Provider from 'oidc-provider';

import {Storage} from './storage.mjs';

const GRANT_TYPES = ['authorization_code', 'refresh_token', 'client_credentials', 'urn:ietf:params:oauth:grant-type:device_code'];

export class OpenIdProvider {
  #grants = new Map();
  #accounts = new Map();
  #rotations = new Map();
  #secrets = new Set();
  #turns = new Map();

  constructor(url, settings, scopes, secretsFile) {
    this.settings = settings;
    this.secretsFile = secretsFile;
    this.onKilled = () => {};
    this.storage = new Storage({
      // `soft` is rotation without the old token's death, which oidc-provider does not know.
      consumes: (model, payload) => model !== 'RefreshToken' || this.#rotation(payload.grantId) === 'strict',
      onToken: (model, id, payload) => this.#noteToken(model, id, payload),
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

  grantOf = (refreshToken) => this.#grants.get(refreshToken);
  accountOf = (grantId) => this.#accounts.get(grantId);

  // Everything that must never be seen in a log: all tokens ever issued, and the clients' secrets.
  secrets = () => [...this.#secrets];

  async addClient({clientId, clientSecret, authentication = 'client_secret_basic', redirectUris = ['http://127.0.0.1/callback'], ...more}) {
    const secret = authentication.startsWith('client_secret') ? clientSecret ?? randomBytes(24).toString('base64url') : undefined;
    if (secret) this.#keepSecret(secret);
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
    const grant = new this.provider.Grant({accountId: account, clientId});
    grant.addOIDCScope(scope);
    const grantId = await grant.save(10 * 365 * 24 * 3600);
    this.#accounts.set(grantId, account);
    if (rotation) this.#rotations.set(grantId, rotation);
    const token = new this.provider.RefreshToken({
      client,
      accountId: account,
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
    const {AccessToken, RefreshToken} = this.provider;
    const found = await AccessToken.find(token) ?? await RefreshToken.find(token);
    if (!found?.isValid) return {active: false};
    return {
      active: true,
      kind: found.kind,
      account: found.accountId,
      clientId: found.clientId,
      grantId: found.grantId,
      scope: found.scope,
      expiresAt: found.exp,
    };
  }

  #keepSecret(secret) {
    if (this.secretsFile && !this.#secrets.has(secret)) appendFileSync(this.secretsFile, `${secret}\n`);
    this.#secrets.add(secret);
  }

  #rotation(grantId) {
    return this.#rotations.get(grantId) ?? this.settings.rotation;
  }

  #noteToken(model, id, payload) {
    this.#keepSecret(id);
    if (model === 'RefreshToken') this.#grants.set(id, payload.grantId);
    if (payload.accountId) this.#accounts.set(payload.grantId, payload.accountId);
  }

  #configure(url, scopes) {
    const {settings, storage} = this;
    const {privateKey} = generateKeyPairSync('rsa', {modulusLength: 2048});
    const provider = new Provider(url, {
      adapter: storage.adapter,
      jwks: {keys: [{...privateKey.export({format: 'jwk'}), use: 'sig', alg: 'RS256', kid: 'test'}]},
      cookies: {keys: [randomBytes(24).toString('hex')]},
      scopes: ['openid', 'offline_access', 'email', ...scopes],
      claims: {openid: ['sub'], email: ['email', 'email_verified']},
      findAccount: (_, id) => ({accountId: id, claims: () => ({sub: id, email: id, email_verified: true})}),
      features: {
        clientCredentials: {enabled: true},
        deviceFlow: {enabled: true},
        introspection: {enabled: true},
        revocation: {enabled: true},
      },
      issueRefreshToken: (_, client, code) => client.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
      rotateRefreshToken: (ctx) => this.#rotation(ctx.oidc.entities.RefreshToken.grantId) !== 'none',
      pkce: {required: () => true},
      ttl: {
        AccessToken: () => settings.accessTokenLifetime,
        ClientCredentials: () => settings.accessTokenLifetime,
        RefreshToken: () => settings.refreshTokenLifetime,
        Grant: 10 * 365 * 24 * 3600,
        Session: 24 * 3600,
        Interaction: 3600,
        DeviceCode: 600,
        IdToken: 3600,
      },
    });
    provider.use(withoutOutsideFonts);
    provider.on('grant.revoked', (ctx, grantId) => {
      if (ctx.oidc.params?.grant_type === 'refresh_token') this.onKilled(grantId);
    });
    provider.on('server_error', (_, error) => console.error(error));
    return provider;
  }
}

// The stock pages import a web font; a test must not reach outside.
async function withoutOutsideFonts(ctx, next) {
  await next();
  if (typeof ctx.body === 'string') ctx.body = ctx.body.replace(/@import url\([^)]*\);?/g, '');
}
