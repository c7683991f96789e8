//! Logins at scripted servers over loopback: `conversations` has the lines of real servers, `lies` what no server should do.

mod conversations;
mod lies;
mod server;
