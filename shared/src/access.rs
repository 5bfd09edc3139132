//! Who may watch what, and how much of it.

pub mod grant;
mod keys;
pub mod limits;
mod signature;
pub mod token;
mod verified;
