// The tests' door: plain HTTP, JSON in and out. A mistake is answered 400 with {error}.
import {describe} from './faults.mjs';

export function serveAdmin({front, backend, settings}) {
  const routes = {
    'GET /settings': () => settings,
    'POST /settings': (changes) => {
      for (const name of Object.keys(changes)) {
        if (!(name in settings)) throw new Error(`there is no setting ${name}; there are ${Object.keys(settings).join(', ')}`);
      }
      return Object.assign(settings, changes);
    },
    'POST /clients': (client) => backend.addClient(client),
    // A key file of a service account; what an admin delegates to it; a key that is deleted.
    'POST /service-accounts/keys': (wish) => backend.delegation.addKey(wish),
    'POST /service-accounts/delegate': (wish) => backend.delegation.delegate(wish),
    'POST /service-accounts/keys/delete': (wish) => backend.delegation.deleteKey(wish),
    'POST /people': (person) => backend.people.add(person),
    'POST /twists': (twist) => {
      backend.twists.add(twist);
      return {};
    },
    'POST /twists/clear': () => {
      backend.twists.clear();
      return {};
    },
    // Authorization requests in a browser. They hold no secret: state, nonce and challenge are hashes or names.
    'POST /authorizations': ({since = 0}) => front.authorizations.filter(({number}) => number > since),
    'GET /responses': () => backend.responses,
    'POST /refresh-tokens': (wish) => backend.mint(wish),
    // Many at once: {count, account: "user-{}@example.com", ...}.
    'POST /refresh-tokens/many': async ({count, account, ...wish}) => {
      const minted = [];
      for (let index = 0; index < count; index++) {
        const name = account.replace('{}', index);
        minted.push({account: name, ...(await backend.mint({...wish, account: name}))});
      }
      return minted;
    },
    'POST /grants/revoke': async ({grantId}) => {
      await backend.revoke(grantId);
      return {};
    },
    'POST /introspect': ({token}) => backend.introspect(token),
    // A page of the tests' own, such as metadata that lie: {path, page: {status, headers, body, repeat, trickle}}; without a page, what is there is served again.
    'POST /pages': ({path, page}) => {
      if (page) front.pages.set(path, page);
      else front.pages.delete(path);
      return {};
    },
    // How often a path was asked for.
    'POST /asked': ({path}) => ({times: front.asked.get(path) ?? 0}),
    'POST /wait/asked': async ({path, times, timeout = 30_000}) => ({
      reached: await front.until(() => (front.asked.get(path) ?? 0) >= times, timeout),
    }),
    'POST /faults': (fault) => describe(front.faults.add(fault)),
    'POST /faults/get': ({id}) => describe(front.faults.get(id)),
    'POST /faults/remove': ({id}) => describe(front.faults.remove(id)),
    'POST /faults/clear': () => {
      front.faults.clear();
      return {};
    },
    'GET /counters': () => ({
      ...front.counters,
      grantsKilledByReplay: [...front.grants.values()].filter(({killedByReplay}) => killedByReplay > 0).length,
      maxOverlapping: Math.max(0, ...[...front.grants.values()].map(({maxOverlapping}) => maxOverlapping)),
    }),
    'GET /grants': () => Object.fromEntries(front.grants),
    'POST /grants/get': ({grantId}) => front.grant(grantId),
    'POST /requests': ({since = 0}) => front.log.filter(({number}) => number > since),
    'GET /secrets': () => backend.secrets(),
    // Long polls, so that no test sleeps: {reached: true} once it is so, false after `timeout` milliseconds.
    'POST /wait/refreshes': async ({count, grantId, timeout = 30_000}) => ({
      reached: await front.until(() => (grantId ? front.grant(grantId).requests : front.counters.refreshRequests) >= count, timeout),
    }),
    'POST /wait/held': async ({id, count = 1, timeout = 30_000}) => ({
      reached: await front.until(() => front.faults.get(id).held >= count, timeout),
    }),
    'POST /wait/idle': async ({timeout = 30_000}) => ({
      reached: await front.until(() => front.counters.open === 0, timeout),
    }),
  };

  return async (request, response) => {
    const reply = (status, body) => {
      response.writeHead(status, {'content-type': 'application/json'});
      response.end(JSON.stringify(body));
    };
    try {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const route = routes[`${request.method} ${request.url}`];
      if (!route) return reply(404, {error: `there is no ${request.method} ${request.url}; there are ${Object.keys(routes).join(', ')}`});
      const body = chunks.length ? JSON.parse(Buffer.concat(chunks)) : {};
      reply(200, await route(body));
    } catch (error) {
      reply(400, {error: error.message});
    }
  };
}
