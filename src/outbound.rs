//! What every connection to somebody else's server obeys, whatever it speaks there: which addresses may be reached ([`address`]), which authorities vouch for the
//! server ([`certificates`]), and what of its words may be shown to people ([`echo`], [`words`]).
//!
//! `oauth` (HTTP) and `mail` (IMAP, SMTP, POP3) build on it. Invariants 5 and 10 begin here.

pub mod address;
pub mod certificates;
pub mod echo;
mod recent;
pub mod words;

pub use address::PrivateAddresses;
pub use certificates::{CaBundle, CaBundleError};
pub use echo::SecretsInPlay;
pub(crate) use recent::Recent;
