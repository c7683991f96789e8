//! `import`: from the token file of another tool to manifests on standard output, ready for `kubectl apply`.
//!
//! Each format is read by what its tool writes. Nothing is decrypted that a person's key protects: such files are recognised and answered with what to do.
//! A refresh token in two hands is dangerous where the server replaces it, so the last word is always that the other tool has to stop.

mod account;
mod emailproxy;
mod json;
mod manifests;
mod pizauth;

#[cfg(test)]
mod tests;

use account::Account;
use json::{Json, Shape};
use pizauth::NoDump;

use super::arguments::{ImportArguments, Tool};
use super::exit::{Exit, Problem};
use super::files;
use super::terminal::{print, tell};
use crate::api::Rotation;
use crate::provider::Catalogue;

/// Reads the file and prints manifests.
pub(super) fn run(arguments: &ImportArguments, namespace: Option<&str>) -> Result<Exit, Problem> {
    let file = files::read(&arguments.file)?;
    let imported = import(&file, arguments, namespace).map_err(|what| Problem::new(Exit::Found, what))?;
    for note in &imported.notes {
        tell(&format!("Note: {note}"));
    }
    print(&imported.yaml);
    Ok(Exit::Fine)
}

struct Imported {
    yaml: String,
    notes: Vec<String>,
}

/// What a file becomes. Errors are sentences, and never quote the file.
fn import(file: &[u8], arguments: &ImportArguments, namespace: Option<&str>) -> Result<Imported, String> {
    let catalogue = Catalogue::built_in().map_err(ToString::to_string)?;
    let (tool, accounts) = read(file, arguments.from)?;
    let chosen = choose(accounts, arguments)?;
    let mut imported = Imported {
        yaml: format!(
            "# Made by kubectl emailasset import of what {} keeps. It holds secrets: apply it, and do not commit it.\n",
            tool.name()
        ),
        notes: Vec::new(),
    };
    for account in chosen {
        let made = manifests::manifests(account, arguments, namespace, catalogue)?;
        if !arguments.sign_in {
            let warning = tool.second_hand(made.rotation);
            if !imported.notes.contains(&warning) {
                imported.yaml.extend(["# ", &warning, "\n"]);
                imported.notes.push(warning);
            }
        }
        imported.notes.extend(made.notes);
        imported.yaml.push_str(&made.yaml);
    }
    Ok(imported)
}

impl Tool {
    const fn name(self) -> &'static str {
        match self {
            Self::Auto => "another tool",
            Self::MuttOauth2 => "mutt_oauth2.py",
            Self::Pizauth => "pizauth",
            Self::SaslXoauth2 => "sasl-xoauth2",
            Self::EmailOauth2Proxy => "email-oauth2-proxy",
            Self::GoogleAuthorizedUser => "a Google client library",
        }
    }

    /// What it means that the refresh token is in two hands now.
    fn second_hand(self, rotation: Rotation) -> String {
        let name = self.name();
        match rotation {
            Rotation::Strict => format!(
                "Stop {name} before you apply this: the server replaces the refresh token with each use, and when the old one is used again it ends the sign-in for both."
            ),
            Rotation::Soft => format!(
                "Stop {name} soon: the server gives each of the two a refresh token of its own, and nobody would look after the one that {name} has."
            ),
            Rotation::None => {
                format!(
                    "{name} can go on: the server lets both use the same refresh token. Whoever revokes it, revokes it for both."
                )
            }
        }
    }
}

fn read(file: &[u8], from: Tool) -> Result<(Tool, Vec<Account>), String> {
    if let Some(encrypted) = encryption(file) {
        return Err(encrypted.to_owned());
    }
    if matches!(from, Tool::Auto | Tool::Pizauth) {
        match pizauth::accounts(file) {
            Ok(accounts) => return Ok((Tool::Pizauth, accounts)),
            Err(NoDump::UnknownForm) => {
                return Err("The file is a dump of pizauth, in a form that is not known here (only its dump version 1 is). Run this again with the configuration of another tool, or let the person sign in anew: kubectl emailasset authorize.".to_owned());
            }
            Err(NoDump::NotPizauth) if from == Tool::Pizauth => {
                return Err("The file is not what `pizauth dump` writes. If it was encrypted after that (with age or gpg, as its examples do), decrypt it first and give the result as -.".to_owned());
            }
            Err(NoDump::NotPizauth) => {}
        }
    }
    let text = std::str::from_utf8(file).map_err(|_| {
        "The file is neither text nor a dump of pizauth. If it is encrypted, decrypt it first and give the result as -."
            .to_owned()
    })?;
    let wanted = |tool: Tool| from == Tool::Auto || from == tool;
    if wanted(Tool::EmailOauth2Proxy) && emailproxy::looks_like_it(text) {
        return Ok((Tool::EmailOauth2Proxy, emailproxy::accounts(text)));
    }
    let unknown = || {
        format!(
            "The file is not what {} writes.{}",
            if from == Tool::Auto {
                "any of the known tools"
            } else {
                from.name()
            },
            if from == Tool::Auto {
                " Known are mutt_oauth2.py, pizauth dump, sasl-xoauth2, email-oauth2-proxy and Google's authorized_user."
            } else {
                ""
            }
        )
    };
    let json = Json::read(text).ok_or_else(unknown)?;
    let (tool, shape) = match (json.shape(), from) {
        (Shape::GoogleClient, _) => {
            return Err(
                "The file is an OAuth client as Google's console downloads it, without a token. Use it as it is: kubectl create secret generic NAME \
                 --from-file=client_secret.json=FILE, name that in spec.oauth2.clientCredentialsRef, and let the person sign in with grant AuthorizationCode."
                    .to_owned(),
            );
        }
        (Shape::Mutt, Tool::Auto | Tool::MuttOauth2) => (Tool::MuttOauth2, Shape::Mutt),
        (Shape::GoogleUser, Tool::Auto | Tool::GoogleAuthorizedUser) => (Tool::GoogleAuthorizedUser, Shape::GoogleUser),
        (Shape::Sasl, Tool::Auto | Tool::SaslXoauth2) => (Tool::SaslXoauth2, Shape::Sasl),
        _ => return Err(unknown()),
    };
    Ok((tool, vec![json.account(shape)]))
}

/// What to do about a file that is encrypted with a person's key, if it is.
fn encryption(file: &[u8]) -> Option<&'static str> {
    const GPG: &str = "The file is encrypted with GnuPG, as mutt_oauth2.py keeps it. Decrypt it into a pipe, so that it touches no disk:\n  gpg --decrypt FILE | kubectl \
                       emailasset import --from mutt_oauth2 --email … -";
    const AGE: &str = "The file is encrypted with age. Decrypt it into a pipe, so that it touches no disk:\n  age --decrypt -i KEY FILE | kubectl emailasset import --email … -";
    if file.starts_with(b"-----BEGIN PGP MESSAGE-----") {
        return Some(GPG);
    }
    if file.starts_with(b"age-encryption.org/") || file.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") {
        return Some(AGE);
    }
    // RFC 9580 section 4.2: the first packet of a message that is encrypted to a key (tag 1) or a passphrase (tag 3), in the old and the new form.
    let first = *file.first()?;
    let tag = match first {
        0xc0.. => first & 0x3f,
        0x80..0xc0 => (first >> 2) & 0x0f,
        _ => return None,
    };
    let is_binary = std::str::from_utf8(file).is_err();
    // A dump of pizauth begins with random bytes; it is told apart by opening it.
    let is_message = is_binary && matches!(tag, 1 | 3) && pizauth::accounts(file).err() == Some(NoDump::NotPizauth);
    is_message.then_some(GPG)
}

fn choose(accounts: Vec<Account>, arguments: &ImportArguments) -> Result<Vec<Account>, String> {
    let labels: Vec<String> = accounts.iter().filter_map(|account| account.label.clone()).collect();
    let listed = labels.join(", ");
    let several = accounts.len() > 1;
    let wanted = |account: &Account| match (&arguments.account, &arguments.email) {
        (Some(label), _) => account.label.as_ref() == Some(label),
        (None, Some(email)) if several => account.email.as_ref() == Some(email),
        _ => true,
    };
    let chosen: Vec<Account> = accounts.into_iter().filter(wanted).collect();
    match chosen.len() {
        0 if listed.is_empty() => Err("The file holds no account.".to_owned()),
        0 => Err(format!(
            "The file has no such account. It has: {listed}. Choose one with --account, and say whose mailbox it is with --email."
        )),
        1 => Ok(chosen),
        _ if arguments.name.is_some() => Err(format!(
            "The file holds several accounts ({listed}), and --name names one: choose it with --account."
        )),
        _ => Ok(chosen),
    }
}
