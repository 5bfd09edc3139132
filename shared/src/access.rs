//! Who may watch what, and how much of it.

pub mod grant;
pub mod limits;
pub mod token;
