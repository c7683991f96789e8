//! Everything that is known about one asset when the next step is chosen.
//!
//! The controller fills a [`World`] from its caches and from what a pass has read so far; [`super::decide()`] only looks at it. Nothing here holds a secret: of a
//! refresh token the world knows a [`Fingerprint`], of a client its ID, of a Secret its annotations. That is what lets a restart decide without reading contents.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::api::{EmailAssetStatus, Reason, Rotation, SignInStatus};

/// How many token answers were stored for an asset. It starts at one, and never falls: not through a new seed, not through a new sign-in (invariant 1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation of an answer to a request made with this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl std::fmt::Display for Generation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A one-way digest of a refresh token: tells two seeds apart and gives neither away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub String);

/// Which edition of a Secret was seen: its UID and resourceVersion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InputVersion(pub String);

/// What a grant belongs to. A refresh token is sent to no other origin and under no other client ID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// Scheme, host and port of the endpoint that redeems refresh tokens.
    pub token_endpoint: String,
    /// The OAuth client ID.
    pub client_id: String,
    /// Where tokens are issued without a refresh token: what was asked for, as a digest. No grant is bound then; another question only means another token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
}

/// What a token is bought with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The refresh token of the grant in use.
    Grant,
    /// A seed that was not redeemed before.
    Seed(Fingerprint),
    /// No refresh token: the client itself asks, or its service account. It is never recorded as an attempt, since nothing can be spent.
    Client,
}

/// One recorded try to redeem a grant. It is written before the request, so that a second replica, a stale cache and a restart all see it (invariant 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Random, new for each try.
    pub id: String,
    /// The generation whose refresh token is sent.
    pub generation: Generation,
    /// Which refresh token is sent.
    pub source: Source,
    /// The client ID it is sent under.
    pub client_id: String,
    /// The process that sends it.
    pub holder: String,
    /// Seconds within which the holder is done, counted from the moment the attempt was recorded.
    pub duration_seconds: u32,
}

/// A try that reached the server, perhaps, and brought no answer: the refresh token may be spent (invariant 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unanswered {
    /// Which refresh token was sent.
    pub source: Source,
    /// When the last such try was given up.
    pub since: Timestamp,
    /// How many tries with this token went unanswered.
    pub times: u32,
}

/// The tries that went unanswered and are not settled, at most one line for each refresh token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnansweredTries(pub Vec<Unanswered>);

impl UnansweredTries {
    /// The line of this refresh token.
    #[must_use]
    pub fn of(&self, source: &Source) -> Option<&Unanswered> {
        self.0.iter().find(|tried| tried.source == *source)
    }

    /// With one more unanswered try.
    #[must_use]
    pub fn with(self, source: &Source, since: Timestamp) -> Self {
        let times = self.of(source).map_or(0, |tried| tried.times).saturating_add(1);
        let mut rest = self.without(source);
        rest.0.push(Unanswered {
            source: source.clone(),
            since,
            times,
        });
        rest
    }

    /// Without this refresh token, whose fate is known now.
    #[must_use]
    pub fn without(mut self, source: &Source) -> Self {
        self.0.retain(|tried| tried.source != *source);
        self
    }
}

/// What a refusal of the next request would mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum History {
    /// The provider withdrew the grant, or never gave it.
    #[default]
    Clean,
    /// The refresh token was spent by an earlier request whose answer is lost.
    AnswerLost,
}

/// What became of a seed that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It was redeemed, and the grant grew from it.
    Taken,
    /// The provider refused it.
    Refused,
}

/// One line of the seed ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeedRecord {
    /// Which seed.
    pub fingerprint: Fingerprint,
    /// What became of it.
    pub verdict: Verdict,
    /// The client ID it was sent under.
    pub client_id: String,
}

/// The seeds that were sent, oldest first: none of them is sent again, so that a `git revert` cannot kill a living grant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SeedLedger(pub Vec<SeedRecord>);

impl SeedLedger {
    /// How many seeds are remembered.
    const KEPT: usize = 10;

    /// What became of this seed. A seed that was taken counts under every client, one that was refused only under the client that sent it: a mistyped client ID
    /// must not spend a good seed.
    #[must_use]
    pub fn verdict(&self, seed: &Fingerprint, client_id: &str) -> Option<Verdict> {
        let sent = |record: &&SeedRecord| {
            record.fingerprint == *seed && (record.verdict == Verdict::Taken || record.client_id == client_id)
        };
        self.0.iter().rev().find(sent).map(|record| record.verdict)
    }

    /// The ledger with one more line. Of the oldest lines some are dropped, never the one of the seed that the living grant grew from.
    #[must_use]
    pub fn with(mut self, record: SeedRecord) -> Self {
        self.0.retain(|known| *known != record);
        self.0.push(record);
        while self.0.len() > Self::KEPT {
            let living = self.0.iter().rposition(|record| record.verdict == Verdict::Taken);
            let oldest = usize::from(living == Some(0));
            self.0.remove(oldest);
        }
        self
    }
}

/// What the inputs held when they were last looked at, so that the same editions need not be read again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InputsSeen {
    /// The client Secret, and the client ID in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<(InputVersion, String)>,
    /// The seed Secret, and the fingerprint of the seed in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<(InputVersion, Fingerprint)>,
}

/// The lifetime of an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// When the answer arrived.
    pub issued: Timestamp,
    /// From when on the token is refused.
    pub expires: Timestamp,
}

impl Lifetime {
    /// How long the token lives in all.
    #[must_use]
    pub fn length(&self) -> SignedDuration {
        self.expires.duration_since(self.issued).max(SignedDuration::ZERO)
    }

    /// Whether the token still works.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        now < self.expires
    }
}

/// Who signed in, as the issuer asserts it. Issuer and subject never change for an account (OpenID Connect Core section 2); the name may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Who says so.
    pub issuer: String,
    /// The issuer's own identifier of the account.
    pub subject: String,
    /// The account as people know it, an address nearly always.
    pub name: String,
}

/// Whether a grant Secret is written when its refresh token is redeemed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Upkeep {
    /// Each attempt and each answer is written: the refresh token is replaced, or might be.
    #[default]
    Rotating,
    /// It came from a sign-in at a provider that leaves refresh tokens as they are: routine refreshes leave it alone.
    Standing,
}

/// What the annotations of one of our Secrets say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Stored answers so far; zero before the first.
    pub generation: Generation,
    /// What the grant belongs to; none before the first success.
    pub binding: Option<Binding>,
    /// The newest access token's lifetime; none before the first success.
    pub lifetime: Option<Lifetime>,
    /// The scopes that the provider named, or the ones that were asked for.
    pub scopes: Vec<String>,
    /// When the grant was first redeemed.
    pub granted: Option<Timestamp>,
    /// Seeds that were sent.
    pub seeds: SeedLedger,
    /// What the inputs held.
    pub inputs: InputsSeen,
    /// Who signed in; none where the grant grew from a seed.
    pub account: Option<Account>,
    /// Whether the grant Secret is written at each refresh.
    pub upkeep: Upkeep,
    /// The request for a refresh that the newest answer met. The status says it too, but may fail to be written (invariant 9).
    pub request: Option<String>,
    /// When the refresh token ends by itself; none where nobody says so.
    pub ends: Option<GrantEnd>,
}

/// When a refresh token ends by itself, used or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantEnd {
    /// From when on it is refused.
    pub at: Timestamp,
    /// When that was first known: where each refresh brings a later end, with the newest one.
    pub since: Timestamp,
    /// Who says so.
    pub told_by: EndToldBy,
}

/// Who says when a refresh token ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndToldBy {
    /// The provider, in its answer.
    Provider,
    /// The catalogue, of all refresh tokens of this provider.
    Catalogue,
}

/// The grant Secret: it exists where the provider rotates, might rotate, or once did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrantSecret {
    /// Its annotations.
    pub record: Record,
    /// The attempt that is open, if any.
    pub attempt: Option<Attempt>,
    /// Attempts that ended without an answer.
    pub unanswered: UnansweredTries,
    /// A sign-in with a code that is under way.
    pub device: Option<DeviceAuthorization>,
    /// Whether the garbage collector would remove it with the asset.
    pub retention: Retention,
    /// Whether it names another asset's UID: one that is gone, of the same namespace and name.
    pub heritage: Heritage,
    /// The mailbox that it opens.
    pub mailbox: String,
}

/// A sign-in with a code that is under way (RFC 8628 section 3.2). The device code itself is a secret and stands in the grant Secret's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceAuthorization {
    /// The request that it answers: the value of `emailasset.dev/sign-in`.
    pub request: String,
    /// What the grant will belong to.
    pub binding: Binding,
    /// What the person enters.
    pub user_code: String,
    /// Where the person enters it.
    pub verification_url: String,
    /// From when on the code is refused.
    pub expires: Timestamp,
    /// The least time between two questions, in seconds.
    pub interval_seconds: u32,
}

/// What happens to a grant Secret when its asset is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Retention {
    /// No ownerReference: it stays.
    #[default]
    Stays,
    /// An ownerReference to the asset: it goes too.
    GoesWithAsset,
}

/// Whose a grant Secret was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Heritage {
    /// This asset's own.
    #[default]
    Own,
    /// Retained from an earlier asset of the same name.
    Retained,
}

impl TokenSecret {
    /// As it counts for a plan: a token that was issued in the other way (with a refresh token, or without one) is none of this plan's, and says nothing of a grant.
    #[must_use]
    pub fn under(self, plan: &Plan) -> Self {
        let of_the_other_way = |binding: &Binding| binding.question.is_some() != plan.is_direct();
        if !self.record.binding.as_ref().is_some_and(of_the_other_way) {
            return self;
        }
        Self {
            record: Record {
                inputs: self.record.inputs,
                ..Record::default()
            },
            ..self
        }
    }
}

/// The token Secret: what consumers mount.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenSecret {
    /// Its annotations. Where there is no grant Secret they are the grant's record.
    pub record: Record,
    /// A digest of everything in it that comes from the spec and not from the token.
    pub rendering: String,
}

/// A place where a Secret of ours belongs, and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot<T> {
    /// Nothing.
    Free,
    /// Our Secret.
    Ours(T),
    /// A Secret of an earlier asset of the same name, which the garbage collector is about to remove.
    Leaving,
    /// Somebody else's Secret: never touched (invariant 6).
    Foreign {
        /// What it is, in words.
        found: String,
        /// Its owner's word that we may replace it.
        handover: Handover,
    },
}

impl<T> Slot<T> {
    /// Our Secret, if it is there.
    #[must_use]
    pub const fn ours(&self) -> Option<&T> {
        match self {
            Self::Ours(secret) => Some(secret),
            _ => None,
        }
    }
}

/// Whether somebody else's Secret carries the annotation that hands it over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handover {
    /// No annotation.
    None,
    /// `emailasset.dev/adopt` names this asset.
    Granted,
}

/// What is known of an input: a Secret that people write and we only read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<T> {
    /// The asset needs none.
    NotNeeded(T),
    /// It is there, and this pass has not read it.
    Unread(InputVersion),
    /// It was read.
    Read(InputVersion, T),
    /// It is not there, or what it holds cannot be used: what was found, what was expected and the next step.
    Unusable(String),
    /// The spec names none and needs none: a person signs in.
    Unnamed,
}

/// Whether a rotating seed is this asset's to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeedClaim {
    /// No other asset with a better claim names the same Secret and key.
    This,
    /// Another asset has sent it already, or is older.
    Older(String),
}

/// The effective settings of an asset, after catalogue and overrides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Scheme, host and port of the endpoint that redeems refresh tokens.
    pub token_endpoint: String,
    /// What is asked for where tokens are issued without a person and a refresh token (endpoint, account, scopes), as a digest; none: a refresh token is redeemed.
    pub question: Option<String>,
    /// Whether a redeemed refresh token is replaced by a new one.
    pub rotation: Rotation,
    /// How long a spent refresh token is still answered, where that is known.
    pub reuse_grace: Option<SignedDuration>,
    /// What limits refreshes, and what ends a grant by itself.
    pub limits: Limits,
    /// The wish of `spec.renewBefore`.
    pub renew_before: Option<SignedDuration>,
    /// What becomes of the grant Secret when the asset is deleted.
    pub retention: Retention,
    /// What is done with the grant before the asset goes.
    pub farewell: Farewell,
    /// What the token Secret should show apart from the token, as a digest.
    pub rendering: String,
    /// How a person signs in, as the status shows it; empty where nobody has to.
    pub sign_in: SignInStatus,
    /// The Secrets by name, for messages.
    pub names: Names,
}

/// What a provider minds, and what ends its grants by themselves, as far as that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// The time between two redemptions of one refresh token that the provider never minds.
    pub refresh_interval: Option<SignedDuration>,
    /// How long to wait when it asks for fewer requests and does not say how long.
    pub throttled_for: Option<SignedDuration>,
    /// A refresh token that is not redeemed for this long is dead.
    pub max_idle: Option<SignedDuration>,
    /// It is redeemed by then even where nobody needs the access token.
    pub keep_alive: Option<SignedDuration>,
    /// How long it lives while the app is in testing at the provider.
    pub while_testing: Option<SignedDuration>,
}

/// What is done with a grant before its asset goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Farewell {
    /// Nothing.
    #[default]
    Silent,
    /// The refresh token is given back to the provider. Our finalizer keeps the asset until then.
    Revoke,
}

/// Names that messages use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// `namespace/name` of the asset.
    pub asset: String,
    /// The mailbox.
    pub email: String,
    /// The provider as a person would call it: "Google", or the token endpoint's host.
    pub provider: String,
    /// `namespace/name` of the seed Secret, and the key.
    pub seed: String,
    /// `namespace/name` of the client Secret.
    pub client: String,
    /// `namespace/name` of the grant Secret.
    pub grant_secret: String,
    /// `namespace/name` of the token Secret.
    pub token_secret: String,
    /// How a person signs in; none: the grant grows from a seed.
    pub sign_in: Option<SignInWay>,
}

/// How a person signs in, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInWay {
    /// In a browser or with a code.
    pub by: SignInBy,
    /// The account that must sign in.
    pub login: String,
    /// The page to begin at; none where the operator has no public address.
    pub page: Option<String>,
}

/// In a browser or with a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInBy {
    /// Grant `AuthorizationCode`.
    Browser,
    /// Grant `DeviceCode`.
    Device,
}

impl Plan {
    /// Whether the grant begins with a person who signs in.
    #[must_use]
    pub const fn begins_with_sign_in(&self) -> bool {
        self.names.sign_in.is_some()
    }

    /// Whether tokens are issued to the client itself or its service account: there is no grant to keep.
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        self.question.is_some()
    }

    /// Why there is no token where no grant is at hand.
    #[must_use]
    pub const fn wants(&self) -> Reason {
        if self.begins_with_sign_in() {
            Reason::SignInRequired
        } else {
            Reason::SeedRequired
        }
    }
}

/// Why a spec cannot be carried out as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRefusal {
    /// `InvalidSpec`, `HostNotAllowed`, `ProviderNotAllowed` or `ProviderNotReady`; where an issuer's metadata are not known `Pending`, `Suspended`, or what became of
    /// asking for them.
    pub reason: Reason,
    /// What was found, what was expected and the next step.
    pub message: String,
}

/// Whether the plan waits for the metadata of an issuer, which tell its endpoints. Where one was ever read there is a plan, and this is `Settled`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Discovery {
    /// It does not.
    #[default]
    Settled,
    /// It does, and the issuer may be asked now.
    Due,
    /// It does, and the issuer is being asked.
    Underway,
    /// It does, and asking failed; the issuer is asked again then.
    Failed {
        /// When.
        again: Timestamp,
    },
}

/// Who sends the open attempt, as far as this process can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptHolder {
    /// This process.
    This,
    /// An earlier process of the same locked spool directory: certainly gone.
    Earlier,
    /// Another process, seen for this long on this process's own monotonic clock.
    Other {
        /// How long the attempt has been in sight.
        watched: SignedDuration,
    },
}

/// How the grant Secret (or its absence) was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// By the watch, which may lag.
    Cached,
    /// Asked for in this pass.
    Live,
}

/// Everything that is known.
#[derive(Debug, Clone)]
pub struct World {
    /// `metadata.generation`.
    pub asset_generation: i64,
    /// Whether the asset is being deleted.
    pub presence: Presence,
    /// Whether our finalizer keeps it.
    pub hold: Hold,
    /// `spec.suspend`.
    pub activity: Activity,
    /// The value of the annotation `emailasset.dev/refresh`.
    pub refresh_request: Option<String>,
    /// The value of the annotation `emailasset.dev/sign-in`.
    pub sign_in_request: Option<String>,
    /// A number in `0.0..1.0`, stable for this asset: spreads refreshes.
    pub jitter: f64,
    /// What is to be done, or why it cannot be.
    pub plan: Result<Plan, PlanRefusal>,
    /// Whether the plan waits for an issuer's metadata.
    pub discovery: Discovery,
    /// The OAuth client.
    pub client: Input<String>,
    /// The seed.
    pub seed: Input<Fingerprint>,
    /// Whose the seed is, where it rotates.
    pub seed_claim: SeedClaim,
    /// The grant Secret.
    pub grant: Slot<GrantSecret>,
    /// How the grant Secret was seen.
    pub grant_sight: Sight,
    /// The token Secret.
    pub token: Slot<TokenSecret>,
    /// Token Secrets of this asset under an earlier name.
    pub renamed: Option<TokenSecret>,
    /// Who holds the open attempt; meaningful only while one is open.
    pub attempt_holder: AttemptHolder,
    /// From when on the server may be asked whether the code was entered; meaningful only while a device authorization is under way.
    pub device_due: Timestamp,
    /// The spec generation and input versions under which the last failure happened, as far as this process saw it.
    pub failed_under: Option<Circumstances>,
    /// The status as last shown or meant to be shown.
    pub status: EmailAssetStatus,
}

/// What a failure depended on: when it changes, backoff ends at once (invariant 8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// `metadata.generation`.
    pub asset_generation: i64,
    /// The client Secret's edition.
    pub client: Option<InputVersion>,
    /// The seed Secret's edition.
    pub seed: Option<InputVersion>,
}

/// Whether the asset is here to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Staying,
    /// It is being deleted.
    Leaving {
        /// When somebody asked for that.
        since: Timestamp,
    },
}

/// Whether our finalizer keeps an asset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hold {
    /// It does not.
    #[default]
    Free,
    /// It does.
    Held,
}

/// Whether provider calls are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// They are.
    Active,
    /// `spec.suspend: true`.
    Suspended,
}
