// What every token request passes through: it is counted, logged and, when a test asked for it, spoiled.
import {createHash} from 'node:crypto';
import {EventEmitter} from 'node:events';

import {Faults} from './faults.mjs';

// Parameters whose values are credentials: the log holds their hash.
const SECRET_PARAMETERS = ['refresh_token', 'client_secret', 'client_assertion', 'code', 'code_verifier', 'device_code', 'password', 'assertion'];
const LOG_LIMIT = 50_000;

export const hash = (value) => `sha256:${createHash('sha256').update(value).digest('hex')}`;

export class Front {
  constructor(settings) {
    this.settings = settings;
    this.faults = new Faults();
    this.log = [];
    this.changes = new EventEmitter().setMaxListeners(0);
    this.authorizations = [];
    this.polls = new Map();
    this.pages = new Map(); // by path: {status, headers, body, repeat, trickle}, served instead of what is there
    this.asked = new Map(); // by path: how many GETs
    this.counters = {requests: 0, tokenRequests: 0, refreshRequests: 0, answered: 0, open: 0};
    this.grants = new Map();
    this.handle = (request, response) => this.#handle(request, response);
  }

  serve(backend) {
    this.backend = backend;
    backend.onKilled = (grantId) => this.grant(grantId).killedByReplay++;
  }

  // The counts of one grant. `maxOverlapping` above 1 means that two refreshes of it were under way at the same time.
  grant(grantId) {
    let counts = this.grants.get(grantId);
    if (!counts) {
      counts = {requests: 0, overlapping: 0, maxOverlapping: 0, answered200: 0, killedByReplay: 0};
      this.grants.set(grantId, counts);
    }
    return counts;
  }

  // Resolves when `reached()` is true, which is looked at after every event of a token request.
  until(reached, milliseconds) {
    return new Promise((resolve) => {
      const finish = (result) => {
        clearTimeout(timer);
        this.changes.off('change', look);
        resolve(result);
      };
      const look = () => reached() && finish(true);
      const timer = setTimeout(() => finish(false), milliseconds);
      this.changes.on('change', look);
      look();
    });
  }

  async #handle(request, response) {
    this.counters.requests++;
    const [path, query] = request.url.split('?');
    if (path === '/auth') this.authorizations.push({number: this.authorizations.length + 1, parameters: Object.fromEntries(new URLSearchParams(query))});
    this.asked.set(path, (this.asked.get(path) ?? 0) + 1);
    this.changes.emit('change');
    const page = request.method === 'GET' && this.pages.get(path);
    if (page) return answer({repeat: 1, trickle: 0, headers: {}, ...page}, response);
    if (request.method !== 'POST' || path !== '/token') return this.backend.handle(request, response);
    const body = await readAll(request);
    if (body === undefined) return; // the client went away while it was sending
    // oidc-provider reads the stream itself unless it finds the body here.
    request.body = body;
    const call = this.#describe(request, body);
    this.#count(call, response);
    const fault = this.faults.take(call);
    call.entry.fault = fault?.id;
    this.changes.emit('change');
    if (!fault && this.#polledTooSoon(call)) {
      return answer({status: 400, headers: {'content-type': 'application/json'}, body: '{"error":"slow_down"}', repeat: 1}, response);
    }
    if (!fault) return this.backend.handle(request, response, call.parameters);
    await this.#spoil(fault, request, response, call);
  }

  #describe(request, body) {
    const parameters = Object.fromEntries(new URLSearchParams(body));
    const [scheme, credentials] = (request.headers.authorization ?? '').split(' ');
    const clientId = parameters.client_id ?? (scheme === 'Basic' ? userOf(credentials) : undefined);
    const {refresh_token: refreshToken, code, code_verifier: verifier, device_code: deviceCode, client_assertion: assertion} = parameters;
    // Of an assertion the signature: what stands before it can be guessed.
    for (const secret of [code, verifier, deviceCode, assertion?.split('.').at(-1)]) secret && this.backend.keepSecret?.(secret);
    const grantId = this.backend.grantOf(refreshToken ?? code ?? deviceCode);
    const account = grantId && this.backend.accountOf(grantId);
    const entry = {number: this.counters.tokenRequests + 1, at: Date.now(), clientId, grantId, account, grantType: parameters.grant_type};
    if (this.settings.logRequests) {
      entry.headers = {...request.headers, ...(scheme && {authorization: `${scheme} ${hash(credentials ?? '')}`})};
      entry.parameters = {...parameters};
      for (const name of SECRET_PARAMETERS) {
        if (name in parameters) entry.parameters[name] = hash(parameters[name]);
      }
      this.log.push(entry);
      if (this.log.length > LOG_LIMIT) this.log.shift();
    }
    return {parameters, clientId, refreshToken, grantId, account, grantType: parameters.grant_type, entry};
  }

  // RFC 8628 section 3.5: not sooner than the interval, which grows by 5 s for who does.
  #polledTooSoon({parameters: {device_code: code}, entry}) {
    if (!code || !this.settings.deviceInterval) return false;
    const poll = this.polls.get(code) ?? {last: 0, interval: this.settings.deviceInterval};
    this.polls.set(code, poll);
    entry.tooSoon = entry.at - poll.last < poll.interval * 1000;
    poll.last = entry.at;
    if (entry.tooSoon) poll.interval += 5;
    return entry.tooSoon;
  }

  #count({entry, grantId, parameters}, response) {
    const {counters} = this;
    const grant = grantId === undefined || !parameters.refresh_token ? undefined : this.grant(grantId);
    counters.tokenRequests++;
    counters.open++;
    if (parameters.grant_type === 'refresh_token') counters.refreshRequests++;
    if (grant) {
      grant.requests++;
      grant.overlapping++;
      grant.maxOverlapping = Math.max(grant.maxOverlapping, grant.overlapping);
    }
    let over = false;
    const end = (delivered) => {
      if (over) return;
      over = true;
      counters.open--;
      if (grant) grant.overlapping--;
      if (delivered) {
        entry.status = response.statusCode;
        counters.answered++;
        if (grant && response.statusCode === 200) grant.answered200++;
      }
      this.changes.emit('change');
    };
    // `finish`: the answer went to the kernel. `close` alone: nobody got one.
    response.once('finish', () => end(!response.dropped));
    response.once('close', () => end(false));
  }

  async #spoil(fault, request, response, {parameters}) {
    if (fault.step === 'before') {
      await this.#pause(fault);
      if (fault.action === 'drop') return request.socket.destroy();
      if (fault.action === 'answer') return answer(fault, response);
      return this.backend.handle(request, response, parameters);
    }
    // After processing: the provider has rotated, and what it says is held back here.
    const end = response.end.bind(response);
    const held = new Promise((resolve) => {
      response.end = (...data) => {
        resolve(data);
        return response;
      };
    });
    this.backend.handle(request, response, parameters);
    const data = await held;
    await this.#pause(fault);
    if (fault.action === 'drop') {
      response.dropped = true;
      return request.socket.destroy();
    }
    response.end = end;
    if (fault.action === 'answer') {
      for (const name of response.getHeaderNames()) response.removeHeader(name);
      return answer(fault, response);
    }
    if (fault.action === 'amend') {
      const body = Buffer.from(JSON.stringify({...JSON.parse(data[0]), ...fault.fields}));
      response.setHeader('content-length', body.length);
      return end(body);
    }
    end(...data);
  }

  async #pause(fault) {
    if (fault.delay) await new Promise((resolve) => setTimeout(resolve, fault.delay));
    if (fault.hang) {
      fault.held++;
      this.changes.emit('change');
      await fault.released;
      fault.held--;
    }
  }
}

// RFC 6749 section 2.3.1: both halves of the Basic credentials are form-encoded.
function userOf(credentials = '') {
  return new URLSearchParams(`user=${Buffer.from(credentials, 'base64').toString().split(':')[0]}`).get('user');
}

async function readAll(request) {
  const chunks = [];
  try {
    for await (const chunk of request.iterator({destroyOnReturn: false})) chunks.push(chunk);
  } catch {
    return undefined;
  }
  return Buffer.concat(chunks).toString();
}

// Sends exactly what the fault says: no header is added but Date, Connection and Content-Length.
async function answer({status, headers, body, repeat, trickle}, response) {
  response.writeHead(status, headers);
  for (let index = 0; index < repeat; index++) {
    if (response.destroyed) return;
    response.write(body);
    if (trickle) await new Promise((resolve) => setTimeout(resolve, trickle));
  }
  response.end();
}
