//! CTRF, a JSON form of test results (<https://ctrf.io/docs/specification/overview>), one test at a time.

use std::{
    cell::Cell,
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, BufRead, Read},
    rc::Rc,
};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use super::{Attempt, Case, Item, MAX_ERROR_BYTES, Trouble, Troubles, cut, named};

/// The most attempts of one test.
const MAX_ATTEMPTS: usize = 1000;

/// Reads a file.
///
/// # Errors
/// Where it is no JSON, is cut off, or is no CTRF.
pub(crate) fn read(
    source: impl BufRead,
    troubles: &mut Troubles,
    sink: &mut dyn FnMut(Item),
) -> Result<(), Trouble> {
    let line = Rc::new(Cell::new(1));
    let lines = Lines {
        source,
        line: line.clone(),
    };
    let mut reading = Reading {
        troubles,
        sink,
        line,
        has_tests: false,
        seen: HashMap::new(),
    };
    let mut json = serde_json::Deserializer::from_reader(lines);
    let read = Within(&mut reading, &["results", "tests"]).deserialize(&mut json);
    let has_tests = reading.has_tests;
    read.and_then(|()| json.end()).map_err(|error| Trouble {
        line: error.line() as u64,
        what: if error.is_eof() {
            "the file breaks off here".to_owned()
        } else {
            format!("not CTRF: {error}")
        },
    })?;
    if has_tests {
        Ok(())
    } else {
        let what = "there is no results.tests: no CTRF".to_owned();
        Err(Trouble { line: 1, what })
    }
}

/// The run that a file says it is of.
pub(crate) fn run_id(source: impl BufRead) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        run_id: Option<String>,
    }
    let head: Head = serde_json::from_reader(source).ok()?;
    head.run_id
}

/// Counts lines.
struct Lines<R> {
    source: R,
    line: Rc<Cell<u64>>,
}

impl<R: BufRead> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        let read = buffer.get(..length).unwrap_or_default();
        let lines = read.split(|byte| *byte == b'\n').count().saturating_sub(1);
        self.line.set(self.line.get() + lines as u64);
        Ok(length)
    }
}

struct Reading<'a> {
    troubles: &'a mut Troubles,
    sink: &'a mut dyn FnMut(Item),
    line: Rc<Cell<u64>>,
    has_tests: bool,
    /// How often a test came, by a hash of its key.
    seen: HashMap<u64, u32>,
}

/// What is at this path within a value; the rest of it is passed over as it comes.
struct Within<'a, 'b>(&'a mut Reading<'b>, &'a [&'a str]);

impl<'de> DeserializeSeed<'de> for Within<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.1.is_empty() {
            deserializer.deserialize_seq(self)
        } else {
            deserializer.deserialize_map(self)
        }
    }
}

impl<'de> Visitor<'de> for Within<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            [] => formatter.write_str("a list of tests"),
            [name, ..] => write!(formatter, "an object with {name}"),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Within(reading, [name, rest @ ..]) = self else {
            return Ok(());
        };
        while let Some(key) = map.next_key::<String>()? {
            if key == *name {
                map.next_value_seed(Within(&mut *reading, rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Within(reading, _) = self;
        reading.has_tests = true;
        while let Some(test) = list.next_element::<Test>()? {
            reading.take(test);
        }
        Ok(())
    }
}

/// A test, as far as it is of use.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    name: String,
    status: String,
    raw_status: Option<Value>,
    duration: Option<Value>,
    suite: Option<Value>,
    file_path: Option<Value>,
    line: Option<Value>,
    message: Option<Value>,
    trace: Option<Value>,
    browser: Option<Value>,
    retries: Option<Value>,
    retry_attempts: Option<Vec<Try>>,
    flaky: Option<Value>,
}

#[derive(Deserialize)]
struct Try {
    status: Option<String>,
    duration: Option<Value>,
    message: Option<Value>,
    trace: Option<Value>,
}

impl Reading<'_> {
    fn take(&mut self, test: Test) {
        let suite = match &test.suite {
            Some(Value::Array(path)) => {
                let path: Vec<_> = path.iter().filter_map(Value::as_str).collect();
                named(&path.join(" > "))
            }
            other => text(other.as_ref()),
        };
        let file = text(test.file_path.as_ref());
        let browser = text(test.browser.as_ref());
        let parts = [
            file.clone(),
            suite.clone(),
            browser,
            Some(test.name.clone()),
        ];
        let mut key: Vec<_> = parts.into_iter().map(Option::unwrap_or_default).collect();
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let times = self.seen.entry(hasher.finish()).or_default();
        *times += 1;
        if *times > 1 {
            key.push(times.to_string());
        }
        let raw = test.raw_status.as_ref().and_then(Value::as_str);
        let status = self.status(&test.status, raw);
        let mut attempts = self.attempts_before(&test, status);
        attempts.push(Attempt {
            status,
            duration_ms: duration_ms(test.duration.as_ref()),
            error: error_of(test.message.as_ref(), test.trace.as_ref()),
        });
        (self.sink)(Item::Case(Case {
            key,
            name: named(&test.name).unwrap_or_else(|| "(no name)".to_owned()),
            suite,
            file,
            line: test.line.as_ref().and_then(Value::as_u64),
            attempts,
            earlier: 0,
            ended: true,
        }));
    }

    /// The attempts before the last. Where it only says how many there were, those of a flaky one failed.
    fn attempts_before(&mut self, test: &Test, last: &'static str) -> Vec<Attempt> {
        if let Some(tries) = &test.retry_attempts {
            let attempt = |tried: &Try| Attempt {
                status: self.status(tried.status.as_deref().unwrap_or("failed"), None),
                duration_ms: duration_ms(tried.duration.as_ref()),
                error: error_of(tried.message.as_ref(), tried.trace.as_ref()),
            };
            return tries.iter().take(MAX_ATTEMPTS - 1).map(attempt).collect();
        }
        let is_flaky = test.flaky.as_ref().and_then(Value::as_bool) == Some(true);
        let retries = test.retries.as_ref().and_then(Value::as_u64).unwrap_or(0);
        if last != "failed" && !(last == "passed" && is_flaky) {
            return Vec::new();
        }
        let retries = usize::try_from(retries).unwrap_or(MAX_ATTEMPTS);
        let failed = Attempt {
            status: "failed",
            duration_ms: None,
            error: None,
        };
        let least = usize::from(is_flaky && last == "passed");
        vec![failed; retries.clamp(least, MAX_ATTEMPTS - 1)]
    }

    fn status(&mut self, status: &str, raw: Option<&str>) -> &'static str {
        let ran_out =
            raw.is_some_and(|raw| raw.to_ascii_lowercase().replace(['_', '-'], "") == "timedout");
        match status {
            "passed" => "passed",
            "failed" if ran_out => "error",
            "failed" => "failed",
            "skipped" | "pending" => "skipped",
            "other" => "completed",
            unknown => {
                let what = format!(
                    "status \"{}\" is not CTRF's; taken as error",
                    cut(unknown, 40)
                );
                self.troubles.tell(self.line.get(), what);
                "error"
            }
        }
    }
}

fn text(value: Option<&Value>) -> Option<String> {
    named(value?.as_str()?)
}

/// CTRF counts milliseconds.
fn duration_ms(value: Option<&Value>) -> Option<u64> {
    super::milliseconds(value?.as_f64()? / 1000.0)
}

fn error_of(message: Option<&Value>, trace: Option<&Value>) -> Option<String> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let (message, trace) = (text(message), text(trace));
    let both = match (message.is_empty(), trace.contains(&message)) {
        (true, _) | (_, true) => trace,
        (false, false) if trace.is_empty() => message,
        (false, false) => format!("{message}\n{trace}"),
    };
    (!both.is_empty()).then(|| cut(&both, MAX_ERROR_BYTES))
}
