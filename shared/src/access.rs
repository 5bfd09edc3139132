//! Who may watch what.

pub mod grant;
pub mod token;
