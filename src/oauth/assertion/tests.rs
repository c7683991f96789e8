use ring::signature::{ECDSA_P256_SHA256_FIXED, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};

use super::*;

const RSA: &[u8] = include_bytes!("../identity/tests/rsa-2048.pk8");
const SHORT_RSA: &[u8] = include_bytes!("rsa-1024.der");
/// Where PKCS#1 begins in PKCS#8 with an RSA key of 2048 bits, and SEC1 in PKCS#8 with a P-256 key of ring's.
const PKCS1_AT: usize = 26;
const SEC1_LENGTH: usize = 109;

pub(crate) fn pem(label: &str, der: &[u8]) -> SecretString {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")).into()
}

pub(crate) fn rsa_pem() -> SecretString {
    pem("PRIVATE KEY", RSA)
}

fn ec() -> rcgen::KeyPair {
    rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

fn ec_pem(key: &rcgen::KeyPair) -> SecretString {
    key.serialize_pem().into()
}

fn certificate_of(key: &rcgen::KeyPair) -> rcgen::Certificate {
    rcgen::CertificateParams::new(["mail".to_owned()])
        .unwrap()
        .self_signed(key)
        .unwrap()
}

fn rsa_pair() -> rcgen::KeyPair {
    rcgen::KeyPair::from_pem_and_sign_algo(rsa_pem().expose_secret(), &rcgen::PKCS_RSA_SHA256).unwrap()
}

/// The public halves, as a server would check with them.
fn verifies(token: &str, algorithm: &'static dyn ring::signature::VerificationAlgorithm, public: &[u8]) -> bool {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(algorithm, public)
        .verify(signed.as_bytes(), &signature)
        .is_ok()
}

pub(crate) fn rsa_public() -> Vec<u8> {
    ring::rsa::KeyPair::from_pkcs8(RSA)
        .unwrap()
        .public_key()
        .as_ref()
        .to_vec()
}

pub(crate) fn rsa_signed(token: &str) -> bool {
    verifies(token, &RSA_PKCS1_2048_8192_SHA256, &rsa_public())
}

/// Header and claims as text, in the order in which they were written.
pub(crate) fn parts(token: &str) -> [String; 2] {
    let decoded: Vec<String> = token
        .split('.')
        .take(2)
        .map(|part| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
        .collect();
    decoded.try_into().unwrap()
}

fn audience() -> Url {
    Url::parse("https://login.microsoftonline.com/0f0f/oauth2/v2.0/token").unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn client_key(key: SigningKey) -> ClientKey {
    ClientKey {
        key,
        audience: audience(),
    }
}

#[test]
fn a_client_proves_itself_with_exactly_these_claims() {
    let key = client_key(SigningKey::from_pem(&rsa_pem()).unwrap());
    let token = of_client(&key, "our-client", "once", at(1_800_000_030)).unwrap();
    let [header, claims] = parts(token.expose_secret());
    assert_eq!(header, r#"{"alg":"RS256","typ":"JWT"}"#);
    assert_eq!(
        claims,
        r#"{"iss":"our-client","sub":"our-client","aud":"https://login.microsoftonline.com/0f0f/oauth2/v2.0/token","jti":"once","iat":1800000000,"nbf":1800000000,"exp":1800000300}"#
    );
    assert!(rsa_signed(token.expose_secret()));
    assert!(!token.expose_secret().contains('='), "base64url without padding");
}

#[test]
fn a_service_account_speaks_for_a_mailbox_with_the_claims_that_google_documents() {
    let account = ServiceAccount {
        email: "mail@project.iam.gserviceaccount.com".to_owned(),
        key: SigningKey::from_pem(&rsa_pem()).unwrap().with_key_id("0a1b2c"),
    };
    let scopes = ["https://mail.google.com/".to_owned(), "openid".to_owned()];
    let google = MailboxAssertion {
        audience: "https://oauth2.googleapis.com/token".to_owned(),
        lifetime: SignedDuration::from_hours(1),
        backdate: SignedDuration::from_secs(30),
    };
    let token = for_mailbox(&account, "support@example.com", &scopes, &google, at(1_800_000_030)).unwrap();
    let [header, claims] = parts(token.expose_secret());
    assert_eq!(header, r#"{"alg":"RS256","typ":"JWT","kid":"0a1b2c"}"#);
    assert_eq!(
        claims,
        r#"{"iss":"mail@project.iam.gserviceaccount.com","sub":"support@example.com","scope":"https://mail.google.com/ openid","aud":"https://oauth2.googleapis.com/token","iat":1800000000,"exp":1800003600}"#
    );
    assert!(rsa_signed(token.expose_secret()));
}

#[test]
fn an_elliptic_signature_is_two_numbers_of_32_bytes_whatever_their_size() {
    // Numbers that begin with zeros are shorter in DER: about one signature in 128 has one.
    for _ in 0..300 {
        let pair = ec();
        let key = client_key(SigningKey::from_pem(&ec_pem(&pair)).unwrap());
        let token = of_client(&key, "c", "j", at(1)).unwrap();
        let [header, _] = parts(token.expose_secret());
        assert_eq!(header, r#"{"alg":"ES256","typ":"JWT"}"#);
        assert!(verifies(
            token.expose_secret(),
            &ECDSA_P256_SHA256_FIXED,
            pair.public_key_raw()
        ));
    }
    assert_eq!(
        joined(&[0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x02]).unwrap().len(),
        64
    );
    for broken in [
        &[][..],
        &[0x30],
        &[0x30, 0x03, 0x02, 0x05, 0x01],
        &[0x31, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x02],
    ] {
        assert_eq!(joined(broken), None);
    }
}

#[test]
fn every_usual_form_of_a_key_is_read() {
    let pair = ec();
    let der = pair.serialize_der();
    let windows = rsa_pem().expose_secret().replace('\n', "\r\n");
    let with_words = format!("Bag Attributes\n    friendlyName: mail\n{}", rsa_pem().expose_secret());
    for (name, text) in [
        ("PKCS#8, RSA", rsa_pem()),
        ("PKCS#1", pem("RSA PRIVATE KEY", &RSA[PKCS1_AT..])),
        ("PKCS#8, EC", ec_pem(&pair)),
        ("SEC1", pem("EC PRIVATE KEY", &der[der.len() - SEC1_LENGTH..])),
        ("line ends of Windows", windows.into()),
        ("words before it", with_words.into()),
    ] {
        assert!(SigningKey::from_pem(&text).is_ok(), "{name}");
    }
}

#[test]
fn a_key_that_cannot_be_used_is_told_apart_from_the_others_and_not_repeated() {
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let certificate = certificate_of(&ec()).pem();
    let old_encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    for (text, found) in [
        (pem("ENCRYPTED PRIVATE KEY", RSA), "is encrypted with a passphrase"),
        (old_encrypted.into(), "is encrypted with a passphrase"),
        (ec_pem(&p384), "found an EC key on another curve"),
        (ec_pem(&ed25519), "found an Ed25519 key"),
        (
            pem("RSA PRIVATE KEY", SHORT_RSA),
            "found an RSA key of less than 2048 bits",
        ),
        (
            pem("PRIVATE KEY", &RSA[..RSA.len() - 100]),
            "found a key that is damaged or cut short",
        ),
        (certificate.as_str().into(), "holds no private key: expected PEM"),
        (certificate.as_str().into(), "found CERTIFICATE"),
        ("{\"type\":\"service_account\"}".into(), "found JSON"),
        ("MIIEvQIBADANBgkqhkiG9w0".into(), "found no PEM block"),
    ] {
        let said = SigningKey::from_pem(&text).unwrap_err().to_string();
        assert!(said.contains(found), "{said}");
        assert!(!said.contains("MII") && !said.contains("AAAA"), "{said}");
    }
}

#[test]
fn the_header_names_the_certificate_by_both_thumbprints() {
    for (pair, text) in [(rsa_pair(), rsa_pem()), {
        let pair = ec();
        let text = ec_pem(&pair);
        (pair, text)
    }] {
        let certificate = certificate_of(&pair);
        let chain = format!("{}{}", certificate.pem(), certificate_of(&ec()).pem());
        let key = SigningKey::from_pem(&text).unwrap().with_certificate(&chain).unwrap();
        let token = of_client(&client_key(key), "c", "j", at(1)).unwrap();
        let header: Value = serde_json::from_str(&parts(token.expose_secret())[0]).unwrap();
        let digest = |algorithm| URL_SAFE_NO_PAD.encode(digest::digest(algorithm, certificate.der()));
        assert_eq!(header["x5t#S256"], json!(digest(&digest::SHA256)));
        assert_eq!(header["x5t"], json!(digest(&digest::SHA1_FOR_LEGACY_USE_ONLY)));
    }
}

#[test]
fn a_certificate_of_another_key_is_refused() {
    let key = SigningKey::from_pem(&rsa_pem()).unwrap();
    let other = certificate_of(&ec());
    assert_eq!(key.with_certificate(&other.pem()).unwrap_err(), KeyProblem::Mismatch);
    let damaged = pem("CERTIFICATE", &other.der()[..40]);
    assert_eq!(
        key.with_certificate(damaged.expose_secret()).unwrap_err(),
        KeyProblem::BadCertificate
    );
    let said = key.with_certificate(rsa_pem().expose_secret()).unwrap_err().to_string();
    assert!(
        said.contains("holds no certificate") && said.ends_with("found PRIVATE KEY"),
        "{said}"
    );
}

#[test]
fn a_key_prints_as_its_algorithm() {
    let account = ServiceAccount {
        email: "a@b".to_owned(),
        key: SigningKey::from_pem(&rsa_pem()).unwrap(),
    };
    assert_eq!(
        format!("{account:?}"),
        "ServiceAccount { email: \"a@b\", key: SigningKey(RS256) }"
    );
}
