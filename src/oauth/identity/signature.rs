//! Signatures of ID tokens (RFC 7515) by the keys of their issuer (RFC 7517, 7518, 8037), checked by ring.
//!
//! The list of algorithms is ours, never the token's: `none` and the HS family, where our own client secret would be the key, are not on it. A key is used only for
//! what its type, `use`, `alg` and `key_ops` say.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde_json::{Map, Value};

use crate::oauth::answer::{self, text};

/// Longer tokens are not looked at. Microsoft's largest are a few kilobytes.
const LONGEST: usize = 64 * 1024;

/// Issuers have two to twenty keys.
const MOST_KEYS: usize = 100;

/// An ID token taken apart. Nothing in it is proven.
pub(super) struct Token<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    algorithm: &'static Algorithm,
    key_id: Option<String>,
    claims: Map<String, Value>,
}

/// Why a token cannot be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// It is no signed token.
    Malformed(&'static str),
    /// It is signed in a way that proves nothing, or that we do not know.
    Algorithm(String),
    /// No key of the issuer has its ID.
    UnknownKey,
    /// The signature is of somebody else, or the token was changed.
    Signature,
}

/// A way to sign.
struct Algorithm {
    name: &'static str,
    key: Key,
}

/// What a way to sign needs.
enum Key {
    Rsa(&'static RsaParameters),
    /// Curve, bytes of a coordinate, and how it is checked.
    Ec(&'static str, usize, &'static (dyn VerificationAlgorithm + Sync)),
    Ed25519,
}

const fn rsa(name: &'static str, parameters: &'static RsaParameters) -> Algorithm {
    Algorithm {
        name,
        key: Key::Rsa(parameters),
    }
}

/// RSA keys of 2048 bits and more.
#[rustfmt::skip]
static ALGORITHMS: [Algorithm; 9] = [
    rsa("RS256", &signature::RSA_PKCS1_2048_8192_SHA256),
    rsa("RS384", &signature::RSA_PKCS1_2048_8192_SHA384),
    rsa("RS512", &signature::RSA_PKCS1_2048_8192_SHA512),
    rsa("PS256", &signature::RSA_PSS_2048_8192_SHA256),
    rsa("PS384", &signature::RSA_PSS_2048_8192_SHA384),
    rsa("PS512", &signature::RSA_PSS_2048_8192_SHA512),
    Algorithm { name: "ES256", key: Key::Ec("P-256", 32, &signature::ECDSA_P256_SHA256_FIXED) },
    Algorithm { name: "ES384", key: Key::Ec("P-384", 48, &signature::ECDSA_P384_SHA384_FIXED) },
    Algorithm { name: "EdDSA", key: Key::Ed25519 },
];

impl<'a> Token<'a> {
    /// Takes a token apart.
    pub(super) fn parse(token: &'a str) -> Result<Self, Problem> {
        if token.len() > LONGEST {
            return Err(Problem::Malformed("it is longer than 64 KiB"));
        }
        let no_parts = Problem::Malformed("it has not the three parts of a signed token");
        let (signed, signature) = token.rsplit_once('.').ok_or(no_parts.clone())?;
        let (header, claims) = signed
            .split_once('.')
            .filter(|(_, claims)| !claims.contains('.'))
            .ok_or(no_parts)?;
        let header = part(header).ok_or(Problem::Malformed("its header cannot be read"))?;
        let claims = part(claims).ok_or(Problem::Malformed("its claims cannot be read"))?;
        if header.contains_key("crit") {
            return Err(Problem::Malformed("its header asks for extensions that are not known"));
        }
        let name = text(&header, "alg").unwrap_or_default();
        let algorithm = ALGORITHMS.iter().find(|algorithm| algorithm.name == name);
        Ok(Self {
            signed,
            signature: URL_SAFE_NO_PAD
                .decode(signature)
                .map_err(|_| Problem::Malformed("its signature cannot be read"))?,
            algorithm: algorithm.ok_or_else(|| Problem::Algorithm(super::shown(name)))?,
            key_id: text(&header, "kid").map(str::to_owned),
            claims,
        })
    }

    /// The claims, once one of the issuer's keys is shown to have signed them. `fits` says whether a key may sign for the issuer that these claims name.
    pub(super) fn verify(
        &self,
        keys: &Map<String, Value>,
        fits: impl Fn(&Map<String, Value>, &Map<String, Value>) -> bool,
    ) -> Result<&Map<String, Value>, Problem> {
        let keys = keys.get("keys").and_then(Value::as_array).into_iter().flatten();
        let mut known = keys
            .filter_map(Value::as_object)
            .take(MOST_KEYS)
            .filter(|key| self.key_id.is_none() || text(key, "kid") == self.key_id.as_deref())
            .filter(|key| self.algorithm.may_use(key) && fits(key, &self.claims))
            .peekable();
        if known.peek().is_none() {
            return Err(Problem::UnknownKey);
        }
        if known.any(|key| {
            self.algorithm
                .check(key, self.signed.as_bytes(), &self.signature)
                .is_some()
        }) {
            return Ok(&self.claims);
        }
        Err(Problem::Signature)
    }
}

impl Algorithm {
    /// Whether the key says that it is for this.
    fn may_use(&self, key: &Map<String, Value>) -> bool {
        let says = |name: &str, wanted: &str| text(key, name).is_none_or(|found| found == wanted);
        let verifies = key.get("key_ops").is_none_or(|operations| {
            operations
                .as_array()
                .is_some_and(|list| list.iter().any(|name| name == "verify"))
        });
        let kind = match self.key {
            Key::Rsa(_) => text(key, "kty") == Some("RSA"),
            Key::Ec(curve, ..) => text(key, "kty") == Some("EC") && text(key, "crv") == Some(curve),
            Key::Ed25519 => text(key, "kty") == Some("OKP") && text(key, "crv") == Some("Ed25519"),
        };
        kind && says("use", "sig") && says("alg", self.name) && verifies
    }

    /// Some if the key made the signature.
    fn check(&self, key: &Map<String, Value>, signed: &[u8], signature: &[u8]) -> Option<()> {
        match self.key {
            Key::Rsa(parameters) => {
                let components = RsaPublicKeyComponents {
                    n: number(key, "n")?,
                    e: number(key, "e")?,
                };
                components.verify(parameters, signed, signature).ok()
            }
            Key::Ec(_, size, algorithm) => {
                let mut point = vec![0x04];
                for coordinate in ["x", "y"] {
                    point.extend(bytes(key, coordinate).filter(|bytes| bytes.len() == size)?);
                }
                UnparsedPublicKey::new(algorithm, point).verify(signed, signature).ok()
            }
            Key::Ed25519 => UnparsedPublicKey::new(&signature::ED25519, bytes(key, "x")?)
                .verify(signed, signature)
                .ok(),
        }
    }
}

fn part(text: &str) -> Option<Map<String, Value>> {
    answer::json_object(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

fn bytes(key: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text(key, name)?).ok()
}

/// A number without the zeros in front that some servers write and ring does not take.
fn number(key: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    let bytes = bytes(key, name)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).map(<[u8]>::to_vec)
}
