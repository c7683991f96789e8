//! Whom is asked, how often, and who hears of it.

use super::*;
use crate::provider::NamesIssuer;

fn asked() -> Asked {
    Asked {
        issuer: "https://id.example.com".to_owned(),
        bundle: None,
    }
}

fn found(token: &str) -> Discovered {
    Discovered {
        issuer: asked().issuer,
        token_url: Url::parse(token).unwrap(),
        authorization_url: None,
        device_authorization_url: None,
        revocation_url: None,
        names_issuer: NamesIssuer::Perhaps,
        authentication_with_secret: Vec::new(),
    }
}

fn asset(name: &str) -> User {
    User::Asset(Key::new("here", name))
}

const TOKEN: &str = "https://id.example.com/token";

fn no() -> Result<Discovered, (Reason, String)> {
    Err((Reason::Retrying, "no".to_owned()))
}

#[tokio::test(start_paused = true)]
async fn an_issuer_is_asked_once_for_all_that_need_it() {
    let all = Discoveries::default();
    assert!(matches!(
        all.of(&asset("a"), &asked(), &Wish::default()),
        Finding::Unasked
    ));
    assert!(matches!(
        all.of(&asset("b"), &asked(), &Wish::default()),
        Finding::Unasked
    ));
    assert_eq!(all.begin(&asked(), FRESH_FOR), Asking::Begins);
    assert_eq!(all.begin(&asked(), FRESH_FOR), Asking::Underway);
    let mut woken = all.end(&asked(), Ok(found(TOKEN)));
    woken.sort_by_key(|user| format!("{user:?}"));
    assert_eq!(woken, [asset("a"), asset("b")]);
    assert_eq!(
        all.begin(&asked(), FRESH_FOR),
        Asking::NotNow,
        "it was asked a moment ago"
    );
    tokio::time::advance(FRESH_FOR).await;
    assert_eq!(all.begin(&asked(), FRESH_FOR), Asking::Begins);
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_used_while_the_issuer_does_not_answer() {
    let all = Discoveries::default();
    all.of(&asset("a"), &asked(), &Wish::default());
    assert_eq!(all.begin(&asked(), FRESH_FOR), Asking::Begins);
    all.end(&asked(), Ok(found(TOKEN)));
    tokio::time::advance(FRESH_FOR).await;
    assert_eq!(all.begin(&asked(), FRESH_FOR), Asking::Begins);
    assert!(all.end(&asked(), no()).is_empty(), "nothing has changed for anybody");
    assert!(matches!(
        all.of(&asset("a"), &asked(), &Wish::default()),
        Finding::Known(_)
    ));
    assert_eq!(all.begin(&asked(), FRESH_FOR), Asking::NotNow, "it is left in peace");
    tokio::time::advance(FIRST_PAUSE).await;
    assert_eq!(all.begin(&asked(), FRESH_FOR), Asking::Begins);
    assert!(all.end(&asked(), Ok(found(TOKEN))).is_empty(), "it says the same");
    tokio::time::advance(FRESH_FOR).await;
    assert_eq!(all.begin(&asked(), FRESH_FOR), Asking::Begins);
    let other = Ok(found("https://other.example.com/token"));
    assert_eq!(all.end(&asked(), other), [asset("a")], "it says something else");
}

#[tokio::test(start_paused = true)]
async fn who_waits_hears_of_the_failure_and_pauses_grow_to_five_minutes() {
    let all = Discoveries::default();
    all.of(&asset("a"), &asked(), &Wish::default());
    let mut pauses = Vec::new();
    for _ in 0..6 {
        assert_eq!(all.begin(&asked(), FRESH_FOR), Asking::Begins);
        assert_eq!(all.end(&asked(), no()), [asset("a")]);
        let Finding::Failed(failed) = all.of(&asset("a"), &asked(), &Wish::default()) else {
            panic!("it has failed")
        };
        assert!(failed.again > now());
        let pause = failed.pause_ends.duration_since(Instant::now());
        pauses.push(pause.as_secs());
        tokio::time::advance(pause).await;
    }
    assert_eq!(pauses, [30, 60, 120, 240, 300, 300]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_an_issuer_that_nobody_names() {
    let all = Discoveries::default();
    all.of(&asset("a"), &asked(), &Wish::default());
    assert_eq!(all.begin(&asked(), FRESH_FOR), Asking::Begins);
    all.end(&asked(), Ok(found(TOKEN)));
    let other = Asked {
        issuer: "https://other.example.com".to_owned(),
        bundle: None,
    };
    all.of(&asset("a"), &other, &Wish::default());
    assert_eq!(all.lock().entries.keys().collect::<Vec<_>>(), [&other]);
    all.forget(&asset("a"));
    assert!(all.lock().users.is_empty() && all.lock().entries.is_empty());
    assert!(
        all.end(&asked(), Ok(found(TOKEN))).is_empty(),
        "an answer that comes late is for nobody"
    );
}

#[tokio::test(start_paused = true)]
async fn a_bundle_of_ones_own_speaks_for_nobody_else() {
    let all = Discoveries::default();
    let own = Asked {
        bundle: Some(Bundle {
            namespace: "here".to_owned(),
            name: "ca".to_owned(),
            key: "ca.crt".to_owned(),
            of: None,
        }),
        ..asked()
    };
    all.of(&asset("a"), &own, &Wish::default());
    assert_eq!(all.begin(&own, FRESH_FOR), Asking::Begins);
    all.end(&own, Ok(found("https://trap.example.com/token")));
    assert!(matches!(
        all.of(&asset("b"), &asked(), &Wish::default()),
        Finding::Unasked
    ));
}

#[tokio::test(start_paused = true)]
async fn whoever_edits_the_asset_or_asks_for_a_refresh_ends_the_pause_once() {
    let all = Discoveries::default();
    let wish = |generation| Wish {
        generation: Some(generation),
        refresh: None,
    };
    let look = |generation| all.of(&asset("a"), &asked(), &wish(generation));
    look(1);
    for _ in 0..3 {
        assert_eq!(all.begin(&asked(), FRESH_FOR), Asking::Begins);
        all.end(&asked(), no());
        tokio::time::advance(LONGEST_PAUSE).await;
    }
    assert_eq!(all.begin(&asked(), FRESH_FOR), Asking::Begins);
    all.end(&asked(), no());
    look(1);
    tokio::time::advance(SHORTEST_PAUSE).await;
    assert_eq!(all.begin(&asked(), FRESH_FOR), Asking::NotNow, "nobody wished it");
    let Finding::Failed(failed) = look(2) else {
        panic!("it has failed")
    };
    assert!(failed.again <= ahead(Duration::ZERO));
    assert_eq!(all.begin(&asked(), FRESH_FOR), Asking::Begins);
    all.end(&asked(), no());
    look(2);
    tokio::time::advance(SHORTEST_PAUSE).await;
    assert_eq!(
        all.begin(&asked(), FRESH_FOR),
        Asking::NotNow,
        "that wish was fulfilled"
    );
    let other = all.of(&asset("b"), &asked(), &wish(7));
    assert!(matches!(other, Finding::Failed(_)));
    assert_eq!(all.begin(&asked(), FRESH_FOR), Asking::NotNow, "a new asset is no wish");
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_server_asked_for_is_kept() {
    let all = Discoveries::default();
    let wish = |generation| Wish {
        generation: Some(generation),
        refresh: None,
    };
    all.of(&asset("a"), &asked(), &wish(1));
    assert_eq!(all.begin(&asked(), FRESH_FOR), Asking::Begins);
    all.end(&asked(), Err((Reason::Throttled, "no".to_owned())));
    tokio::time::advance(SHORTEST_PAUSE).await;
    all.of(&asset("a"), &asked(), &wish(2));
    assert_eq!(all.begin(&asked(), FRESH_FOR), Asking::NotNow);
}

#[test]
fn a_slow_host_takes_no_place_of_another() {
    let all = Discoveries::default();
    let slow = all.slots_at("https://id.example.com/realms/a");
    let places: Vec<_> = (0..AT_A_TIME).map(|_| slow.try_acquire().unwrap()).collect();
    let same = all.slots_at("https://id.example.com/realms/b");
    assert!(same.try_acquire().is_err());
    assert!(all.slots_at("https://other.example.com").try_acquire().is_ok());
    drop(places);
    drop((slow, same));
    assert!(all.slots_at("https://id.example.com").try_acquire().is_ok());
    assert_eq!(
        all.slots.lock().unwrap().len(),
        1,
        "nothing is kept of hosts that are not asked"
    );
}
