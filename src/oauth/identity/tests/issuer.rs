//! An issuer for tests: keys made now (RSA aside, which ring cannot make), tokens signed with them, and a server for the documents.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
    RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::{Value, json};

use crate::oauth::tests::server::{Server, Step, ok_json, response};

/// A key that protects nothing.
const RSA: &[u8] = include_bytes!("rsa-2048.pk8");

/// A pair of keys that signs tokens.
pub(super) enum Signer {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair, &'static str),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    pub(super) fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::from_pkcs8(RSA).unwrap())
    }

    pub(super) fn p256() -> Self {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pair.as_ref(), &random).unwrap();
        Self::Ec(pair, "P-256")
    }

    pub(super) fn p384() -> Self {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pair.as_ref(), &random).unwrap();
        Self::Ec(pair, "P-384")
    }

    pub(super) fn ed25519() -> Self {
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap())
    }

    pub(super) fn public(&self) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Self::Ec(pair, _) => pair.public_key().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// The key as it stands in a JWK Set.
    pub(super) fn jwk(&self, id: &str) -> Value {
        match self {
            Self::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "kid": id, "use": "sig", "n": base64(public.n), "e": base64(public.e)})
            }
            Self::Ec(pair, curve) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": curve, "kid": id, "x": base64(x), "y": base64(y)})
            }
            Self::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": base64(pair.public_key().as_ref())})
            }
        }
    }

    /// Signs with the algorithm that the header names.
    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let algorithm = header["alg"].as_str().unwrap();
        let random = SystemRandom::new();
        let signature = match self {
            Self::Rsa(pair) => {
                let encoding: &dyn RsaEncoding = match algorithm {
                    "RS256" => &RSA_PKCS1_SHA256,
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    other => panic!("{other} is not RSA"),
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(encoding, &random, signed.as_bytes(), &mut signature).unwrap();
                signature
            }
            Self::Ec(pair, _) => pair.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", base64(signature))
    }
}

/// As an attacker would sign who knows only what is public, or the client secret.
pub(super) fn sign_with_hmac(secret: &[u8], header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", base64(tag))
}

pub(super) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A server with pages by path; anything else is not found.
pub(super) struct Issuer {
    pub(super) server: Server,
    pages: Arc<Mutex<BTreeMap<String, Step>>>,
    signer: Signer,
}

impl Issuer {
    /// Its one key has the ID `1`, at `/keys`.
    pub(super) async fn start() -> Self {
        let pages = Arc::new(Mutex::new(BTreeMap::<String, Step>::new()));
        let shelf = Arc::clone(&pages);
        let server = Server::answering(move |request| {
            let path = request.split(' ').nth(1).unwrap();
            let page = shelf.lock().unwrap().get(path).cloned();
            Some(page.unwrap_or_else(|| Step::Answer(response("404 Not Found", "", "{}"))))
        })
        .await;
        let issuer = Self {
            server,
            pages,
            signer: Signer::p256(),
        };
        issuer.page("/keys", &json!({"keys": [issuer.signer.jwk("1")]}));
        issuer
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.server.port)
    }

    pub(super) fn page(&self, path: &str, document: &Value) {
        self.step(path, ok_json(&document.to_string()));
    }

    pub(super) fn step(&self, path: &str, step: Step) {
        self.pages.lock().unwrap().insert(path.to_owned(), step);
    }

    /// What OpenID Connect Discovery has, for an issuer at this path.
    pub(super) fn metadata(&self, path: &str) -> Value {
        json!({
            "issuer": self.url(path),
            "jwks_uri": self.url("/keys"),
            "userinfo_endpoint": self.url("/userinfo"),
            "authorization_response_iss_parameter_supported": true,
            "scopes_supported": ["openid", "email"],
        })
    }

    /// From now on another key, of this ID.
    pub(super) fn rotate(&mut self, id: &str) {
        self.signer = Signer::p256();
        self.page("/keys", &json!({"keys": [self.signer.jwk(id)]}));
    }

    pub(super) fn key(&self, id: &str) -> Value {
        self.signer.jwk(id)
    }

    pub(super) fn token(&self, claims: &Value) -> String {
        self.token_of_key("1", claims)
    }

    pub(super) fn token_of_key(&self, id: &str, claims: &Value) -> String {
        self.signer
            .sign(&json!({"alg": "ES256", "kid": id, "typ": "JWT"}), claims)
    }

    /// The first line of each request, without the protocol.
    pub(super) fn asked(&self) -> Vec<String> {
        let requests = self.server.requests.lock().unwrap();
        let line = |request: &String| request.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
        requests.iter().map(line).collect()
    }
}
