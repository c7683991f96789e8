//! The pages as browsers, providers and attackers meet them: over sockets, with a desk that notes what it is asked.

mod attacks;
mod browser;
mod html;
mod limits;
mod rig;
mod sign_in;
