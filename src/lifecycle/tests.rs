//! Tests of the life of a token. [`worlds`] builds what is known, [`play`] plays controller, API server and token server in virtual time.

mod backup;
mod binding;
mod conflicts;
mod direct;
mod farewell;
mod foresight;
mod lives;
mod messages;
mod play;
mod schedule;
mod seeds;
mod signing_in;
mod table;
mod transitions;
mod unknown;
mod worlds;
