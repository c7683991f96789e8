//! Microsoft's traps: whoever signs in may have a tenant of his own, where he writes what he likes.

use super::issuer::Issuer;
use super::*;
use crate::provider::{Tenancy, Tenant};

const CONTOSO: &str = "11111111-aaaa-4bbb-8ccc-000000000001";
const EVIL: &str = "66666666-aaaa-4bbb-8ccc-000000000006";
const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// As the entry `microsoft` has it, but for the hosts. `contoso.com` and its first name are of one tenant, `evil.example` is of another.
async fn microsoft(tenant: Tenant) -> (Issuer, Question) {
    let issuer = Issuer::start().await;
    for (domain, id) in [
        ("contoso.com", CONTOSO),
        ("contoso.onmicrosoft.com", CONTOSO),
        ("evil.example", EVIL),
    ] {
        let metadata = json!({"issuer": issuer.url(&format!("/{id}/v2.0"))});
        issuer.page(&format!("/{domain}/v2.0/.well-known/openid-configuration"), &metadata);
    }
    let template = json!({"issuer": issuer.url("/{tenantid}/v2.0")});
    issuer.page("/nobody.example/v2.0/.well-known/openid-configuration", &template);
    let question = Question {
        identity: Identity {
            issuer: Some(issuer.url("/{tid}/v2.0")),
            keys_url: Some(Url::parse(&issuer.url("/keys")).unwrap()),
            accounts: vec![
                account("preferred_username", Counts::Member),
                account("upn", Counts::Member),
            ],
            tenancy: Some(Tenancy {
                tenant,
                metadata: issuer.url("/{tenant}/v2.0/.well-known/openid-configuration"),
                personal: PERSONAL.to_owned(),
            }),
            ..Identity::default()
        },
        client_id: "our-client".to_owned(),
        nonce: Some("n-0S6".to_owned()),
        allowed: HostPolicy::new(&[], None),
        certificate_authority: Some(issuer.server.authority.clone()),
    };
    (issuer, question)
}

/// Claims of a member of the tenant, with these put over them.
#[allow(clippy::needless_pass_by_value, reason = "the calls read better")]
fn member(issuer: &Issuer, tenant: &str, changes: Value) -> Value {
    let mut claims = claims_with(
        &issuer.url(&format!("/{tenant}/v2.0")),
        json!({"email": null, "email_verified": null, "tid": tenant, "preferred_username": "jane@contoso.com"}),
    );
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

async fn prove_in(tenant: &Tenant, of: &str, changes: Value) -> Result<String, Unproven> {
    let (issuer, question) = microsoft(tenant.clone()).await;
    let token = issuer.token(&member(&issuer, of, changes));
    let account = prove(&client(), &question, &answer(Some(&token))).await?;
    assert_eq!(account.issuer, issuer.url(&format!("/{of}/v2.0")));
    Ok(account.name)
}

fn pinned() -> Tenant {
    Tenant::Id(CONTOSO.to_owned())
}

fn by_domain() -> Tenant {
    Tenant::Domain("contoso.onmicrosoft.com".to_owned())
}

#[tokio::test]
async fn a_member_of_the_wanted_tenant_is_named() {
    for tenant in [pinned(), by_domain(), Tenant::Any] {
        let found = prove_in(&tenant, CONTOSO, json!({})).await;
        assert_eq!(found.as_deref(), Ok("jane@contoso.com"), "{tenant:?}");
        let upn = json!({"preferred_username": null, "upn": "jane@contoso.com"});
        assert_eq!(
            prove_in(&tenant, CONTOSO, upn).await.as_deref(),
            Ok("jane@contoso.com"),
            "{tenant:?}"
        );
    }
    for own in [
        json!({"idp": format!("https://sts.windows.net/{CONTOSO}/")}),
        json!({"acct": 0}),
        json!({"email": "somebody@else.example"}),
    ] {
        assert!(prove_in(&pinned(), CONTOSO, own.clone()).await.is_ok(), "{own}");
    }
}

#[tokio::test]
async fn an_account_of_another_tenant_is_not_the_wanted_one() {
    for tenant in [pinned(), by_domain()] {
        let found = prove_in(&tenant, EVIL, json!({})).await;
        let expected = Unproven::Tenant {
            expected: CONTOSO.to_owned(),
            found: EVIL.to_owned(),
        };
        assert_eq!(found, Err(expected), "{tenant:?}");
    }
    let nobody = Tenant::Domain("nobody.example".to_owned());
    let found = prove_in(&nobody, CONTOSO, json!({})).await.unwrap_err().to_string();
    assert!(found.contains("expected tenant nobody.example"), "{found}");
    let unknown = Tenant::Domain("unknown.example".to_owned());
    assert!(matches!(
        prove_in(&unknown, CONTOSO, json!({})).await,
        Err(Unproven::Tenant { .. })
    ));
}

/// "nOAuth": the attacker's own tenant, with the victim's address wherever the attacker can write it.
#[tokio::test]
async fn under_any_tenant_a_name_counts_only_if_the_tenant_owns_its_domain() {
    let foreign = |name: &str, domain: &str| Unproven::ForeignDomain {
        name: name.to_owned(),
        tenant: EVIL.to_owned(),
        domain: domain.to_owned(),
    };
    let found = prove_in(&Tenant::Any, EVIL, json!({})).await;
    assert_eq!(found, Err(foreign("jane@contoso.com", "contoso.com")));
    let own = json!({"preferred_username": "mallory@evil.example", "email": "jane@contoso.com", "email_verified": true, "xms_edov": true});
    assert_eq!(
        prove_in(&Tenant::Any, EVIL, own).await.as_deref(),
        Ok("mallory@evil.example"),
        "never the email"
    );
    let only_email = json!({"preferred_username": null, "email": "jane@contoso.com", "email_verified": true});
    for tenant in [Tenant::Any, Tenant::Id(EVIL.to_owned())] {
        let found = prove_in(&tenant, EVIL, only_email.clone()).await;
        assert!(matches!(found, Err(Unproven::NoName { .. })), "{tenant:?}: {found:?}");
    }
    for domain in ["nobody.example", "unknown.example"] {
        let name = format!("jane@{domain}");
        let found = prove_in(&Tenant::Any, EVIL, json!({"preferred_username": name})).await;
        assert_eq!(found, Err(foreign(&name, domain)));
    }
    let other_spelling = json!({"preferred_username": "Jane@CONTOSO.com"});
    assert!(prove_in(&Tenant::Any, CONTOSO, other_spelling).await.is_ok());
}

/// The domain comes from the token, so it must not choose what is asked for.
#[tokio::test]
async fn a_name_cannot_choose_the_metadata_that_are_asked_for() {
    for name in [
        "jane@contoso.com/../evil.example",
        "jane@evil.example?x=contoso.com",
        "jane@evil.example#contoso.com",
        "jane@common",
        "jane@66666666-aaaa-4bbb-8ccc-000000000006",
        "jane@evil.example%2fcontoso.com",
        "jane@..",
    ] {
        let found = prove_in(&Tenant::Any, EVIL, json!({"preferred_username": name})).await;
        assert!(
            matches!(found, Err(Unproven::NoName { .. } | Unproven::ForeignDomain { .. })),
            "{name}: {found:?}"
        );
    }
}

#[tokio::test]
async fn a_guest_is_named_by_somebody_elses_directory() {
    for guest in [
        json!({"idp": format!("https://sts.windows.net/{EVIL}/")}),
        json!({"idp": "live.com"}),
        json!({"idp": "mail"}),
        json!({"acct": 1}),
        json!({"acct": "1"}),
        json!({"preferred_username": "jane_contoso.com#EXT#@evil.onmicrosoft.com"}),
        json!({"preferred_username": null, "upn": "jane_contoso.com#ext#@contoso.onmicrosoft.com"}),
    ] {
        for tenant in [pinned(), Tenant::Any] {
            let found = prove_in(&tenant, CONTOSO, guest.clone()).await;
            assert!(
                matches!(found, Err(Unproven::Guest { .. })),
                "{guest}, {tenant:?}: {found:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_personal_account_counts_only_where_personal_accounts_are_wanted() {
    let jane = json!({"preferred_username": "jane@outlook.example"});
    let consumers = Tenant::Id(PERSONAL.to_owned());
    assert_eq!(
        prove_in(&consumers, PERSONAL, jane.clone()).await.as_deref(),
        Ok("jane@outlook.example")
    );
    assert_eq!(
        prove_in(&Tenant::Any, PERSONAL, jane.clone()).await,
        Err(Unproven::PersonalAccount)
    );
    assert!(matches!(
        prove_in(&pinned(), PERSONAL, jane).await,
        Err(Unproven::Tenant { .. })
    ));
    assert!(matches!(
        prove_in(&consumers, CONTOSO, json!({})).await,
        Err(Unproven::Tenant { .. })
    ));
}

#[tokio::test]
async fn issuer_and_tenant_of_a_token_belong_together() {
    let (issuer, question) = microsoft(Tenant::Any).await;
    let of = |path: &str| issuer.url(path);
    for changes in [
        json!({"iss": of(&format!("/{EVIL}/v2.0"))}),
        json!({"iss": of("/{tid}/v2.0")}),
        json!({"iss": of("/{tenantid}/v2.0"), "tid": "{tenantid}"}),
        json!({"iss": of("/common/v2.0"), "tid": "common"}),
        json!({"iss": of("//v2.0"), "tid": ""}),
        json!({"tid": null}),
        json!({"tid": EVIL}),
        json!({"tid": CONTOSO.to_ascii_uppercase()}),
        json!({"iss": format!("https://evil.example/{CONTOSO}/v2.0")}),
    ] {
        let token = issuer.token(&member(&issuer, CONTOSO, changes.clone()));
        let found = prove(&client(), &question, &answer(Some(&token))).await;
        assert!(matches!(found, Err(Unproven::Issuer { .. })), "{changes}: {found:?}");
    }
}

/// The keys say for which tenants they are: one for personal accounts must not sign for an organisation.
#[tokio::test]
async fn a_key_signs_only_for_the_tenants_that_it_names() {
    let (issuer, question) = microsoft(pinned()).await;
    let token = issuer.token(&member(&issuer, CONTOSO, json!({})));
    for (path, good) in [
        ("/{tenantid}/v2.0".to_owned(), true),
        (format!("/{CONTOSO}/v2.0"), true),
        (format!("/{PERSONAL}/v2.0"), false),
        (format!("/{EVIL}/v2.0"), false),
    ] {
        let mut key = issuer.key("1");
        key["issuer"] = issuer.url(&path).into();
        issuer.page("/keys", &json!({"keys": [key]}));
        let found = prove(&client(), &question, &answer(Some(&token))).await;
        assert_eq!(found.is_ok(), good, "{path}: {found:?}");
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_asked_is_no_answer() {
    let (issuer, question) = microsoft(by_domain()).await;
    let busy = crate::oauth::tests::server::response("503 Service Unavailable", "", "");
    issuer.step(
        "/contoso.onmicrosoft.com/v2.0/.well-known/openid-configuration",
        crate::oauth::tests::server::Step::Answer(busy),
    );
    let token = issuer.token(&member(&issuer, CONTOSO, json!({})));
    let found = prove(&client(), &question, &answer(Some(&token))).await.unwrap_err();
    assert!(
        found.is_temporary()
            && found
                .to_string()
                .contains("Which tenant owns the domain cannot be read"),
        "{found}"
    );
}
