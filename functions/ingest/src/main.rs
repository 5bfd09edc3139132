//! The endpoint that producers send status updates to.

use std::{process::ExitCode, sync::Arc};

use shared::{
    http::{Edge, updates},
    ingest::Ingest,
};

fn main() -> ExitCode {
    lambda::run(async |env| {
        let ingest = Ingest::from_env(&env, env.connections())?;
        let edge = Edge::from_env(&env)?;
        lambda::serve(updates::router(&edge, &Arc::new(ingest))).await
    })
}
