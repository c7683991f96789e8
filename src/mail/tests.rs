//! Logins at scripted servers over loopback: `conversations` has the lines of real servers, `lies` what no server should do. `dovecot` is a real server.

mod conversations;
mod dovecot;
mod lies;
mod server;
