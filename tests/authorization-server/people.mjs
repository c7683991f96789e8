// Who can sign in. An account has a subject identifier of its own, as at real providers: an address may be given to
// another person later.
import {createHash} from 'node:crypto';

export class People {
  #people = new Map();

  // Registers an account, or changes it. `login` on the sign-in page is its e-mail address, user name or subject.
  add({email, sub, emailVerified = true, preferredUsername = email, name = email?.split('@')[0]}) {
    if (!email) throw new Error('an account has an email');
    const subject = sub ?? createHash('sha256').update(email).digest('hex').slice(0, 20);
    const person = {sub: subject, email, email_verified: emailVerified, preferred_username: preferredUsername, name};
    this.#people.set(subject, person);
    return person;
  }

  // The newest account of an address wins.
  find(login) {
    return this.#people.get(login)
      ?? [...this.#people.values()].reverse().find(({email, preferred_username: user}) => email === login || user === login);
  }

  // Accounts that were minted a token without being registered are called by their address alone.
  claims(sub) {
    return this.#people.get(sub) ?? {sub, email: sub, email_verified: true, preferred_username: sub, name: sub};
  }
}
