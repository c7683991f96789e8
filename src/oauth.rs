//! One exchange with an authorization server: redeeming a refresh token, an authorization code or a device code, or asking for a token without any of them
//! ([`issue`]); client authentication ([`assertion`]), the answer and its class; and who signed in ([`identity`]).
//!
//! [`TokenClient::redeem`] sends one request and says how it ended. It never retries: only the caller knows whether a second
//! request could kill a rotating grant (invariant 2). This room touches HTTP and nothing else.
//!
//! ```text
//! Redemption ──request (the oauth2 crate writes it)──> transport ──> Received ──answer::parse──> Answer | Refusal
//!                                                          └──────────────> Outcome <───────────────┘
//! ```
//!
//! # How a redemption ends
//!
//! | what happened | [`Outcome`] | why |
//! |---|---|---|
//! | endpoint not `https`, address not allowed, DNS, connection, proxy or TLS failed, limit reached while connecting | `NotSent` | no byte of the body, where the refresh token is, was handed to a connection |
//! | 2xx with a usable access token, also where the connection broke right after the last brace | `Answered` | a complete JSON object is a complete answer; dropping it could lose a rotated token |
//! | an `error` in a JSON object, at any status, other than 2xx next to a usable token; with 5xx only a code that we know | `Refused` | the server decided; gateways too write `"error": "Bad Gateway"` |
//! | 429, 503, 3xx, 4xx whatever the body, even cut off | `Refused` | the status alone says that nothing was issued |
//! | other 5xx (and status 600 and above) without a known `error` | `Unknown` | a gateway may have lost the answer of a server that did rotate |
//! | 2xx with HTML, no JSON object, no usable access token, a body that was cut off, slow or larger than the limit | `Unknown` | the server may have rotated, and we cannot read to what |
//! | reset or limit reached after the body was handed over | `Unknown` | the server may have read it |
//!
//! "Handed over" is measured, not guessed from error kinds: the request body notes the moment the connection first asks for
//! it ([`transport`]).

pub mod answer;
pub mod assertion;
pub mod classify;
pub mod device;
pub mod errors;
pub mod exchange;
mod headers;
pub mod identity;
pub mod issue;
pub mod redeem;
pub mod request;
mod resolver;
pub mod revoke;
pub mod situation;
pub mod transport;

pub use crate::outbound::{CaBundle, CaBundleError, PrivateAddresses};
pub use answer::Answer;
pub use assertion::{ClientKey, KeyProblem, MailboxAssertion, ServiceAccount, SigningKey};
pub use classify::{Cause, Class, ErrorCode, Evidence, Refusal};
pub use device::{DeviceAuthorization, DeviceFailure, DevicePoll, DevicePolled, DeviceRequest};
pub use exchange::CodeExchange;
pub use identity::{
    Account, DocumentError, Metadata, Question, Undiscovered, Unproven, account_matches, discover, discover_anew, prove,
};
pub use issue::{Issuance, IssuedTo};
pub use redeem::{FailureKind, Outcome, TokenClient, TransportFailure};
pub use request::{ClientAuthentication, ClientCredentials, Redemption};
pub use revoke::{NotRevoked, Revocation};
pub use situation::{Circumstance, Dialect, Situation};
pub use transport::{HttpError, HttpSettings, ProxySetting};

#[cfg(test)]
pub(crate) mod tests;
