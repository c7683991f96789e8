//! The rules in code accept exactly what the API server's CEL rules accept.

use kube::core::cel::Validator;
use serde_json::json;

use super::*;

/// Texts at the edges of all rules.
#[rustfmt::skip]
const TEXTS: &[&str] = &[
    "a", "A", "1", "-", "_", ".", "/", "@", ":", "~", "é", "a b", " a", "a ", "a\n", "\na", "a\tb", "a\0b", "a\"b", "a'b", "a`b", "a\\b", "a$b", "a[b", "a]b",
    "a.b", "a..b", ".a", "a.", "a-b", "-a", "a-", "a.-b", "a-.b", "a_b", "_a", "a_", "a@b", "a@b.c", "a@b.1", "a@b.c1", "a@b.c-", "a@-b.c", "a@b..c", "a@@b.c", "@b.c",
    "a@b.c.", "a@b@c.d", "a!#%&*+/=?^_{|}~-.@b.c", "-a@b.c", ".a@b.c", "+a@b.c", "a@b_c.d", "a@é.c", "é@b.c", "a@b.c\n", "127.0.0.1", "[::1]", "::1", "a:1",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@b.c",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@b.c",
    "https://a", "https://a/", "https://A.b/c", "https://a:1", "https://a:", "https://a:123456", "https://a:x/", "https://a:1:2/", "https://a?b", "https://a#b", "https://a/#b",
    "https://u@a/", "https://u:p@a/", "https://@a/", "https://a./b", "https://.a/b", "https://-a/b", "https://a-/b", "https://[::1]/", "https:///a", "https://", "https:/a",
    "http://a/", "HTTPS://a/", " https://a/", "https://a/ b", "https://a/\\b", "https://a\\@b/", "https://a/b@c", "https://a/%2e", "https://a/?b=c&d=e", "https://a/{b}",
    "https://a/?client_secret=b", "https://a/?x=y&Refresh_Token=b", "https://a/?xkey=b", "https://a/?key", "https://a/?key=", "https://a/b&key=c", "https://a/?a=b?token=c",
    "20m", "1h30m", "90s", "1.5h", ".5h", "1.h", "0", "0s", "1", "m", "-5m", "+5m", "1m-5s", "999ms", "1000ms", "1s", "1d", "1 m", "1M", "1000000us", "999999us", "1s5µs", "1s5μs",
    "9999999h", "999999h", "999999h999999h99999h", "1.1234567h", "1.123456h", "1..5h", "1.5.5h", "1h1h1h", "1e3s", "0.9s", "0.999999s",
];

type Rule = (&'static str, fn(&str) -> bool);

fn is_url_without_credentials(text: &str) -> bool {
    !has_credentials_in_query(text)
}

#[rustfmt::skip]
const RULES: &[Rule] = &[
    (rules::EMAIL, is_email),
    (rules::USERNAME, is_username),
    (rules::PROVIDER, is_provider),
    (rules::HOST, is_host),
    (rules::OBJECT_NAME, is_object_name),
    (rules::OBJECT_KEY, is_object_key),
    (rules::CLIENT_ID, is_client_id),
    (rules::URL, is_url),
    (rules::URL_QUERY, is_url_without_credentials),
    (rules::RENEW_BEFORE, is_renew_before),
    (rules::SCOPE, is_scope),
    (rules::PARAMETER, is_parameter),
    (rules::LABEL_VALUE, is_label_value),
];

fn cel_accepts(rule: &str, text: &str) -> bool {
    let schema = json!({"type": "string", "x-kubernetes-validations": [{"rule": rule, "message": "refused"}]});
    Validator::new().validate(&schema, &json!(text), None).is_ok()
}

#[test]
fn code_and_cel_agree_on_every_text() {
    for (rule, accepts) in RULES {
        // Length is the schema's part.
        for text in TEXTS
            .iter()
            .filter(|text| text.len() <= rules::MAX_LABEL || *rule != rules::LABEL_VALUE)
        {
            let in_cel = cel_accepts(rule, text);
            assert_eq!(accepts(text), in_cel, "{text:?} by {rule}: code, CEL");
        }
    }
}

#[test]
fn each_rule_accepts_and_refuses_some_of_the_texts() {
    for (rule, accepts) in RULES {
        let accepted = TEXTS.iter().filter(|text| accepts(text)).count();
        assert!(accepted > 0 && accepted < TEXTS.len(), "{rule}");
    }
}
