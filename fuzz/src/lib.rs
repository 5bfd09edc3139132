//! What fuzz targets share.

pub mod request;
pub mod token;
