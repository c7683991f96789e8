// The faults that tests ask for, each for the next N token requests that it fits.

export class Faults {
  #faults = new Map();
  #next = 1;

  // A fault that fits: `match` is {clientId, grantId, account, refreshToken, grantType}, each optional.
  //
  //   step     before | after: whether the server has done its work (and rotated) when the fault strikes
  //   action   continue | drop | answer | amend: go on as usual, cut the connection, send `status`, `headers` and `body`, lay `fields` over the server's own JSON
  //   delay    milliseconds to wait first
  //   hang     wait until released
  //   repeat   send the body so many times; `trickle` milliseconds apart
  //   times    how many requests it strikes; null for all
  add({match = {}, times = 1, step = 'before', action = 'continue', delay = 0, hang = false, status = 500, headers = {}, body = '', repeat = 1, trickle = 0, fields = {}}) {
    if (!['before', 'after'].includes(step)) throw new Error(`step is before or after, not ${step}`);
    if (!['continue', 'drop', 'answer', 'amend'].includes(action)) throw new Error(`action is continue, drop, answer or amend, not ${action}`);
    if (action === 'amend' && step !== 'after') throw new Error('there is nothing to amend before');
    const fault = {id: this.#next++, match, times: times ?? Infinity, step, action, delay, hang, status, headers, body, repeat, trickle, fields, hits: 0, held: 0};
    fault.released = new Promise((resolve) => (fault.release = resolve));
    this.#faults.set(fault.id, fault);
    return fault;
  }

  take(call) {
    for (const fault of this.#faults.values()) {
      if (fault.hits < fault.times && Object.entries(fault.match).every(([name, value]) => value == null || call[name] === value)) {
        fault.hits++;
        return fault;
      }
    }
    return undefined;
  }

  get(id) {
    const fault = this.#faults.get(Number(id));
    if (!fault) throw new Error(`there is no fault ${id}`);
    return fault;
  }

  // Ends a fault; requests that it holds go on.
  remove(id) {
    const fault = this.get(id);
    this.#faults.delete(fault.id);
    fault.release();
    return fault;
  }

  clear() {
    for (const id of [...this.#faults.keys()]) this.remove(id);
  }
}

export const describe = ({id, hits, held, times}) => ({id, hits, held, times: Number.isFinite(times) ? times : null});
