//! Worlds to decide about: `World::fresh().rotating().published(0, 60)` reads as the situation it makes.

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{EmailAssetStatus, FailureClass, Reason, Rotation, SignInStatus},
    lifecycle::{
        Account, Activity, Attempt, AttemptHolder, Binding, DeviceAuthorization, Discovery, Failure, Farewell,
        Fingerprint, Generation, GrantSecret, Handover, Hold, Input, InputVersion, InputsSeen, Lifetime, Limits, Names,
        Plan, PlanRefusal, Presence, Record, Retention, SeedClaim, SeedLedger, SeedRecord, Sight, SignInBy, SignInWay,
        Slot, Source, TokenSecret, Upkeep, Verdict, World, decide, note_failure, note_success, status,
        suspended_undiscovered,
    },
};

/// The moment at which tests begin.
pub(super) fn start() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

/// So many minutes after the beginning.
pub(super) fn minute(minutes: i64) -> Timestamp {
    start() + SignedDuration::from_mins(minutes)
}

pub(super) const ENDPOINT: &str = "https://oauth2.googleapis.com";

pub(super) fn plan() -> Plan {
    Plan {
        token_endpoint: ENDPOINT.to_owned(),
        question: None,
        rotation: Rotation::None,
        reuse_grace: None,
        limits: Limits::default(),
        renew_before: None,
        retention: Retention::Stays,
        farewell: Farewell::Silent,
        rendering: "rendering-1".to_owned(),
        names: Names {
            asset: "helpdesk/support".to_owned(),
            email: "support@example.com".to_owned(),
            provider: "Google".to_owned(),
            seed: "helpdesk/support-seed, key refresh_token".to_owned(),
            client: "helpdesk/google-oauth-client".to_owned(),
            grant_secret: "helpdesk/support-grant".to_owned(),
            token_secret: "helpdesk/support-token".to_owned(),
            sign_in: None,
        },
        sign_in: SignInStatus::default(),
    }
}

pub(super) fn fingerprint(seed: &str) -> Fingerprint {
    Fingerprint(format!("sha-{seed}"))
}

pub(super) fn seed(seed: &str) -> Source {
    Source::Seed(fingerprint(seed))
}

pub(super) fn version(of: &str) -> InputVersion {
    InputVersion(format!("uid-{of}"))
}

pub(super) fn binding(client: &str) -> Binding {
    Binding {
        token_endpoint: ENDPOINT.to_owned(),
        client_id: client.to_owned(),
        question: None,
    }
}

pub(super) fn line(seed: &str, verdict: Verdict) -> SeedRecord {
    SeedRecord {
        fingerprint: fingerprint(seed),
        verdict,
        client_id: "client-1".to_owned(),
    }
}

pub(super) fn lifetime(issued: i64, expires: i64) -> Lifetime {
    Lifetime {
        issued: minute(issued),
        expires: minute(expires),
    }
}

/// A failure as the controller would report it.
pub(super) fn failure(class: FailureClass, reason: Reason) -> Failure {
    Failure {
        class,
        reason,
        code: "code".to_owned(),
        message: format!("Google said something about {reason}."),
        retry_after: None,
        trace_id: None,
    }
}

impl World {
    /// A new asset at a provider where nothing rotates; client and seed are there and were read.
    pub(super) fn fresh() -> Self {
        Self {
            asset_generation: 1,
            presence: Presence::Staying,
            hold: Hold::Free,
            activity: Activity::Active,
            refresh_request: None,
            sign_in_request: None,
            jitter: 0.0,
            plan: Ok(plan()),
            client: Input::Read(version("client-1"), "client-1".to_owned()),
            seed: Input::Read(version("a"), fingerprint("a")),
            seed_claim: SeedClaim::This,
            grant: Slot::Free,
            grant_sight: Sight::Cached,
            token: Slot::Free,
            renamed: None,
            attempt_holder: AttemptHolder::This,
            device_due: start(),
            discovery: Discovery::Settled,
            failed_under: None,
            status: EmailAssetStatus {
                observed_generation: Some(-1),
                ..EmailAssetStatus::default()
            },
        }
    }

    pub(super) fn planned(mut self, change: impl FnOnce(&mut Plan)) -> Self {
        change(self.plan.as_mut().unwrap());
        self
    }

    /// A person signs in, in a browser.
    pub(super) fn signing_in(mut self) -> Self {
        self.seed = Input::Unnamed;
        self.planned(|plan| {
            plan.names.sign_in = Some(SignInWay {
                by: SignInBy::Browser,
                login: "support@example.com".to_owned(),
                page: Some("https://mail.example.com/sign-in/helpdesk/support/abc".to_owned()),
            });
        })
    }

    /// A person signs in with a code.
    pub(super) fn signing_in_by_device(self) -> Self {
        self.signing_in().planned(|plan| {
            if let Some(way) = &mut plan.names.sign_in {
                way.by = SignInBy::Device;
                way.page = None;
            }
        })
    }

    /// Somebody signed in at this minute, and the token of that ends at minute `expires`.
    pub(super) fn signed_in(self, granted: i64, expires: i64) -> Self {
        let upkeep = match self.plan.as_ref().unwrap().rotation {
            Rotation::None => Upkeep::Standing,
            _ => Upkeep::Rotating,
        };
        self.grant_secret(|grant| {
            grant.mailbox = "support@example.com".to_owned();
            grant.device = None;
            grant.attempt = None;
            grant.record = Record {
                generation: grant.record.generation.next(),
                binding: Some(binding("client-1")),
                lifetime: Some(lifetime(granted, expires)),
                scopes: vec!["https://mail.google.com/".to_owned()],
                granted: Some(minute(granted)),
                inputs: InputsSeen {
                    client: Some((version("client-1"), "client-1".to_owned())),
                    seed: None,
                },
                account: Some(Account {
                    issuer: "https://accounts.google.com".to_owned(),
                    subject: "42".to_owned(),
                    name: "support@example.com".to_owned(),
                }),
                upkeep,
                ..Record::default()
            };
        })
    }

    /// What the grant Secret holds is published too, and the status says so.
    pub(super) fn and_published(mut self, now: i64) -> Self {
        let grant = self.grant.ours().expect("a grant Secret").record.clone();
        self.token = Slot::Ours(TokenSecret {
            record: Record {
                account: None,
                upkeep: Upkeep::Rotating,
                ..grant
            },
            rendering: "rendering-1".to_owned(),
        });
        self.shown(minute(now))
    }

    /// A refresh where the grant Secret is left alone.
    pub(super) fn refreshed(self, issued: i64, expires: i64) -> Self {
        let mut world = self.token_secret(|token| {
            token.record.generation = token.record.generation.next();
            token.record.lifetime = Some(lifetime(issued, expires));
        });
        note_success(&mut world);
        world.shown(minute(issued))
    }

    /// The value of `emailasset.dev/sign-in`.
    pub(super) fn asked_to_sign_in(mut self, value: &str) -> Self {
        self.sign_in_request = Some(value.to_owned());
        self
    }

    /// A code that answers this request waits to be entered, until minute `expires`.
    pub(super) fn with_code(self, request: &str, expires: i64) -> Self {
        self.grant_secret(|grant| {
            grant.mailbox = "support@example.com".to_owned();
            grant.record.inputs.client = Some((version("client-1"), "client-1".to_owned()));
            grant.device = Some(DeviceAuthorization {
                request: request.to_owned(),
                binding: binding("client-1"),
                user_code: "BDSD-HQMK".to_owned(),
                verification_url: "https://id.example.com/device".to_owned(),
                expires: minute(expires),
                interval_seconds: 5,
            });
        })
    }

    /// Each answer replaces the refresh token, and the old one is dead.
    pub(super) fn rotating(self) -> Self {
        self.planned(|plan| plan.rotation = Rotation::Strict)
    }

    /// Each answer replaces the refresh token, and the old one goes on working.
    pub(super) fn softly_rotating(self) -> Self {
        self.planned(|plan| plan.rotation = Rotation::Soft)
    }

    /// Other content in the seed Secret, read.
    pub(super) fn seeded(mut self, seed: &str) -> Self {
        self.seed = Input::Read(version(seed), fingerprint(seed));
        self
    }

    pub(super) fn without_seed(mut self) -> Self {
        self.seed = Input::Unusable("Secret helpdesk/support-seed does not exist; make it.".to_owned());
        self
    }

    pub(super) fn with_client(mut self, client: &str) -> Self {
        self.client = Input::Read(version(client), client.to_owned());
        self
    }

    pub(super) fn without_client(mut self) -> Self {
        self.client = Input::Unusable("Secret helpdesk/google-oauth-client does not exist; make it.".to_owned());
        self
    }

    pub(super) fn suspended(mut self) -> Self {
        self.activity = Activity::Suspended;
        self
    }

    pub(super) fn asked_for_a_refresh(mut self, value: &str) -> Self {
        self.refresh_request = Some(value.to_owned());
        self
    }

    pub(super) fn refused_spec(mut self, reason: Reason) -> Self {
        self.plan = Err(PlanRefusal {
            reason,
            message: format!("spec: {reason}. Correct it: kubectl edit emailasset -n helpdesk support"),
        });
        self
    }

    /// Its conditions are those of its second minute.
    pub(super) fn ready_before(mut self) -> Self {
        let now = minute(1);
        let standing = crate::lifecycle::decide(&self, now).standing;
        self.status = crate::lifecycle::status(&self, &standing, now).unwrap();
        self
    }

    /// The issuer was asked for its metadata in vain, and is asked again at this minute.
    pub(super) fn undiscovered(mut self, reason: Reason, again: i64) -> Self {
        self.plan = Err(PlanRefusal {
            reason,
            message: match reason {
                Reason::Suspended => suspended_undiscovered("helpdesk/support"),
                _ => "What the issuer https://id.example.com says about itself could not be read: id.example.com answered with HTTP 503. It is asked again.".to_owned(),
            },
        });
        self.discovery = Discovery::Failed { again: minute(again) };
        self
    }

    /// A token of generation 3, grown from seed a, was published at minute `issued` and ends at minute `expires`; nothing is left to note.
    pub(super) fn published(mut self, issued: i64, expires: i64) -> Self {
        let rotates = self.plan.as_ref().unwrap().rotation != Rotation::None;
        let record = Record {
            generation: Generation(3),
            binding: Some(binding("client-1")),
            lifetime: Some(lifetime(issued, expires)),
            scopes: vec!["https://mail.google.com/".to_owned()],
            granted: Some(minute(issued - 60)),
            seeds: SeedLedger(vec![line("a", Verdict::Taken)]),
            inputs: InputsSeen {
                client: Some((version("client-1"), "client-1".to_owned())),
                seed: Some((version("a"), fingerprint("a"))),
            },
            account: None,
            upkeep: Upkeep::Rotating,
            request: None,
            ends: None,
        };
        let mut published = record.clone();
        if rotates {
            published.seeds = SeedLedger::default();
            self.grant = Slot::Ours(GrantSecret {
                record,
                mailbox: "support@example.com".to_owned(),
                retention: self.plan.as_ref().unwrap().retention,
                ..GrantSecret::default()
            });
        }
        self.token = Slot::Ours(TokenSecret {
            record: published,
            rendering: "rendering-1".to_owned(),
        });
        self.shown(minute(issued))
    }

    /// The status is what a pass at this moment would have left.
    pub(super) fn shown(mut self, now: Timestamp) -> Self {
        let standing = decide(&self, now).standing;
        self.status = status(&self, &standing, now).unwrap();
        self
    }

    /// The last try ended like this at this moment, and the status says so.
    pub(super) fn failed(mut self, class: FailureClass, reason: Reason, now: Timestamp) -> Self {
        note_failure(&mut self, failure(class, reason), now, 1.0);
        self.shown(now)
    }

    pub(super) fn grant_secret(mut self, change: impl FnOnce(&mut GrantSecret)) -> Self {
        let mut grant = self.grant.ours().cloned().unwrap_or_default();
        change(&mut grant);
        self.grant = Slot::Ours(grant);
        self
    }

    pub(super) fn token_secret(mut self, change: impl FnOnce(&mut TokenSecret)) -> Self {
        let mut token = self.token.ours().cloned().unwrap_or_default();
        change(&mut token);
        self.token = Slot::Ours(token);
        self
    }

    /// A line in the ledger of whichever Secret keeps it.
    pub(super) fn ledger(mut self, seed: &str, verdict: Verdict) -> Self {
        let record = match (&mut self.grant, &mut self.token) {
            (Slot::Ours(grant), _) => &mut grant.record,
            (_, Slot::Ours(token)) => &mut token.record,
            _ => panic!("no Secret keeps a ledger"),
        };
        record.seeds = record.seeds.clone().with(line(seed, verdict));
        self
    }

    /// A grant Secret without data, which remembers that this first seed was refused.
    pub(super) fn remembering_a_refused_seed(self, seed: &str) -> Self {
        self.grant_secret(|grant| {
            grant.mailbox = "support@example.com".to_owned();
            grant.record.seeds = SeedLedger(vec![line(seed, Verdict::Refused)]);
            grant.record.inputs = InputsSeen {
                client: Some((version("client-1"), "client-1".to_owned())),
                seed: Some((version(seed), fingerprint(seed))),
            };
        })
    }

    /// An attempt to redeem this is open.
    pub(super) fn attempting(self, source: Source, holder: AttemptHolder) -> Self {
        let mut world = self.grant_secret(|grant| {
            grant.attempt = Some(Attempt {
                id: "attempt-1".to_owned(),
                generation: grant.record.generation,
                source,
                client_id: "client-1".to_owned(),
                holder: "holder-1".to_owned(),
                duration_seconds: 90,
            });
        });
        world.attempt_holder = holder;
        world
    }

    /// A try with this refresh token got no answer.
    pub(super) fn unanswered(self, source: &Source, since: Timestamp) -> Self {
        self.grant_secret(|grant| grant.unanswered = std::mem::take(&mut grant.unanswered).with(source, since))
    }

    /// A restart: nothing was read yet, and nothing is remembered but what stands in the cluster.
    pub(super) fn restarted(mut self) -> Self {
        if let Input::Read(version, _) = &self.client {
            self.client = Input::Unread(version.clone());
        }
        if let Input::Read(version, _) = &self.seed {
            self.seed = Input::Unread(version.clone());
        }
        self.failed_under = None;
        self.grant_sight = Sight::Cached;
        self
    }
}

pub(super) fn foreign<T>(handover: Handover) -> Slot<T> {
    Slot::Foreign {
        found: "of type Opaque".to_owned(),
        handover,
    }
}

/// The conditions in short: `R T Fresh | A T Stored | X T Refreshed`. Those that are absent are left out.
pub(super) fn row(status: &EmailAssetStatus) -> String {
    let letter = |kind: &str| match kind {
        "Ready" => "R",
        "Authorized" => "A",
        "Refreshed" => "X",
        "Stalled" => "S",
        "Reconciling" => "C",
        other => panic!("unknown condition {other}"),
    };
    let cells: Vec<String> = status
        .conditions
        .iter()
        .map(|condition| {
            format!(
                "{} {} {}",
                letter(&condition.type_),
                condition.status.chars().next().unwrap(),
                condition.reason
            )
        })
        .collect();
    cells.join(" | ")
}
