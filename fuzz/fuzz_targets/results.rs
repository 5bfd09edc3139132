//! Whatever a test tool writes, or something that pretends to be one, is read or refused, the same each
//! time, and no more of it is kept than is shown.
//!
//! An input is a file.

#![no_main]

use libfuzzer_sys::fuzz_target;

use crate::results::{Item, MAX_ERROR_BYTES, Troubles};

#[path = "../../local/src/results.rs"]
mod results;

fuzz_target!(|data: &[u8]| {
    let Some(form) = results::form(data) else {
        return;
    };
    let (items, read) = read(form, data);
    let lines = data.split(|byte| *byte == b'\n').count() as u64;
    if let Err(trouble) = &read {
        assert!((1..=lines).contains(&trouble.line), "{trouble}");
        assert!(!trouble.what.is_empty());
    }
    for item in &items {
        let Item::Case(case) = item else {
            continue;
        };
        assert!(!case.name.is_empty() && case.name.len() <= 512);
        assert!(case.suite.as_ref().is_none_or(|suite| suite.len() <= 512));
        assert!(case.attempts.len() <= 1000);
        assert!(!case.ended || !case.attempts.is_empty());
        for attempt in &case.attempts {
            let statuses = ["passed", "failed", "error", "skipped", "completed"];
            assert!(statuses.contains(&attempt.status));
            let error = attempt.error.as_ref();
            assert!(error.is_none_or(|error| error.len() <= MAX_ERROR_BYTES));
        }
    }
    if form == results::Form::Ctrf {
        let _ = results::ctrf::run_id(data);
    }
    // What was told of it once, is told of it again.
    assert_eq!(self::read(form, data), (items, read));
});

fn read(form: results::Form, data: &[u8]) -> (Vec<Item>, Result<(), results::Trouble>) {
    let (mut items, mut troubles) = (Vec::new(), Troubles::default());
    let read = results::read(form, data, &mut troubles, &mut |item| items.push(item));
    assert!(troubles.told.len() <= 20);
    (items, read)
}
