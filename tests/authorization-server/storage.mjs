// Where oidc-provider keeps its things. Its own memory store forgets all but the newest thousand.

export class Storage {
  #models = new Map();
  #members = new Map();

  constructor({consumes, onStored}) {
    this.consumes = consumes;
    this.onStored = onStored;
    this.adapter = (model) => new Adapter(this, model);
  }

  of(model) {
    if (!this.#models.has(model)) this.#models.set(model, new Map());
    return this.#models.get(model);
  }

  remember(grantId, model, id) {
    if (!this.#members.has(grantId)) this.#members.set(grantId, new Map());
    this.#members.get(grantId).set(id, model);
  }

  revoke(grantId) {
    for (const [id, model] of this.#members.get(grantId) ?? []) this.of(model).delete(id);
    this.#members.delete(grantId);
  }
}

// Expired things stay: oidc-provider looks at the time itself, and tests are short.
class Adapter {
  constructor(storage, model) {
    this.storage = storage;
    this.model = model;
    this.entries = storage.of(model);
  }

  async upsert(id, payload) {
    this.entries.set(id, payload);
    if (payload.grantId && this.model !== 'Grant') this.storage.remember(payload.grantId, this.model, id);
    this.storage.onStored(this.model, id, payload);
  }

  async find(id) {
    return this.entries.get(id);
  }

  async findByUid(uid) {
    return this.#findBy('uid', uid);
  }

  async findByUserCode(userCode) {
    return this.#findBy('userCode', userCode);
  }

  #findBy(name, value) {
    for (const payload of this.entries.values()) {
      if (payload[name] === value) return payload;
    }
    return undefined;
  }

  async consume(id) {
    const payload = this.entries.get(id);
    if (payload && this.storage.consumes(this.model, payload)) payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    this.entries.delete(id);
  }

  async revokeByGrantId(grantId) {
    this.storage.revoke(grantId);
  }
}
