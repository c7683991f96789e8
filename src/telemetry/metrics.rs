//! Metrics, in the OpenMetrics text format.
//!
//! Labels are closed sets, written as enums: no value from a server, an error or a spec becomes a label. The exception is namespace and name in the two series per
//! asset; those are made at the time of the scrape from what is in the cache, so they cost no memory and end with the object.
//!
//! | metric | type | says |
//! |---|---|---|
//! | `emailasset_ready{namespace,name}` | gauge | 1 while the asset is Ready, else 0 |
//! | `emailasset_token_expiration_timestamp_seconds{namespace,name}` | gauge | when the published token expires |
//! | `emailasset_token_requests_total{outcome,class}` | counter | requests to token endpoints |
//! | `emailasset_token_request_duration_seconds` | histogram | from sending to the end of the answer |
//! | `emailasset_sign_ins_total{result}` | counter | sign-ins that came back to the operator, by what became of them |
//! | `emailasset_reconcile_passes_total{outcome}` | counter | passes over one asset |
//! | `emailasset_api_writes_total{resource,result}` | counter | writes to the API server |
//! | `emailasset_spool_entries` | gauge | answers that are not stored yet; above 0 for minutes: the API server takes no writes |
//! | `emailasset_leader` | gauge | 1 in the replica that leads |
//! | `emailasset_build_info{version}` | info | 1 |

use std::{fmt, time::Duration};

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{
        MetricType,
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
        info::Info,
    },
    registry::Registry,
};

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A token endpoint mostly answers within a second; 30 s is the default of `--token-timeout`.
const DURATION_BUCKETS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0];

/// A closed set of label values.
trait Label: Copy {
    fn label(self) -> &'static str;
}

/// How a request to a token endpoint ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestOutcome {
    /// With a token.
    Answered,
    /// With an error that the server states.
    Refused,
    /// Before anything was sent.
    NotSent,
    /// The server may have done it: the connection broke, or no answer came in time.
    Unknown,
}

impl Label for RequestOutcome {
    fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::NotSent => "not_sent",
            Self::Unknown => "unknown",
        }
    }
}

/// Who has to act, as the classification of the answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestClass {
    /// Nobody: it worked.
    None,
    /// Nobody: it is tried again.
    Retry,
    /// Nobody: it is tried again later, as the server asked.
    Throttled,
    /// The person who owns the mailbox.
    Reauth,
    /// An admin.
    AdminConfig,
    /// The authors of this operator.
    Bug,
}

impl Label for RequestClass {
    fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Retry => "retry",
            Self::Throttled => "throttled",
            Self::Reauth => "reauth",
            Self::AdminConfig => "admin_config",
            Self::Bug => "bug",
        }
    }
}

/// What became of a sign-in. Sign-ins that were begun and given up are not counted: nobody tells us of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignInResult {
    /// The grant is stored.
    Stored,
    /// Another account signed in than the one that the asset is for.
    WrongAccount,
    /// Nothing proves who signed in.
    IdentityUnproven,
    /// Some of what was asked for was not granted.
    ScopeNotGranted,
    /// There was no refresh token.
    NoRefreshToken,
    /// The person said no.
    ConsentDenied,
    /// Only an admin may consent.
    AdminConsentRequired,
    /// A device code was not entered in time.
    CodeExpired,
    /// Somebody else had signed in meanwhile.
    Superseded,
    /// The asset could not be signed in for as it stood.
    NotPossible,
    /// The provider did not take the code, or could not be asked.
    Failed,
}

impl Label for SignInResult {
    fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::WrongAccount => "wrong_account",
            Self::IdentityUnproven => "identity_unproven",
            Self::ScopeNotGranted => "scope_not_granted",
            Self::NoRefreshToken => "no_refresh_token",
            Self::ConsentDenied => "consent_denied",
            Self::AdminConsentRequired => "admin_consent_required",
            Self::CodeExpired => "code_expired",
            Self::Superseded => "superseded",
            Self::NotPossible => "not_possible",
            Self::Failed => "failed",
        }
    }
}

/// How a pass over one asset ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PassOutcome {
    /// Nothing was due.
    Rested,
    /// Something was done.
    Acted,
    /// Something could not be done; the pass is tried again.
    Failed,
}

impl Label for PassOutcome {
    fn label(self) -> &'static str {
        match self {
            Self::Rested => "rested",
            Self::Acted => "acted",
            Self::Failed => "failed",
        }
    }
}

/// What was written to the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// The grant Secret of an asset.
    GrantSecret,
    /// The token Secret of an asset.
    TokenSecret,
    /// The status of an asset.
    Status,
    /// An Event.
    Event,
}

impl Label for Resource {
    fn label(self) -> &'static str {
        match self {
            Self::GrantSecret => "grant_secret",
            Self::TokenSecret => "token_secret",
            Self::Status => "status",
            Self::Event => "event",
        }
    }
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteResult {
    /// It was done.
    Written,
    /// Another write came first.
    Conflict,
    /// It was refused, or got no answer.
    Failed,
}

impl Label for WriteResult {
    fn label(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
        }
    }
}

/// The labels of one series: names and values.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Whether an asset is Ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// The condition is True.
    Yes,
    /// It is anything else.
    No,
}

/// One asset at the time of a scrape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetSample {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its condition Ready.
    pub ready: Ready,
    /// When its published token expires; none where there is no token.
    pub expiration: Option<Timestamp>,
}

/// All metrics of this process. One per process, shared by reference.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Labels<2>, Counter>,
    request_duration: Histogram,
    sign_ins: Family<Labels<1>, Counter>,
    passes: Family<Labels<1>, Counter>,
    writes: Family<Labels<2>, Counter>,
    spool: Gauge,
    leader: Gauge,
}

impl Metrics {
    /// Metrics of a process that has just started. `assets` is called at each scrape and lists all assets; it must not wait for anything.
    #[must_use]
    pub fn new(assets: impl Fn() -> Vec<AssetSample> + Send + Sync + 'static) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("emailasset"),
            requests: Family::default(),
            request_duration: Histogram::new(DURATION_BUCKETS),
            sign_ins: Family::default(),
            passes: Family::default(),
            writes: Family::default(),
            spool: Gauge::default(),
            leader: Gauge::default(),
        };
        metrics.register(Assets(Box::new(assets)));
        metrics
    }

    /// Names have no `_total` here: the encoder adds it, and refuses names that have it.
    fn register(&mut self, assets: Assets) {
        let all = &mut self.registry;
        all.register(
            "build",
            "The version of this operator",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        all.register("token_requests", "Requests to token endpoints", self.requests.clone());
        all.register(
            "token_request_duration_seconds",
            "Time from sending a request to a token endpoint to the end of its answer",
            self.request_duration.clone(),
        );
        all.register(
            "sign_ins",
            "Sign-ins that came back to the operator, by what became of them",
            self.sign_ins.clone(),
        );
        all.register("reconcile_passes", "Passes over one asset", self.passes.clone());
        all.register(
            "api_writes",
            "Writes to the API server, without renewals of the Lease",
            self.writes.clone(),
        );
        all.register(
            "spool_entries",
            "Answers of token endpoints that are not stored yet",
            self.spool.clone(),
        );
        all.register("leader", "1 in the replica that leads", self.leader.clone());
        all.register_collector(Box::new(assets));
    }

    /// A request to a token endpoint ended.
    pub fn token_requested(&self, outcome: RequestOutcome, class: RequestClass, took: Duration) {
        self.requests
            .get_or_create(&[("outcome", outcome.label()), ("class", class.label())])
            .inc();
        if outcome != RequestOutcome::NotSent {
            self.request_duration.observe(took.as_secs_f64());
        }
    }

    /// A sign-in ended.
    pub fn signed_in(&self, result: SignInResult) {
        self.sign_ins.get_or_create(&[("result", result.label())]).inc();
    }

    /// A pass over one asset ended.
    pub fn reconciled(&self, outcome: PassOutcome) {
        self.passes.get_or_create(&[("outcome", outcome.label())]).inc();
    }

    /// A write to the API server ended.
    pub fn wrote(&self, resource: Resource, result: WriteResult) {
        self.writes
            .get_or_create(&[("resource", resource.label()), ("result", result.label())])
            .inc();
    }

    /// The spool holds so many answers now.
    pub fn spool_has(&self, entries: usize) {
        self.spool.set(whole(entries));
    }

    /// This replica leads from now on, or no longer.
    pub fn leadership_is(&self, now: crate::leader::Leadership) {
        self.leader.set(i64::from(now == crate::leader::Leadership::Leading));
    }

    /// All metrics as text, of the type [`CONTENT_TYPE`].
    ///
    /// # Errors
    /// None in practice: writing to a string does not fail.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut encoded = String::new();
        text::encode(&mut encoded, &self.registry)?;
        Ok(encoded)
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Makes the series per asset while a scrape waits.
struct Assets(Box<dyn Fn() -> Vec<AssetSample> + Send + Sync>);

impl fmt::Debug for Assets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Assets")
    }
}

impl Collector for Assets {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let assets = (self.0)();
        let help = "1 while the condition Ready of the asset is True, else 0";
        let mut ready = encoder.encode_descriptor("ready", help, None, MetricType::Gauge)?;
        for asset in &assets {
            let value = ConstGauge::new(i64::from(asset.ready == Ready::Yes));
            value.encode(ready.encode_family(&labels(asset))?)?;
        }
        let help = "When the published token of the asset expires, in Unix time";
        let name = "token_expiration_timestamp_seconds";
        let mut expiration = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for asset in &assets {
            if let Some(time) = asset.expiration {
                ConstGauge::new(time.as_second()).encode(expiration.encode_family(&labels(asset))?)?;
            }
        }
        Ok(())
    }
}

fn labels(asset: &AssetSample) -> [(&'static str, &str); 2] {
    [("namespace", &asset.namespace), ("name", &asset.name)]
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::leader::Leadership;

    fn sample(name: &str, ready: Ready, expiration: Option<i64>) -> AssetSample {
        let expiration = expiration.map(|second| Timestamp::from_second(second).unwrap());
        AssetSample {
            namespace: "helpdesk".to_owned(),
            name: name.to_owned(),
            ready,
            expiration,
        }
    }

    fn encoded(metrics: &Metrics) -> String {
        metrics.encode().expect("encodes")
    }

    #[track_caller]
    fn assert_has(metrics: &Metrics, line: &str) {
        let text = encoded(metrics);
        assert!(
            text.lines().any(|found| found == line),
            "{line:?} is missing in\n{text}"
        );
    }

    #[test]
    fn events_are_counted_under_names_for_people() {
        let metrics = Metrics::new(Vec::new);
        metrics.token_requested(RequestOutcome::Answered, RequestClass::None, Duration::from_millis(300));
        metrics.token_requested(RequestOutcome::NotSent, RequestClass::Retry, Duration::ZERO);
        metrics.signed_in(SignInResult::Stored);
        metrics.signed_in(SignInResult::WrongAccount);
        metrics.signed_in(SignInResult::WrongAccount);
        metrics.reconciled(PassOutcome::Rested);
        metrics.wrote(Resource::GrantSecret, WriteResult::Conflict);
        metrics.spool_has(2);
        metrics.leadership_is(Leadership::Leading);
        assert_has(
            &metrics,
            r#"emailasset_token_requests_total{outcome="answered",class="none"} 1"#,
        );
        assert_has(
            &metrics,
            r#"emailasset_token_requests_total{outcome="not_sent",class="retry"} 1"#,
        );
        assert_has(
            &metrics,
            r#"emailasset_token_request_duration_seconds_bucket{le="0.5"} 1"#,
        );
        assert_has(&metrics, "emailasset_token_request_duration_seconds_count 1");
        assert_has(&metrics, r#"emailasset_sign_ins_total{result="stored"} 1"#);
        assert_has(&metrics, r#"emailasset_sign_ins_total{result="wrong_account"} 2"#);
        assert_has(&metrics, r#"emailasset_reconcile_passes_total{outcome="rested"} 1"#);
        assert_has(
            &metrics,
            r#"emailasset_api_writes_total{resource="grant_secret",result="conflict"} 1"#,
        );
        assert_has(&metrics, "emailasset_spool_entries 2");
        assert_has(&metrics, "emailasset_leader 1");
        assert_has(
            &metrics,
            &format!(r#"emailasset_build_info{{version="{}"}} 1"#, env!("CARGO_PKG_VERSION")),
        );
        assert_has(&metrics, "# EOF");
        metrics.leadership_is(Leadership::Standby);
        assert_has(&metrics, "emailasset_leader 0");
    }

    #[test]
    fn series_of_an_asset_end_with_the_asset() {
        let assets = Arc::new(Mutex::new(vec![
            sample("support", Ready::Yes, Some(1_900_000_000)),
            sample("new", Ready::No, None),
        ]));
        let listed = Arc::clone(&assets);
        let metrics = Metrics::new(move || listed.lock().unwrap().clone());
        assert_has(&metrics, r#"emailasset_ready{namespace="helpdesk",name="support"} 1"#);
        assert_has(&metrics, r#"emailasset_ready{namespace="helpdesk",name="new"} 0"#);
        let expiration =
            r#"emailasset_token_expiration_timestamp_seconds{namespace="helpdesk",name="support"} 1900000000"#;
        assert_has(&metrics, expiration);
        assert_eq!(
            encoded(&metrics).matches("token_expiration_timestamp_seconds{").count(),
            1
        );

        assets.lock().unwrap().clear();
        assert!(!encoded(&metrics).contains("helpdesk"));
    }
}
