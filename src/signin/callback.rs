//! The way back from the provider.
//!
//! Whatever arrives here was carried by a browser, and anybody can write an address. So the checks come in an order in which each is worth something only because of those
//! before it: the state is ours, still good, of this browser, of this provider; the asset is still the same; the answer comes from the provider that was asked. Then
//! a code is handed to the [`Desk`], once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    extract::{Path, RawQuery, State, rejection::PathRejection},
    response::Response,
};
use http::HeaderMap;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::{sync::watch, time::timeout};
use tracing::{debug, info, warn};
use url::form_urlencoded;

use crate::provider::ForAnother;

use super::{
    Consent, Desk, NamesIssuer, Offer, SignInRefusal,
    answer::{self, status},
    browser::BrowserId,
    ended::{Ended, Outcome, Telling},
    no::No,
    routes::App,
    state::State as SealedState,
    used::{Awaited, Claim},
    words::{Notice, Problem},
};

/// An authorization code is shorter than this many bytes (Microsoft's reach about 1,500).
const LONGEST_CODE: usize = 8192;

/// Parameters beyond this many are not looked at.
const MOST_OTHERS: usize = 32;

/// What an address of ours says that a provider made, or somebody who plays one.
#[derive(Default)]
struct Answer {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    description: Option<String>,
    issuer: Option<String>,
    /// Whatever else there is, by name.
    others: HashMap<String, String>,
    /// A parameter came twice, which none may (RFC 6749 section 3.1).
    twice: bool,
}

/// What it means.
enum Says {
    Code {
        code: SecretString,
        issuer: Option<String>,
    },
    No {
        error: String,
        description: String,
    },
    /// A code, and it is for another server: what to do about that.
    ForAnother(SignInRefusal),
}

/// An answer to a sign-in that this browser began.
struct Visit {
    state: SealedState,
    browser: BrowserId,
    offer: Offer,
}

/// Why an answer is not looked into.
enum Stop {
    /// The state is not known to be of this browser: nothing about the asset is said.
    Stranger(Problem),
    /// It is.
    Problem(Problem, Box<SealedState>),
    /// The state came back before.
    Before(Awaited, Box<Visit>),
    /// Another grant was given since.
    Superseded(Box<Visit>),
}

/// The callback of one provider.
pub(super) async fn come_back<D: Desk>(
    State(app): State<Arc<App<D>>>,
    key: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let Ok(Path(key)) = key else {
        return answer::problem(Problem::NotFound);
    };
    let answer = Answer::parse(&query.unwrap_or_default());
    let browser = BrowserId::of(&headers, &app.links);
    match check(&app, &key, browser, &answer, Timestamp::now()) {
        Ok(visit) => match answer.says(&visit.offer) {
            Some(says) => finish(&app, visit, says).await,
            None => stop(&app, Stop::Problem(Problem::Garbled, Box::new(visit.state))).await,
        },
        Err(reason) => stop(&app, reason).await,
    }
}

impl Answer {
    fn parse(query: &str) -> Self {
        let mut answer = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "state" => &mut answer.state,
                "code" => &mut answer.code,
                "error" => &mut answer.error,
                "error_description" => &mut answer.description,
                "iss" => &mut answer.issuer,
                other => {
                    if answer.others.len() < MOST_OTHERS {
                        // What comes twice says nothing.
                        let kept = answer.others.entry(other.to_owned());
                        kept.and_modify(String::clear).or_insert_with(|| value.into_owned());
                    }
                    continue;
                }
            };
            answer.twice |= place.replace(value.into_owned()).is_some();
        }
        answer
    }

    fn says(self, offer: &Offer) -> Option<Says> {
        let for_another = self.for_another(offer);
        match (self.code, self.error) {
            _ if self.twice => None,
            (Some(_), None) if for_another.is_some() => for_another.map(Says::ForAnother),
            (Some(code), None) if (1..LONGEST_CODE).contains(&code.len()) => Some(Says::Code {
                code: code.into(),
                issuer: self.issuer,
            }),
            (None, Some(error)) => Some(Says::No {
                error,
                description: self.description.unwrap_or_default(),
            }),
            _ => None,
        }
    }
}

impl Answer {
    /// Why the code is of no use at the server that is asked, if it is for another one of the provider's.
    fn for_another(&self, offer: &Offer) -> Option<SignInRefusal> {
        let server = offer.code_server.as_ref()?;
        match server.check(self.others.get(&server.parameter)?) {
            Err(ForAnother::Place(setting)) => Some(SignInRefusal::Failed {
                message: format!(
                    "The account that signed in lives at another server of {} than {}, which this asset asks: set {setting}, and sign in again. The code was not used.",
                    offer.provider,
                    server.asked.host()
                ),
            }),
            Ok(()) | Err(ForAnother::Stranger) => None,
        }
    }

    /// Whether it names a server that is none of the provider's.
    fn names_a_stranger(&self, offer: &Offer) -> bool {
        let server = offer.code_server.as_ref();
        let named = server.and_then(|server| Some((server, self.others.get(&server.parameter)?)));
        named.is_some_and(|(server, named)| server.check(named) == Err(ForAnother::Stranger))
    }
}

fn check<D: Desk>(
    app: &App<D>,
    key: &str,
    browser: Option<BrowserId>,
    answer: &Answer,
    now: Timestamp,
) -> Result<Visit, Stop> {
    let sealed = answer.state.as_deref();
    let state = sealed
        .and_then(|sealed| SealedState::unseal(&app.links.keys, sealed))
        .ok_or(Stop::Stranger(Problem::BadState))?;
    let ours = browser.filter(|browser| state.began_in(Some(browser)));
    if state.expires <= now {
        return Err(match ours {
            Some(_) => Stop::Problem(Problem::Expired, Box::new(state)),
            None => Stop::Stranger(Problem::Expired),
        });
    }
    let Some(browser) = ours else {
        return Err(Stop::Stranger(Problem::OtherBrowser));
    };
    if state.callback_key != key {
        return Err(Stop::Problem(Problem::OtherProvider, Box::new(state)));
    }
    let before = app.used.before(&state.nonce);
    let offer = app.desk.offer(&state.namespace, &state.name);
    let same = |offer: &Offer| offer.uid == state.uid && offer.callback_key == state.callback_key;
    let Some(offer) = offer.filter(same) else {
        return Err(Stop::Problem(Problem::Changed, Box::new(state)));
    };
    if let Some(ending) = before {
        let visit = Visit { state, browser, offer };
        return Err(Stop::Before(ending, Box::new(visit)));
    }
    if !names_the_right_issuer(&offer, answer.issuer.as_deref()) || answer.names_a_stranger(&offer) {
        return Err(Stop::Problem(Problem::MixedUp, Box::new(state)));
    }
    let superseded = offer.granted > state.granted;
    let visit = Visit { state, browser, offer };
    if superseded {
        return Err(Stop::Superseded(Box::new(visit)));
    }
    Ok(visit)
}

/// RFC 9207 section 2.4: compared to the letter. Where we know no issuer, the callback of its own is what tells providers apart (RFC 9700 section 4.4.2.2).
fn names_the_right_issuer(offer: &Offer, found: Option<&str>) -> bool {
    match (&offer.issuer, found) {
        (Some(expected), Some(found)) => expected == found,
        (None, Some(_)) => true,
        (_, None) => offer.names_issuer == NamesIssuer::Perhaps,
    }
}

/// Takes the state, and lets what it stands for run to its end.
async fn finish<D: Desk>(app: &Arc<App<D>>, visit: Visit, says: Says) -> Response {
    let (nonce, expires) = (&visit.state.nonce, visit.state.expires);
    match app.used.claim(nonce, expires, Timestamp::now()) {
        Claim::Taken(ending) => stop(app, Stop::Before(ending, Box::new(visit))).await,
        Claim::First(teller) => {
            let ending = teller.subscribe();
            match says {
                Says::Code { code, issuer } => redeem(app, &visit, code, issuer, teller),
                Says::No { error, description } => {
                    let (refusal, ended) = match No::read(&visit.offer.provider, &error, &description) {
                        No::Known(refusal) => (refusal.clone(), Ended::from(refusal)),
                        No::Unknown { code, refusal } => (refusal, Ended::ProviderError { code }),
                    };
                    note(app, &visit, refusal, ended, teller);
                }
                Says::ForAnother(refusal) => note(app, &visit, refusal.clone(), Ended::from(refusal), teller),
            }
            told(app, &visit, ending, Telling::First).await
        }
    }
}

fn redeem<D: Desk>(
    app: &Arc<App<D>>,
    visit: &Visit,
    code: SecretString,
    issuer: Option<String>,
    teller: watch::Sender<Option<Ended>>,
) {
    let Visit { state, browser, .. } = visit;
    let consent = Consent {
        namespace: state.namespace.clone(),
        name: state.name.clone(),
        uid: state.uid.clone(),
        code,
        issuer,
        verifier: state.verifier(&app.links.keys, browser),
        redirect_uri: app.links.callback_url(&state.callback_key).into(),
        nonce: state.nonce.clone(),
        callback_key: state.callback_key.clone(),
        granted: state.granted,
    };
    let (desk, asset) = (Arc::clone(&app.desk), asset(state));
    app.tasks.spawn(async move {
        let result = desk.complete(consent).await;
        match &result {
            Ok(_) => info!(asset, "a person signed in"),
            Err(refusal) => info!(asset, reason = %refusal.reason(), "a sign-in changed nothing"),
        }
        teller.send_replace(Some(result.into()));
    });
}

fn note<D: Desk>(
    app: &Arc<App<D>>,
    visit: &Visit,
    refusal: SignInRefusal,
    ended: Ended,
    teller: watch::Sender<Option<Ended>>,
) {
    let (desk, state) = (Arc::clone(&app.desk), visit.state.clone());
    app.tasks.spawn(async move {
        info!(asset = asset(&state), reason = %refusal.reason(), "a provider sent a person back without a code that is of use");
        desk.refused(&state.namespace, &state.name, &state.uid, &refusal).await;
        teller.send_replace(Some(ended));
    });
}

/// Waits for the ending, but not for ever, and leads to its page.
async fn told<D: Desk>(app: &App<D>, visit: &Visit, mut ending: Awaited, telling: Telling) -> Response {
    let seat = app.seats.try_acquire();
    let patience = seat.as_ref().map_or(Duration::ZERO, |_| app.limits.answer_wait);
    let ended = match timeout(patience, ending.wait_for(Option::is_some)).await {
        Err(_) => None,
        Ok(Ok(ended)) => ended.clone(),
        Ok(Err(_)) => Some(Ended::from(SignInRefusal::Failed {
            message: "The operator could not finish the sign-in: it hit an error of its own. Sign in again.".to_owned(),
        })),
    };
    let ended = ended.unwrap_or(Ended::Waiting);
    let outcome = Outcome::new(&visit.offer, &visit.browser, ended, telling, Timestamp::now());
    app.tell(&outcome)
}

async fn stop<D: Desk>(app: &App<D>, reason: Stop) -> Response {
    match reason {
        Stop::Stranger(problem) => {
            debug!(?problem, "an answer to a sign-in was refused");
            answer::problem(problem)
        }
        Stop::Problem(problem, state) => {
            let asset = asset(&state);
            match problem {
                Problem::OtherProvider | Problem::MixedUp => {
                    warn!(
                        asset,
                        ?problem,
                        "an answer to a sign-in was thrown away: perhaps an attack"
                    );
                }
                _ => debug!(asset, ?problem, "an answer to a sign-in was refused"),
            }
            let mut notice = Notice::of_problem(problem);
            let offer = app.desk.offer(&state.namespace, &state.name);
            if let Some(offer) = offer.filter(|offer| offer.uid == state.uid) {
                notice = notice.leading_to("Back to the sign-in page", app.page_path(&offer));
            }
            answer::notice(status(problem), notice)
        }
        Stop::Before(ending, visit) => told(app, &visit, ending, Telling::Again).await,
        Stop::Superseded(visit) => {
            let (Visit { offer, browser, .. }, now) = (&*visit, Timestamp::now());
            app.tell(&Outcome::new(offer, browser, Ended::Superseded, Telling::First, now))
        }
    }
}

fn asset(state: &SealedState) -> String {
    format!("{}/{}", state.namespace, state.name)
}
