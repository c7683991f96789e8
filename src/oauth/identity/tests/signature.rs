use std::ops::Not;

use ring::signature::RsaPublicKeyComponents;
use serde_json::{Map, Value, json};

use super::super::signature::{Problem, Token};
use super::issuer::{Signer, base64, sign_with_hmac};

fn keys(keys: &[Value]) -> Map<String, Value> {
    json!({"keys": keys}).as_object().unwrap().clone()
}

fn verify(token: &str, keys: &Map<String, Value>) -> Result<String, Problem> {
    let token = Token::parse(token)?;
    let claims = token.verify(keys, |_, _| true)?;
    Ok(claims["sub"].as_str().unwrap().to_owned())
}

fn claims() -> Value {
    json!({"sub": "jane"})
}

#[test]
fn each_algorithm_of_the_list_is_checked_with_a_key_of_its_kind() {
    let (rsa, p256, p384, ed25519) = (Signer::rsa(), Signer::p256(), Signer::p384(), Signer::ed25519());
    let all = keys(&[rsa.jwk("r"), p256.jwk("p"), p384.jwk("q"), ed25519.jwk("e")]);
    for (algorithm, id, signer) in [
        ("RS256", "r", &rsa),
        ("RS384", "r", &rsa),
        ("RS512", "r", &rsa),
        ("PS256", "r", &rsa),
        ("PS384", "r", &rsa),
        ("PS512", "r", &rsa),
        ("ES256", "p", &p256),
        ("ES384", "q", &p384),
        ("EdDSA", "e", &ed25519),
    ] {
        let token = signer.sign(&json!({"alg": algorithm, "kid": id}), &claims());
        assert_eq!(verify(&token, &all), Ok("jane".to_owned()), "{algorithm}");
        let without_id = signer.sign(&json!({"alg": algorithm}), &claims());
        assert_eq!(
            verify(&without_id, &all),
            Ok("jane".to_owned()),
            "{algorithm} without kid"
        );

        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();
        let other = format!("{header}.{}.{signature}", base64(json!({"sub": "eve"}).to_string()));
        assert_eq!(
            verify(&other, &all),
            Err(Problem::Signature),
            "{algorithm}, other claims"
        );
        let header = base64(json!({"alg": algorithm, "kid": id, "x": 1}).to_string());
        let other = format!("{header}.{}", token.split_once('.').unwrap().1);
        assert_eq!(
            verify(&other, &all),
            Err(Problem::Signature),
            "{algorithm}, other header"
        );
    }
}

#[test]
fn a_key_of_a_stranger_proves_nothing() {
    let (own, stranger) = (Signer::p256(), Signer::p256());
    let token = stranger.sign(&json!({"alg": "ES256", "kid": "1"}), &claims());
    assert_eq!(verify(&token, &keys(&[own.jwk("1")])), Err(Problem::Signature));
    assert_eq!(verify(&token, &keys(&[own.jwk("2")])), Err(Problem::UnknownKey));
    assert_eq!(verify(&token, &keys(&[])), Err(Problem::UnknownKey));
    assert_eq!(
        verify(&token, &keys(&[own.jwk("1"), stranger.jwk("1")])),
        Ok("jane".to_owned()),
        "two keys of one ID are both tried"
    );
    // A key that the token itself brings along.
    let header = json!({"alg": "ES256", "kid": "1", "jwk": stranger.jwk("1"), "jku": "https://evil.example/keys"});
    let token = stranger.sign(&header, &claims());
    assert_eq!(verify(&token, &keys(&[own.jwk("1")])), Err(Problem::Signature));
}

#[test]
fn a_token_that_is_not_signed_proves_nothing() {
    let signer = Signer::p256();
    let all = keys(&[signer.jwk("1")]);
    for name in ["none", "None", "NONE", ""] {
        let unsigned = format!(
            "{}.{}.",
            base64(json!({"alg": name, "kid": "1"}).to_string()),
            base64(claims().to_string())
        );
        assert_eq!(verify(&unsigned, &all), Err(Problem::Algorithm(name.to_owned())));
    }
    let token = signer.sign(&json!({"alg": "ES256", "kid": "1"}), &claims());
    let (content, _) = token.rsplit_once('.').unwrap();
    assert_eq!(verify(&format!("{content}."), &all), Err(Problem::Signature));
}

/// The public key, or the client secret, as the key of an HMAC.
#[test]
fn a_shared_secret_is_no_signature() {
    let rsa = Signer::rsa();
    let mut symmetric = json!({"kty": "oct", "kid": "1", "k": base64(b"the-client-secret")});
    symmetric["alg"] = "HS256".into();
    let all = keys(&[rsa.jwk("1"), symmetric]);
    for secret in [rsa.public(), b"the-client-secret".to_vec(), Vec::new()] {
        let token = sign_with_hmac(&secret, &json!({"alg": "HS256", "kid": "1"}), &claims());
        assert_eq!(verify(&token, &all), Err(Problem::Algorithm("HS256".to_owned())));
        let disguised = sign_with_hmac(&secret, &json!({"alg": "RS256", "kid": "1"}), &claims());
        assert_eq!(verify(&disguised, &all), Err(Problem::Signature));
    }
}

#[test]
fn a_key_is_used_only_for_what_it_says() {
    let signer = Signer::rsa();
    let token = signer.sign(&json!({"alg": "RS256", "kid": "1"}), &claims());
    for (change, value) in [
        ("use", json!("enc")),
        ("alg", json!("PS256")),
        ("alg", json!("RSA-OAEP")),
        ("key_ops", json!(["sign", "encrypt"])),
        ("key_ops", json!("verify")),
        ("kty", json!("EC")),
        ("kid", json!(1)),
    ] {
        let mut key = signer.jwk("1");
        key[change] = value;
        assert_eq!(verify(&token, &keys(&[key.clone()])), Err(Problem::UnknownKey), "{key}");
    }
    for (change, value) in [
        ("alg", json!("RS256")),
        ("key_ops", json!(["verify"])),
        ("x5t", json!("x")),
    ] {
        let mut key = signer.jwk("1");
        key[change] = value;
        assert!(verify(&token, &keys(&[key.clone()])).is_ok(), "{key}");
    }
    let p256 = Signer::p256();
    let token = p256.sign(&json!({"alg": "ES256", "kid": "1"}), &claims());
    let mut other_curve = p256.jwk("1");
    other_curve["crv"] = "P-384".into();
    assert_eq!(verify(&token, &keys(&[other_curve])), Err(Problem::UnknownKey));
}

#[test]
fn a_key_that_cannot_be_read_is_passed_over() {
    let signer = Signer::rsa();
    let token = signer.sign(&json!({"alg": "RS256", "kid": "1"}), &claims());
    let mut padded = signer.jwk("1");
    // Some servers write a zero in front, as DER has it.
    let Signer::Rsa(pair) = &signer else { unreachable!() };
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
    let modulus = [vec![0], public.n].concat();
    padded["n"] = base64(modulus).into();
    assert!(verify(&token, &keys(&[padded])).is_ok());
    for (name, value) in [
        ("n", json!("!")),
        ("n", json!("")),
        ("e", json!(null)),
        ("e", json!("AQ")),
        ("n", json!("AQAB")),
    ] {
        let mut broken = signer.jwk("1");
        broken[name] = value;
        assert_eq!(
            verify(&token, &keys(&[broken.clone()])),
            Err(Problem::Signature),
            "{broken}"
        );
        assert!(verify(&token, &keys(&[json!("x"), json!(null), broken, signer.jwk("1")])).is_ok());
    }
    for none in [
        json!({}),
        json!({"keys": {}}),
        json!({"keys": "x"}),
        json!({"keys": [[]]}),
    ] {
        assert_eq!(
            verify(&token, none.as_object().unwrap()),
            Err(Problem::UnknownKey),
            "{none}"
        );
    }
}

#[test]
fn what_has_not_the_form_of_a_signed_token_is_none() {
    let signer = Signer::p256();
    let all = keys(&[signer.jwk("1")]);
    let good = signer.sign(&json!({"alg": "ES256", "kid": "1"}), &claims());
    let extension = signer.sign(
        &json!({"alg": "ES256", "kid": "1", "crit": ["b64"], "b64": false}),
        &claims(),
    );
    let (content, signature) = good.rsplit_once('.').unwrap();
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        content.to_owned(),
        format!("{good}.x"),
        format!("{good}="),
        format!("{content}.{signature}\n"),
        format!("{}.{}.x", base64("[]"), base64("{}")),
        format!("{}.{}.x", base64(r#"{"alg":"ES256"}"#), base64("null")),
        extension,
        format!("{}{good}", "A".repeat(70_000)),
    ] {
        let found = verify(&bad, &all);
        assert!(matches!(found, Err(Problem::Malformed(_))), "{bad:.60}: {found:?}");
    }
    assert!(verify(&good, &all).is_err().not());
}

#[test]
fn a_key_for_another_tenant_does_not_fit() {
    let signer = Signer::p256();
    let token = signer.sign(&json!({"alg": "ES256", "kid": "1"}), &claims());
    let token = Token::parse(&token).unwrap();
    assert_eq!(
        token.verify(&keys(&[signer.jwk("1")]), |_, _| false),
        Err(Problem::UnknownKey)
    );
}
