//! What mail servers say when they keep somebody out, as rows. A new fact is a new row, with its source.
//!
//! The first row that fits decides; where none does, the kind of the answer and how far the login had come.

use super::answer::{Answer, Tone};
use super::login::Step;
use super::meaning::Meaning;
use super::server::Protocol::{self, Imap, Pop3, Smtp};

/// Protocol (none: any), what must all stand in the answer in lower case, and what that means.
type Row = (Option<Protocol>, &'static [&'static str], Meaning);

/// Sources: RFC where named; "vendor" is the vendor's documentation, "client" the code of a well-kept mail client, "report" what people report, "memory" unchecked.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    // Passing trouble comes first: nothing that passes may look like a refusal.
    (None,       &["too many"],                                          Meaning::Throttled),              // Gmail 454 4.7.0 and its IMAP alert: report; Yahoo 535 5.7.0 (#AUTH005): report
    (None,       &["throttled"],                                         Meaning::Throttled),              // Exchange IMAP, "Request is throttled. Suggested Backoff Time": report
    (None,       &["rate limit"],                                        Meaning::Throttled),              // Yahoo: report
    (None,       &["concurrent connections limit"],                      Meaning::Throttled),              // Exchange 432 4.3.2: memory
    (Some(Imap), &["[limit]"],                                           Meaning::Throttled),              // RFC 5530
    (Some(Pop3), &["[login-delay]"],                                     Meaning::Throttled),              // RFC 2449 section 8.1.1
    (Some(Smtp), &["5.4.5", "sending limit"],                            Meaning::SendingLimit),           // Gmail 550: report
    (Some(Smtp), &["430 4.2.0"],                                         Meaning::NotYetInForce),          // Exchange STOREDRV, MapiExceptionLogonFailed: reports
    (None,       &["mapiexceptionlogonfailed"],                          Meaning::NotYetInForce),          // the same, other code
    (None,       &["has no rights on this session"],                     Meaning::NotYetInForce),          // the same
    (None,       &["temporary authentication failure"],                  Meaning::CannotCheck),            // Dovecot, Postfix, Exchange 454 4.7.0: seen, memory
    (Some(Smtp), &["454 4.7.0"],                                         Meaning::CannotCheck),            // RFC 4954 section 6; Gmail "temporary system problem": report
    (Some(Imap), &["[unavailable]"],                                     Meaning::CannotCheck),            // RFC 5530, Dovecot with its introspection down: seen
    (Some(Imap), &["[inuse]"],                                           Meaning::Temporary),              // RFC 5530
    (Some(Pop3), &["[in-use]"],                                          Meaning::Temporary),              // RFC 2449 section 8.1.2
    (Some(Pop3), &["[sys/temp]"],                                        Meaning::CannotCheck),            // RFC 3206

    (None,       &["authenticated but not connected"],                   Meaning::NotConnected),           // Exchange IMAP: client (mutt), reports
    (None,       &["smtpclientauthentication is disabled"],              Meaning::SmtpAuthDisabled),       // Exchange 535 5.7.139: vendor
    (None,       &["basic authentication is disabled"],                  Meaning::PasswordLoginDisabled),  // Exchange 535 5.7.139: report
    (Some(Smtp), &["535 5.7.139", "did not meet the criteria"],          Meaning::PasswordLoginDisabled),  // Exchange: report
    (Some(Smtp), &["550 5.7.30"],                                        Meaning::PasswordLoginDisabled),  // Exchange, "Basic authentication is not supported for Client Submission": vendor
    (Some(Smtp), &["535 5.7.139"],                                       Meaning::BlockedByPolicy),        // Exchange, security defaults and the like: report
    (None,       &["application-specific password"],                     Meaning::PasswordLoginDisabled),  // Gmail: report
    (Some(Smtp), &["534 5.7.9"],                                         Meaning::PasswordLoginDisabled),  // Gmail: report
    (Some(Smtp), &["534 5.7.14"],                                        Meaning::PasswordLoginDisabled),  // Gmail: report
    (None,       &["web login required"],                                Meaning::PasswordLoginDisabled),  // Gmail IMAP, [WEBALERT]: report
    (None,       &["not enabled for imap"],                              Meaning::ProtocolDisabled),       // Gmail [ALERT]: report
    (None,       &["not enabled for pop"],                               Meaning::ProtocolDisabled),       // Gmail [SYS/PERM]: report
    (Some(Smtp), &["550 5.7.60"],                                        Meaning::SenderNotAllowed),       // Exchange: report
    (Some(Smtp), &["5.2.252"],                                           Meaning::SenderNotAllowed),       // Exchange SendAsDenied: memory
    (Some(Smtp), &["530 5.7.57"],                                        Meaning::MailboxNotOpened),       // Exchange forgot the login: report
    (Some(Smtp), &["5.7.13"],                                            Meaning::AccountDisabled),        // RFC 5248
    (Some(Smtp), &["line too long"],                                     Meaning::TokenTooLong),           // 500 5.5.2 of Dovecot: seen
    (Some(Smtp), &["500 5.5.6"],                                         Meaning::TokenTooLong),           // RFC 4954 section 4, "Authentication Exchange line is too long"
    (None,       &["unrecognized authentication type"],                  Meaning::MechanismNotOffered),    // Exchange 504 5.7.4: report
    (Some(Smtp), &["504 5"],                                             Meaning::MechanismNotOffered),    // RFC 4954 section 4
    (Some(Smtp), &["authentication not enabled"],                        Meaning::MechanismNotOffered),    // Postfix 503 5.5.1: memory
    (Some(Imap), &["[authorizationfailed]"],                             Meaning::WrongUser),              // RFC 5530
    (Some(Imap), &["[contactadmin]"],                                    Meaning::BlockedByPolicy),        // RFC 5530
    (Some(Imap), &["[authenticationfailed]"],                            Meaning::CredentialRefused),      // RFC 5530
    (Some(Imap), &["[expired]"],                                         Meaning::CredentialRefused),      // RFC 5530
    (Some(Pop3), &["[auth]"],                                            Meaning::CredentialRefused),      // RFC 3206
];

/// What an answer other than yes means.
pub(super) fn meaning(protocol: Protocol, step: Step, answer: &Answer) -> Meaning {
    let text = answer.text.to_lowercase();
    let fits = |(spoken, words, _): &&Row| {
        spoken.is_none_or(|spoken| spoken == protocol) && words.iter().all(|word| text.contains(word))
    };
    ROWS.iter()
        .find(fits)
        .map_or_else(|| by_tone(step, answer.tone), |(_, _, meaning)| *meaning)
}

fn by_tone(step: Step, tone: Tone) -> Meaning {
    match (tone, step) {
        (Tone::Yes, _) => Meaning::Accepted,
        (Tone::NotNow | Tone::Closing, _) => Meaning::Temporary,
        (Tone::No | Tone::NotUnderstood, Step::StartTls) => Meaning::NoStartTls,
        (Tone::No, Step::Authenticate) => Meaning::CredentialRefused,
        (Tone::No, Step::Command) => Meaning::MailboxNotOpened,
        (Tone::NotUnderstood, _) => Meaning::Misunderstood,
        (Tone::No, _) => Meaning::TurnedAway,
    }
}
