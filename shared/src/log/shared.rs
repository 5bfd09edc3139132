//! Reads of the log that several feeds of a process ask for at once.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};

use super::{After, Log, LogError, States};
use crate::{execution::Seq, watch::Watch};

/// What a feed gets that asks what is after its cursor.
#[derive(Debug)]
pub enum Read {
    /// What is after it.
    After(After),
    /// The log does not go on from it: current states.
    States(States),
}

/// The answer to all who asked for the same.
pub type SharedRead = Shared<BoxFuture<'static, Result<Arc<Read>, Arc<LogError>>>>;

/// The reads that were asked for last.
#[derive(Debug, Default)]
pub(super) struct Reads(Mutex<HashMap<Place, Pending>>);

/// What is watched, and from where on.
type Place = (Watch, Vec<Seq>, u64);

#[derive(Debug)]
struct Pending {
    read: WeakShared<BoxFuture<'static, Result<Arc<Read>, Arc<LogError>>>>,
    has_begun: Arc<AtomicBool>,
}

impl Log {
    /// Reads what comes after `positions` of this epoch, or current states where the log does not go
    /// on from there. Who asks for the same while another read of it is under way, waits for its end:
    /// that may not have seen what this one is about. All who wait share the next.
    pub fn read(&self, watch: &Watch, positions: Vec<Seq>, epoch: u64) -> SharedRead {
        let place = (watch.clone(), positions, epoch);
        let mut reads = self.reads.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = reads.get(&place).and_then(|asked| {
            let read = asked.read.upgrade()?;
            Some((read, asked.has_begun.load(Ordering::Acquire)))
        });
        let before = match before {
            Some((read, false)) => return read,
            Some((read, true)) => Some(read),
            None => None,
        };
        let has_begun = Arc::new(AtomicBool::new(false));
        let (log, (watch, positions, epoch)) = (self.clone(), place.clone());
        let begins = has_begun.clone();
        let read = async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            begins.store(true, Ordering::Release);
            let after = log.after(&watch, &positions).await?;
            if after.continues(epoch) {
                return Ok(Arc::new(Read::After(after)));
            }
            Ok(Arc::new(Read::States(log.states(&watch).await?)))
        };
        let read = read.map(|read| read.map_err(Arc::new)).boxed().shared();
        reads.retain(|_, asked| asked.read.upgrade().is_some());
        if let Some(read) = read.downgrade() {
            reads.insert(place, Pending { read, has_begun });
        }
        read
    }
}
