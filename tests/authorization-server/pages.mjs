// What stands around oidc-provider's own pages and answers: who may log in, and the twists that tests ask for.
import {generateKeyPairSync, sign} from 'node:crypto';

import {overlaid} from './twists.mjs';

// Middleware for the provider, outermost first.
export const around = ({provider, people, twists, settings, keys, keepSecret, noteResponse}) => [
  withoutOutsideFonts,
  deviceInterval(settings),
  loginByAddress(people),
  consent(provider, people, twists),
  authorizationAnswer(twists, noteResponse),
  tokenAnswer(people, twists, keys, keepSecret),
  userinfo(people, twists),
];

// The stock pages import a web font; a test must not reach outside.
async function withoutOutsideFonts(ctx, next) {
  await next();
  if (typeof ctx.body === 'string') ctx.body = ctx.body.replace(/@import url\([^)]*\);?/g, '');
}

// oidc-provider tells no `interval` (RFC 8628 section 3.2), most providers do. front.mjs holds clients to it.
const deviceInterval = (settings) => async (ctx, next) => {
  await next();
  if (ctx.path === '/device/auth' && ctx.status === 200 && settings.deviceInterval) ctx.body.interval = settings.deviceInterval;
};

// The stock login page takes any name. Ours takes those of registered accounts, whoever the client hinted at: people do
// sign in with the wrong account.
const loginByAddress = (people) => async (ctx, next) => {
  const form = await submitted(ctx);
  if (form?.get('prompt') === 'login') {
    const person = people.find(form.get('login').trim());
    if (!person) {
      ctx.status = 400;
      ctx.type = 'html';
      ctx.body = '<!DOCTYPE html><title>Sign-in</title><p class="red">There is no such account.</p><p><a href="">Try again</a></p>';
      return;
    }
    form.set('login', person.sub);
    ctx.req.body = form.toString();
  }
  await next();
};

const consent = (provider, people, twists) => async (ctx, next) => {
  const form = await submitted(ctx);
  if (form?.get('prompt') !== 'consent') return next();
  const {params, session, grantId, prompt} = await provider.interactionDetails(ctx.req, ctx.res);
  const call = {clientId: params.client_id, account: people.claims(session.accountId).email};
  const refusal = twists.take('refuse', call);
  if (refusal) {
    return finish(provider, ctx, {error: refusal.error, error_description: refusal.description});
  }
  const unticked = twists.take('leave-out', call);
  if (!unticked) return next();
  const grant = (grantId && await provider.Grant.find(grantId)) || new provider.Grant({accountId: session.accountId, clientId: params.client_id});
  const missing = prompt.details.missingOIDCScope ?? [];
  grant.addOIDCScope(missing.join(' '));
  grant.rejectOIDCScope(unticked.scopes.join(' '));
  return finish(provider, ctx, {consent: {grantId: await grant.save()}});
};

async function finish(provider, ctx, result) {
  const to = await provider.interactionResult(ctx.req, ctx.res, result, {mergeWithLastSubmission: !result.error});
  ctx.status = 303;
  ctx.redirect(to);
}

// Spoils the `iss` of the redirect to the client, and notes where the browser is sent.
const authorizationAnswer = (twists, noteResponse) => async (ctx, next) => {
  await next();
  const location = ctx.response.get('location');
  if (!ctx.path.startsWith('/auth') || !location || !URL.canParse(location)) return;
  const to = new URL(location);
  if (to.searchParams.has('code')) {
    const twist = twists.take('answer', {clientId: ctx.oidc?.client?.clientId});
    if (twist?.issuer === null) to.searchParams.delete('iss');
    else if (twist) to.searchParams.set('iss', twist.issuer);
    if (twist) ctx.redirect(to.href);
  }
  if (to.searchParams.has('state')) noteResponse(to.href);
};

const tokenAnswer = (people, twists, keys, keepSecret) => async (ctx, next) => {
  await next();
  if (ctx.path !== '/token' || !ctx.body?.id_token) return;
  const [header, payload] = ctx.body.id_token.split('.').slice(0, 2).map(decoded);
  const twist = twists.take('id-token', {clientId: ctx.oidc.client.clientId, account: people.claims(payload.sub).email});
  if (twist) ctx.body.id_token = signed(header, overlaid(payload, twist.claims), twist.key, keys);
  // Two of its three parts are what anybody may know.
  keepSecret(ctx.body.id_token.split('.')[2]);
};

const userinfo = (people, twists) => async (ctx, next) => {
  await next();
  if (ctx.path !== '/me' || ctx.status !== 200) return;
  const twist = twists.take('userinfo', {clientId: ctx.oidc.client.clientId, account: people.claims(ctx.body.sub).email});
  if (!twist) return;
  ctx.body = overlaid(ctx.body, twist.claims);
  if (twist.status) {
    ctx.status = twist.status;
    ctx.body = {error: 'temporarily_unavailable'};
  }
};

// The form of an interaction page. The stream is read here, so oidc-provider is told what was in it.
async function submitted(ctx) {
  if (ctx.method !== 'POST' || !ctx.path.startsWith('/interaction/')) return undefined;
  if (ctx.req.body === undefined) {
    const chunks = [];
    for await (const chunk of ctx.req) chunks.push(chunk);
    ctx.req.body = Buffer.concat(chunks).toString();
  }
  return new URLSearchParams(ctx.req.body);
}

const decoded = (part) => JSON.parse(Buffer.from(part, 'base64url'));
const encoded = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

function signed(header, payload, choice, keys) {
  const strange = () => (header.alg === 'ES256' ? generateKeyPairSync('ec', {namedCurve: 'P-256'}) : generateKeyPairSync('rsa', {modulusLength: 2048})).privateKey;
  const key = choice ? strange() : keys[header.alg];
  const input = `${encoded({...header, ...(choice === 'unknown' && {kid: 'nobody-knows'})})}.${encoded(payload)}`;
  return `${input}.${sign('sha256', Buffer.from(input), {key, dsaEncoding: 'ieee-p1363'}).toString('base64url')}`;
}
