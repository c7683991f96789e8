// What shall be out of the ordinary in sign-ins: each twist for the next `times` that it fits, null for all.
//
//   refuse          {error, description}: what the provider answers although the person consents
//   leave-out       {scopes}: what the person leaves unticked
//   answer          {issuer}: the `iss` of the authorization response (RFC 9207); null for none
//   no-refresh-token
//   id-token        {claims, key}: claims laid over the real ones, null to leave one out; key `unknown` (not in the JWKS)
//                   or `forged` (signed by another key than the one it names)
//   userinfo        {claims} laid over the real ones, or {status}: an error
//
// `match` is {clientId, account}, each optional; the account by its address.
const KINDS = ['refuse', 'leave-out', 'answer', 'no-refresh-token', 'id-token', 'userinfo'];

export class Twists {
  #twists = [];

  add({kind, match = {}, times = 1, ...what}) {
    if (!KINDS.includes(kind)) throw new Error(`kind is one of ${KINDS.join(', ')}, not ${kind}`);
    const twist = {kind, match, times: times ?? Infinity, hits: 0, ...what};
    this.#twists.push(twist);
    return twist;
  }

  take(kind, call) {
    const fits = (twist) => twist.kind === kind && twist.hits < twist.times
      && Object.entries(twist.match).every(([name, value]) => value == null || call[name] === value);
    const twist = this.#twists.find(fits);
    if (twist) twist.hits++;
    return twist;
  }

  clear() {
    this.#twists = [];
  }
}

// Claims with others laid over them; null leaves one out.
export function overlaid(claims, over = {}) {
  return Object.fromEntries(Object.entries({...claims, ...over}).filter(([, value]) => value !== null));
}
