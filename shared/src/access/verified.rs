//! Tokens that were found to be valid, so that who comes back is let in at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use ring::digest::{Context, Digest, SHA256};

use super::{grant::Grant, keys::Ring};

/// The most that are kept.
const MOST: usize = 10_000;

/// Valid tokens, by their hashes: none is kept itself.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<HashMap<[u8; 32], Found>>);

#[derive(Debug)]
struct Found {
    grant: Grant,
    life: Option<Duration>,
    /// The keys by which it was checked: with others, it is checked anew.
    ring: Ring,
}

impl Found {
    fn holds(&self, ring: &Ring) -> bool {
        Arc::ptr_eq(&self.ring, ring) && self.grant.expires_at > SystemTime::now()
    }
}

impl Verified {
    /// What a token grants, and its life, where it is known to have this scope.
    pub(super) fn get(
        &self,
        token: &str,
        scope: &str,
        ring: &Ring,
    ) -> Option<(Grant, Option<Duration>)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(hash(token, scope).as_ref())?;
        found.holds(ring).then(|| (found.grant.clone(), found.life))
    }

    /// Keeps what a token grants until it ends, or the keys change.
    pub(super) fn keep(
        &self,
        token: &str,
        scope: &str,
        ring: Ring,
        (grant, life): (Grant, Option<Duration>),
    ) {
        let Ok(hash) = hash(token, scope).as_ref().try_into() else {
            return;
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, found| found.holds(&ring));
        }
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(hash, Found { grant, life, ring });
    }
}

fn hash(token: &str, scope: &str) -> Digest {
    let mut hash = Context::new(&SHA256);
    hash.update(scope.as_bytes());
    hash.update(&[0]);
    hash.update(token.as_bytes());
    hash.finish()
}
