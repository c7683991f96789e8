//! Assertions: short-lived claims, signed with a private key, that a token endpoint takes in place of a client secret (RFC 7523 section 2.2) or of a person's consent
//! (section 2.1).
//!
//! A key is read once, when its Secret is, and found usable or refused with words for people ([`KeyProblem`]); nothing of it is ever printed. rustls reads and signs,
//! so the keys that work here are the ones that work for TLS: RSA of 2048 to 4096 bits, and EC on P-256. `jsonwebtoken` would need as many lines of glue on ring,
//! and knows neither SEC1 keys nor certificates that do not match.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::digest;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::Url;

use crate::provider::Endpoints;

/// Assertions begin to be good this many seconds ago: the server's clock may be behind ours.
const BACKDATED: i64 = 30;
/// How long a client's assertion is good, in seconds. Servers ask for minutes at most (learn.microsoft.com: certificate credentials, 5 to 10 minutes).
const CLIENT_LIFETIME: i64 = 300;
/// How long an assertion for a mailbox is good where nothing is known of the server: what Google takes at most (developers.google.com: OAuth 2.0 for service accounts).
const BEARER_LIFETIME: SignedDuration = SignedDuration::from_hours(1);

/// A private key that signs assertions. Cheap to clone; it prints as its algorithm.
#[derive(Clone)]
pub struct SigningKey(Arc<Inner>);

struct Inner {
    key: Arc<dyn rustls::sign::SigningKey>,
    algorithm: Algorithm,
    key_id: Option<String>,
    certificate: Option<Thumbprints>,
}

/// How a key signs (RFC 7518 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Rs256,
    Es256,
}

/// A certificate as a header names it (RFC 7515 sections 4.1.7 and 4.1.8).
struct Thumbprints {
    sha1: String,
    sha256: String,
}

/// What is wrong with a key or its certificate. The words follow the name of the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// There is no private key.
    #[error(
        "holds no private key: expected PEM with a block that begins with -----BEGIN PRIVATE KEY-----, -----BEGIN RSA PRIVATE KEY----- or -----BEGIN EC PRIVATE KEY-----, found {found}"
    )]
    NoKey {
        /// What is there instead.
        found: String,
    },
    /// It needs a passphrase.
    #[error(
        "is encrypted with a passphrase, which the operator does not have: expected the key in plain PEM, as `openssl pkey -in encrypted.key -out tls.key` writes it"
    )]
    Encrypted,
    /// It is a key, and not one that can sign here.
    #[error(
        "cannot be used: expected a whole RSA key of 2048 to 4096 bits, or an EC key on curve P-256 with its public part, found {found}"
    )]
    Unsupported {
        /// What kind of key it is.
        found: &'static str,
    },
    /// There is no certificate.
    #[error(
        "holds no certificate: expected PEM with a block that begins with -----BEGIN CERTIFICATE-----, found {found}"
    )]
    NoCertificate {
        /// What is there instead.
        found: String,
    },
    /// The certificate cannot be read.
    #[error("cannot be read as an X.509 certificate: expected the certificate of the private key, in PEM")]
    BadCertificate,
    /// The certificate is another key's.
    #[error(
        "belongs to another private key: expected the certificate of the very key beside it (the first one, where there are several)"
    )]
    Mismatch,
}

impl SigningKey {
    /// Reads a private key in PEM form: PKCS#8, PKCS#1 or SEC1.
    ///
    /// # Errors
    /// [`KeyProblem`], about the key.
    pub fn from_pem(pem: &SecretString) -> Result<Self, KeyProblem> {
        let pem = pem.expose_secret();
        if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(KeyProblem::Encrypted);
        }
        let der =
            PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyProblem::NoKey { found: blocks(pem) })?;
        let key = rustls::crypto::ring::sign::any_supported_type(&der).map_err(|_| KeyProblem::Unsupported {
            found: unreadable(&der),
        })?;
        Ok(Self(Arc::new(Inner {
            algorithm: algorithm(key.as_ref())?,
            key,
            key_id: None,
            certificate: None,
        })))
    }

    /// The same key with the certificate that the server knows it by, the first of those in this PEM.
    ///
    /// # Errors
    /// [`KeyProblem`], about the certificate.
    pub fn with_certificate(&self, pem: &str) -> Result<Self, KeyProblem> {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| KeyProblem::NoCertificate { found: blocks(pem) })?;
        let thumbprint = |algorithm| URL_SAFE_NO_PAD.encode(digest::digest(algorithm, &certificate));
        let thumbprints = Thumbprints {
            sha1: thumbprint(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            sha256: thumbprint(&digest::SHA256),
        };
        let pair = CertifiedKey::new(vec![certificate], Arc::clone(&self.0.key));
        match pair.keys_match() {
            Ok(()) => Ok(self.with(|inner| inner.certificate = Some(thumbprints))),
            Err(rustls::Error::InconsistentKeys(_)) => Err(KeyProblem::Mismatch),
            Err(_) => Err(KeyProblem::BadCertificate),
        }
    }

    /// The same key under the name that the server knows it by.
    #[must_use]
    pub fn with_key_id(&self, key_id: &str) -> Self {
        self.with(|inner| inner.key_id = Some(key_id.to_owned()))
    }

    fn with(&self, change: impl FnOnce(&mut Inner)) -> Self {
        let certificate = self.0.certificate.as_ref().map(|known| Thumbprints {
            sha1: known.sha1.clone(),
            sha256: known.sha256.clone(),
        });
        let mut inner = Inner {
            key: Arc::clone(&self.0.key),
            algorithm: self.0.algorithm,
            key_id: self.0.key_id.clone(),
            certificate,
        };
        change(&mut inner);
        Self(Arc::new(inner))
    }

    /// Claims, signed (RFC 7515 section 7.1).
    fn sign(&self, claims: &impl Serialize) -> Result<SecretString, NotSigned> {
        let header = Header {
            alg: self.0.algorithm.as_str(),
            typ: "JWT",
            kid: self.0.key_id.as_deref(),
            x5t: self.0.certificate.as_ref().map(|known| known.sha1.as_str()),
            x5t_s256: self.0.certificate.as_ref().map(|known| known.sha256.as_str()),
        };
        let content = format!("{}.{}", part(&header)?, part(claims)?);
        let signer = self.0.key.choose_scheme(&SCHEMES).ok_or(NotSigned)?;
        let signature = signer.sign(content.as_bytes()).map_err(|_| NotSigned)?;
        let signature = match self.0.algorithm {
            Algorithm::Rs256 => signature,
            Algorithm::Es256 => joined(&signature).ok_or(NotSigned)?,
        };
        Ok(format!("{content}.{}", URL_SAFE_NO_PAD.encode(signature)).into())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.0.algorithm.as_str())
    }
}

/// A service account, as its key file names it.
#[derive(Debug, Clone)]
pub struct ServiceAccount {
    /// Its address, which is the issuer of its assertions.
    pub email: String,
    /// Its key.
    pub key: SigningKey,
}

/// What an assertion for a mailbox looks like at a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxAssertion {
    /// For whom it is (`aud`).
    pub audience: String,
    /// From `iat` to `exp`.
    pub lifetime: SignedDuration,
    /// How far `iat` is set back.
    pub backdate: SignedDuration,
}

impl MailboxAssertion {
    /// As the provider has it; elsewhere for the token endpoint (RFC 7523 section 3).
    #[must_use]
    pub fn at(endpoints: &Endpoints) -> Self {
        match &endpoints.assertion {
            Some(known) => Self {
                audience: known.audience.clone(),
                lifetime: known.lifetime.0,
                backdate: known.backdate.0,
            },
            None => Self {
                audience: endpoints.token_url.to_string(),
                lifetime: BEARER_LIFETIME,
                backdate: SignedDuration::from_secs(BACKDATED),
            },
        }
    }
}

/// A key with which a client proves itself.
#[derive(Debug, Clone)]
pub struct ClientKey {
    /// The key.
    pub key: SigningKey,
    /// For whom its assertions are: the token endpoint, also where another endpoint of the same server is asked (RFC 7523 section 3, rule 3).
    pub audience: Url,
}

/// An assertion could not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key did not sign")]
pub(super) struct NotSigned;

/// The proof of a client that owns this key (RFC 7523 section 2.2; OpenID Connect Core section 9, `private_key_jwt`). `id` is new for each assertion.
pub(super) fn of_client(key: &ClientKey, client_id: &str, id: &str, now: Timestamp) -> Result<SecretString, NotSigned> {
    let begin = now.as_second().saturating_sub(BACKDATED);
    key.key.sign(&ClientClaims {
        iss: client_id,
        sub: client_id,
        aud: key.audience.as_str(),
        jti: id,
        iat: begin,
        nbf: begin,
        exp: begin.saturating_add(CLIENT_LIFETIME),
    })
}

/// The word of a service account that it acts for this mailbox (RFC 7523 section 2.1), with the claims that Google documents and no other.
pub(super) fn for_mailbox(
    account: &ServiceAccount,
    mailbox: &str,
    scopes: &[String],
    form: &MailboxAssertion,
    now: Timestamp,
) -> Result<SecretString, NotSigned> {
    let begin = now.as_second().saturating_sub(form.backdate.as_secs());
    account.key.sign(&BearerClaims {
        iss: &account.email,
        sub: mailbox,
        scope: &scopes.join(" "),
        aud: &form.audience,
        iat: begin,
        exp: begin.saturating_add(form.lifetime.as_secs()),
    })
}

/// A fresh name for an assertion.
pub(super) fn fresh_id() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    /// Entra's documentation named this one for years, together with RS256; `x5t#S256` came later.
    #[serde(skip_serializing_if = "Option::is_none")]
    x5t: Option<&'a str>,
    #[serde(rename = "x5t#S256", skip_serializing_if = "Option::is_none")]
    x5t_s256: Option<&'a str>,
}

#[derive(Serialize)]
struct ClientClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
}

#[derive(Serialize)]
struct BearerClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

fn part(value: &impl Serialize) -> Result<String, NotSigned> {
    let json = serde_json::to_vec(value).map_err(|_| NotSigned)?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

const SCHEMES: [SignatureScheme; 2] = [
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::ECDSA_NISTP256_SHA256,
];

impl Algorithm {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

fn algorithm(key: &dyn rustls::sign::SigningKey) -> Result<Algorithm, KeyProblem> {
    let scheme = key.choose_scheme(&SCHEMES).map(|signer| signer.scheme());
    match (scheme, key.algorithm()) {
        (Some(SignatureScheme::RSA_PKCS1_SHA256), _) => Ok(Algorithm::Rs256),
        (Some(SignatureScheme::ECDSA_NISTP256_SHA256), _) => Ok(Algorithm::Es256),
        (_, SignatureAlgorithm::ECDSA) => Err(KeyProblem::Unsupported {
            found: "an EC key on another curve",
        }),
        (_, SignatureAlgorithm::ED25519) => Err(KeyProblem::Unsupported {
            found: "an Ed25519 key",
        }),
        _ => Err(KeyProblem::Unsupported {
            found: "a key of another kind",
        }),
    }
}

/// What a key is that cannot be read.
fn unreadable(der: &PrivateKeyDer<'_>) -> &'static str {
    let rsa = match der {
        PrivateKeyDer::Pkcs1(der) => ring::rsa::KeyPair::from_der(der.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(der) => ring::rsa::KeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Sec1(_) => return "an EC key on another curve, or without its public part",
        _ => return "something else",
    };
    match rsa.err().map(|error| error.to_string()).as_deref() {
        Some("TooSmall") => "an RSA key of less than 2048 bits",
        Some("TooLarge") => "an RSA key of more than 4096 bits",
        Some("WrongAlgorithm") => "a key of another kind",
        _ => "a key that is damaged or cut short",
    }
}

/// The kinds of PEM blocks in a text, for messages: labels alone, nothing from inside.
fn blocks(text: &str) -> String {
    let labels = text
        .split("-----BEGIN ")
        .skip(1)
        .filter_map(|rest| rest.split_once("-----"));
    let plain = |label: &str| {
        label
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ')
    };
    let labels: Vec<&str> = labels
        .map(|(label, _)| label)
        .filter(|label| label.len() < 40 && plain(label))
        .take(5)
        .collect();
    match (labels.is_empty(), text.trim().starts_with('{')) {
        (false, _) => labels.join(", "),
        (true, true) => "JSON".to_owned(),
        (true, false) => "no PEM block".to_owned(),
    }
}

/// An ECDSA signature as JWS has it: both numbers with 32 bytes each (RFC 7518 section 3.4), from the DER form of two integers.
fn joined(der: &[u8]) -> Option<Vec<u8>> {
    let [0x30, _, rest @ ..] = der else { return None };
    let (r, rest) = integer(rest)?;
    let (s, rest) = integer(rest)?;
    rest.is_empty().then(|| [r, s].concat())
}

/// The first DER integer as 32 bytes, and what follows it.
fn integer(der: &[u8]) -> Option<([u8; 32], &[u8])> {
    let [0x02, length, rest @ ..] = der else { return None };
    let (number, rest) = rest.split_at_checked((*length).into())?;
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = number.get(zeros..)?;
    let mut bytes = [0; 32];
    bytes
        .get_mut(32_usize.checked_sub(number.len())?..)?
        .copy_from_slice(number);
    Some((bytes, rest))
}

#[cfg(test)]
pub(crate) mod tests;
