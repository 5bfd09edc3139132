//! JUnit XML, in the dialects of Surefire, Gradle, pytest, jest-junit, gotestsum and their like. There is
//! no standard; what they agree on is collected at <https://github.com/testmoapp/junitxml>, Surefire's
//! own schema is <https://maven.apache.org/surefire/maven-surefire-plugin/xsd/surefire-test-report.xsd>.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    io::{BufRead, BufReader},
};

use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};

use super::{
    Attempt, Case, Item, MAX_ERROR_BYTES, Trouble, Troubles, clipped::Clipped, cut, milliseconds,
    named,
};

/// How many tests that came again wait for what follows.
const MAX_AGAIN: usize = 1_000;

/// How deep elements are in each other at most.
const MAX_DEPTH: usize = 64;

/// Elements whose content says nothing of how a test ended.
const PASSED_OVER: [&str; 8] = [
    "properties",
    "property",
    "system-out",
    "system-err",
    "stackTrace",
    "test-output",
    "attachments",
    "output",
];

/// Reads a file.
///
/// # Errors
/// Where it is no XML, is cut off, or is no report.
pub(crate) fn read(
    source: impl BufRead,
    troubles: &mut Troubles,
    sink: &mut dyn FnMut(Item),
) -> Result<(), Trouble> {
    let mut reader = Reader::from_reader(BufReader::new(Clipped::new(source)));
    reader.config_mut().expand_empty_elements = true;
    reader.config_mut().allow_dangling_amp = true;
    let mut document = Document::default();
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let event = reader.read_event_into(&mut buffer);
        let event = match event {
            Ok(event) => event.into_owned(),
            Err(error) => {
                let line = reader.get_ref().get_ref().line();
                let what = error_in_words(&error);
                return Err(Trouble { line, what });
            }
        };
        let position = reader.buffer_position();
        let line = reader.get_mut().get_mut().line_at(position);
        match event {
            Event::Start(tag) => document.open(&tag, line, troubles)?,
            Event::End(_) => document.close(line, troubles, sink),
            Event::Text(text) => document.text(&text.xml10_content()),
            Event::CData(text) => document.text(&text.into_inner()),
            Event::GeneralRef(name) => document.text(&referred(&name)),
            Event::Eof => {
                document.tell_held(sink);
                return match (document.open.is_empty(), document.has_root) {
                    (true, true) => Ok(()),
                    (true, false) => Err(trouble(line, "there is no element: no JUnit report")),
                    (false, _) => Err(trouble(
                        reader.get_ref().get_ref().line(),
                        "the file breaks off here",
                    )),
                };
            }
            Event::Empty(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_) => {}
        }
    }
}

fn trouble(line: u64, what: impl Into<String>) -> Trouble {
    let what = what.into();
    Trouble { line, what }
}

fn error_in_words(error: &quick_xml::Error) -> String {
    match error {
        quick_xml::Error::Io(error) => error.to_string(),
        quick_xml::Error::Encoding(_) => "not UTF-8".to_owned(),
        // Something was begun and has no end.
        quick_xml::Error::Syntax(_) => "the file breaks off here".to_owned(),
        other => format!("not XML: {other}"),
    }
}

/// What `&name;` stands for: one of the five that need no declaration, or a character by its number. No
/// other is expanded.
fn referred(reference: &quick_xml::events::BytesRef<'_>) -> String {
    let name = reference.xml10_content();
    match &*name {
        "lt" => "<".to_owned(),
        "gt" => ">".to_owned(),
        "amp" => "&".to_owned(),
        "quot" => "\"".to_owned(),
        "apos" => "'".to_owned(),
        _ => match reference.resolve_char_ref() {
            Ok(Some(character)) => character.to_string(),
            _ => format!("&{name};"),
        },
    }
}

/// An attribute's value.
fn unescaped(value: &str) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('&') {
        text.push_str(before);
        rest = after;
        if let Some((name, after)) = after.split_once(';').filter(|(name, _)| name.len() < 12) {
            text.push_str(&referred(&quick_xml::events::BytesRef::new(name)));
            rest = after;
        } else {
            text.push('&');
        }
    }
    text.push_str(rest);
    text
}

/// What an element is to us.
#[derive(Debug, Default)]
enum Element {
    /// `<testsuites>`, and others around suites.
    #[default]
    Around,
    Suite(Suite),
    Case(Box<Open>),
    /// How a test's attempt ended.
    Outcome(Outcome),
    /// What is passed over, with all that is in it.
    Over,
}

#[derive(Debug, Default)]
struct Suite {
    name: Option<String>,
    file: Option<String>,
}

/// A test whose element is open.
#[derive(Debug, Default)]
struct Open {
    name: String,
    class: Option<String>,
    file: Option<String>,
    line: Option<u64>,
    duration_ms: Option<u64>,
    is_skipped: bool,
    /// The outcome that it has in the end, where it did not pass.
    last: Option<Attempt>,
    /// Attempts that failed before it passed.
    before: Vec<Attempt>,
    /// Attempts that failed after it had failed.
    after: Vec<Attempt>,
}

#[derive(Debug)]
struct Outcome {
    which: Which,
    message: String,
    text: String,
    duration_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Failure,
    Error,
    Skipped,
    FlakyFailure,
    FlakyError,
    RerunFailure,
    RerunError,
}

impl Which {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "failure" => Which::Failure,
            "error" => Which::Error,
            "skipped" => Which::Skipped,
            "flakyFailure" => Which::FlakyFailure,
            "flakyError" => Which::FlakyError,
            "rerunFailure" => Which::RerunFailure,
            "rerunError" => Which::RerunError,
            _ => return None,
        })
    }

    fn status(self) -> &'static str {
        match self {
            Which::Failure | Which::FlakyFailure | Which::RerunFailure => "failed",
            Which::Error | Which::FlakyError | Which::RerunError => "error",
            Which::Skipped => "skipped",
        }
    }
}

/// Whose report it is, as far as that changes what it means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Dialect {
    #[default]
    Any,
    Gradle,
    Gotestsum,
    Pytest,
}

#[derive(Default)]
struct Document {
    open: Vec<Element>,
    has_root: bool,
    dialect: Dialect,
    /// Gradle's tests that failed and came again, until it is known whether they were tried again: then
    /// nothing new follows in their suite.
    again: Vec<Open>,
    /// How many errors the report counts in its root, and whether it says any.
    errors: u64,
    says_errors: bool,
    /// pytest's last test, which may go on.
    held: Option<Open>,
    /// How often a test came, and how many of its attempts were told, by a hash of its key; and whether
    /// the last one failed.
    seen: HashMap<u64, Seen>,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    times: u32,
    attempts: u32,
    failed: bool,
}

/// The attributes of an element.
struct Attributes(Vec<(String, String)>);

impl Attributes {
    fn of(tag: &BytesStart<'_>, line: u64, troubles: &mut Troubles) -> Self {
        let mut found = Vec::new();
        // Whether one comes twice is not asked: with a million of them it would take minutes.
        for attribute in tag.attributes().with_checks(false) {
            match attribute {
                Ok(attribute) => {
                    let name = attribute.key.as_ref().to_owned();
                    found.push((name, unescaped(&attribute.value)));
                }
                Err(error) => {
                    troubles.tell(line, format!("an attribute cannot be read: {error}"));
                    break;
                }
            }
        }
        Attributes(found)
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(attribute, _)| attribute == name);
        found.map(|(_, value)| value.as_str())
    }

    /// `time`, in seconds, with or without commas for thousands.
    fn duration_ms(&self, line: u64, troubles: &mut Troubles) -> Option<u64> {
        let time = self.get("time")?;
        let plain = time.trim().replace(',', "");
        let read = plain.parse().ok().and_then(milliseconds);
        if read.is_none() && !plain.is_empty() {
            troubles.tell(
                line,
                format!("time=\"{}\" is no number of seconds", cut(time, 40)),
            );
        }
        read
    }
}

impl Document {
    fn open(
        &mut self,
        tag: &BytesStart<'_>,
        line: u64,
        troubles: &mut Troubles,
    ) -> Result<(), Trouble> {
        if self.open.len() >= MAX_DEPTH {
            let what = format!("elements are more than {MAX_DEPTH} deep in each other");
            return Err(trouble(line, what));
        }
        let name = tag.name();
        let name = name.as_ref();
        let attributes = Attributes::of(tag, line, troubles);
        let element = match self.open.last() {
            None if self.has_root => return Err(trouble(line, "a second root element")),
            None => match name {
                "testsuites" => {
                    let errors = attributes
                        .get("errors")
                        .and_then(|errors| errors.parse().ok());
                    self.errors = errors.unwrap_or_default();
                    Element::Around
                }
                "testsuite" => {
                    // Gradle's: Surefire names its schema, others have <testsuites> around.
                    let is_gradle = attributes.get("hostname").is_some()
                        && attributes.get("xmlns:xsi").is_none()
                        && attributes.get("version").is_none();
                    if is_gradle {
                        self.dialect = Dialect::Gradle;
                    }
                    self.notice_pytest(&attributes);
                    Element::Suite(suite(&attributes))
                }
                _ => {
                    let what = format!("<{}> is no JUnit report", cut(name, 40));
                    return Err(trouble(line, what));
                }
            },
            Some(Element::Over) => Element::Over,
            Some(Element::Around | Element::Suite(_)) => match name {
                "testsuite" | "testsuites" => {
                    self.notice_pytest(&attributes);
                    Element::Suite(suite(&attributes))
                }
                "testcase" => Element::Case(Box::new(case(&attributes, line, troubles))),
                _ => {
                    // gotestsum says so.
                    if attributes.get("name") == Some("go.version") {
                        self.dialect = Dialect::Gotestsum;
                    }
                    over(name, line, troubles)
                }
            },
            Some(Element::Case(_)) => match Which::of(name) {
                Some(which) => Element::Outcome(Outcome {
                    which,
                    message: message(&attributes),
                    text: String::new(),
                    duration_ms: attributes.duration_ms(line, troubles),
                }),
                None => over(name, line, troubles),
            },
            Some(Element::Outcome(_)) => match name {
                // Surefire has what was said in an element of its own, where there was a rerun.
                "stackTrace" => Element::Around,
                _ => over(name, line, troubles),
            },
        };
        self.has_root = true;
        self.open.push(element);
        Ok(())
    }

    fn text(&mut self, text: &str) {
        let in_stack_trace = matches!(self.open.last(), Some(Element::Around));
        let back = if in_stack_trace { 2 } else { 1 };
        let at = self.open.len().checked_sub(back);
        if let Some(Element::Outcome(outcome)) = at.and_then(|at| self.open.get_mut(at))
            && outcome.text.len() < MAX_ERROR_BYTES
        {
            outcome.text.push_str(&cut(text, MAX_ERROR_BYTES));
        }
    }

    fn close(&mut self, line: u64, troubles: &mut Troubles, sink: &mut dyn FnMut(Item)) {
        match self.open.pop() {
            Some(Element::Outcome(outcome)) => {
                self.says_errors |= outcome.which.status() == "error";
                if let Some(Element::Case(case)) = self.open.last_mut() {
                    case.take(outcome);
                }
            }
            Some(Element::Case(case)) => {
                match self.dialect {
                    Dialect::Pytest => self.hold(*case, sink),
                    Dialect::Gradle => self.take_gradle(*case, sink),
                    // It gives no two tests one name: what comes twice is another attempt.
                    Dialect::Gotestsum => self.tell(*case, true, sink),
                    Dialect::Any => self.tell(*case, false, sink),
                }
            }
            Some(Element::Suite(suite)) if self.held.is_some() || !self.again.is_empty() => {
                self.open.push(Element::Suite(suite));
                self.tell_held(sink);
                self.tell_again(true, sink);
                self.open.pop();
            }
            _ => {}
        }
        // gotestsum's, of a package that does not compile: it counts it, and says no more.
        if self.open.is_empty() && self.errors > 0 && !self.says_errors {
            let what = format!(
                "errors=\"{}\", and the report says none: the run counts as error",
                self.errors
            );
            troubles.tell(line, what);
            sink(Item::Run("error"));
        }
    }

    /// Gradle tries again what failed, once all tests have run. Where one that is new follows, they were
    /// tests of one name.
    fn take_gradle(&mut self, open: Open, sink: &mut dyn FnMut(Item)) {
        let came = |again: &Open| (&again.class, &again.name) == (&open.class, &open.name);
        let seen = self.seen.get(&hash(&self.key(&open)));
        if self.again.len() < MAX_AGAIN
            && (self.again.iter().any(came) || seen.is_some_and(|seen| seen.failed))
        {
            self.again.push(open);
            return;
        }
        self.tell_again(false, sink);
        self.tell(open, false, sink);
    }

    fn tell_again(&mut self, are_attempts: bool, sink: &mut dyn FnMut(Item)) {
        for open in std::mem::take(&mut self.again) {
            self.tell(open, are_attempts, sink);
        }
    }

    fn tell(&mut self, open: Open, may_be_attempt: bool, sink: &mut dyn FnMut(Item)) {
        let case = self.finished(open, may_be_attempt);
        sink(Item::Case(case));
    }

    fn notice_pytest(&mut self, attributes: &Attributes) {
        if attributes.get("name") == Some("pytest") {
            self.dialect = Dialect::Pytest;
        }
    }

    /// What makes a test another than all others, but for those of its name.
    fn key(&self, open: &Open) -> Vec<String> {
        let suites = self.open.iter().filter_map(|element| match element {
            Element::Suite(suite) => suite.name.clone(),
            _ => None,
        });
        suites
            .chain([open.class.clone().unwrap_or_default(), open.name.clone()])
            .collect()
    }

    /// pytest writes a test anew, right after it, where its teardown fails or it is run again (it says
    /// nothing of the attempt that failed): one test, and the worst of both.
    fn hold(&mut self, open: Open, sink: &mut dyn FnMut(Item)) {
        if let Some(held) = &mut self.held
            && (&held.class, &held.name) == (&open.class, &open.name)
        {
            held.duration_ms = match (held.duration_ms, open.duration_ms) {
                (Some(one), Some(other)) => Some(one + other),
                (one, other) => one.or(other),
            };
            if let Some(last) = open.last {
                held.ends_as(last);
            }
            return;
        }
        self.tell_held(sink);
        self.held = Some(open);
    }

    fn tell_held(&mut self, sink: &mut dyn FnMut(Item)) {
        if let Some(held) = self.held.take() {
            self.tell(held, false, sink);
        }
    }

    /// A test at its end. One that comes again is another attempt where it may be, and failed before; else
    /// it is a test of its own.
    fn finished(&mut self, open: Open, may_be_attempt: bool) -> Case {
        let suites = self.open.iter().filter_map(|element| match element {
            Element::Suite(suite) => Some(suite),
            _ => None,
        });
        let suites: Vec<_> = suites.collect();
        let suite_name = suites.iter().rev().find_map(|suite| suite.name.clone());
        let suite_file = suites.iter().rev().find_map(|suite| suite.file.clone());
        let mut key = self.key(&open);
        let seen = self.seen.entry(hash(&key)).or_default();
        let is_attempt = may_be_attempt && seen.failed;
        if seen.times == 0 || !is_attempt {
            seen.times += 1;
            seen.attempts = 0;
        }
        if seen.times > 1 {
            key.push(seen.times.to_string());
        }
        let earlier = seen.attempts;
        let attempts = open.attempts();
        seen.attempts += u32::try_from(attempts.len()).unwrap_or(1);
        let last = attempts.last().map(|attempt| attempt.status);
        seen.failed = matches!(last, Some("failed" | "error"));
        Case {
            key,
            name: open.name,
            suite: open.class.or(suite_name),
            file: open.file.or(suite_file),
            line: open.line,
            attempts,
            earlier,
            ended: true,
        }
    }
}

fn hash(key: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// An element that says nothing of how a test ended.
fn over(name: &str, line: u64, troubles: &mut Troubles) -> Element {
    if !PASSED_OVER.contains(&name) {
        troubles.tell(
            line,
            format!("<{}> is not known; passed over", cut(name, 40)),
        );
    }
    if name == "properties" {
        // What is in it is looked at: it tells who wrote the file.
        return Element::Around;
    }
    Element::Over
}

fn suite(attributes: &Attributes) -> Suite {
    Suite {
        name: attributes.get("name").and_then(named),
        file: attributes
            .get("file")
            .or(attributes.get("filepath"))
            .and_then(named),
    }
}

fn case(attributes: &Attributes, line: u64, troubles: &mut Troubles) -> Open {
    let name = attributes.get("name").and_then(named);
    // Surefire names a class whose preparation fails, and no test.
    let name = name.or_else(|| attributes.get("classname").and_then(named));
    let name = name.unwrap_or_else(|| {
        troubles.tell(line, "a testcase has no name");
        format!("(line {line})")
    });
    let said = |attribute: &str| {
        attributes
            .get(attribute)
            .unwrap_or_default()
            .to_ascii_lowercase()
    };
    let says_skipped = |word: String| {
        matches!(
            &*word,
            "notrun" | "skipped" | "disabled" | "suppressed" | "ignored"
        )
    };
    Open {
        name,
        class: attributes.get("classname").and_then(named),
        file: attributes
            .get("file")
            .or(attributes.get("filepath"))
            .and_then(named),
        line: attributes.get("line").and_then(|line| line.parse().ok()),
        duration_ms: attributes.duration_ms(line, troubles),
        // As googletest says it.
        is_skipped: says_skipped(said("status")) || says_skipped(said("result")),
        ..Open::default()
    }
}

fn message(attributes: &Attributes) -> String {
    let message = attributes
        .get("message")
        .filter(|message| !message.is_empty());
    let message = message.or(attributes.get("type")).unwrap_or_default();
    cut(message, MAX_ERROR_BYTES)
}

impl Open {
    fn take(&mut self, outcome: Outcome) {
        let which = outcome.which;
        let attempt = Attempt {
            status: which.status(),
            duration_ms: outcome.duration_ms,
            error: outcome.error(),
        };
        match which {
            Which::FlakyFailure | Which::FlakyError => self.before.push(attempt),
            Which::RerunFailure | Which::RerunError => self.after.push(attempt),
            Which::Failure | Which::Error | Which::Skipped => self.ends_as(attempt),
        }
    }

    /// The worst counts, and all that went wrong is said.
    fn ends_as(&mut self, mut attempt: Attempt) {
        let rank = |status: &str| {
            let ranks = ["skipped", "failed", "error"];
            ranks.iter().position(|it| *it == status)
        };
        let last = self.last.as_ref();
        let errors = [
            last.and_then(|last| last.error.as_deref()),
            attempt.error.as_deref(),
        ];
        let errors: Vec<_> = errors.into_iter().flatten().collect();
        let errors = (!errors.is_empty()).then(|| cut(&errors.join("\n\n"), MAX_ERROR_BYTES));
        if let Some(last) = &mut self.last
            && rank(attempt.status) <= rank(last.status)
        {
            last.error = errors;
        } else {
            attempt.error = errors;
            self.last = Some(attempt);
        }
    }

    fn attempts(&self) -> Vec<Attempt> {
        let mut last = self.last.clone().unwrap_or(Attempt {
            status: if self.is_skipped { "skipped" } else { "passed" },
            duration_ms: None,
            error: None,
        });
        last.duration_ms = last.duration_ms.or(self.duration_ms);
        let before = self.before.iter().cloned();
        before
            .chain([last])
            .chain(self.after.iter().cloned())
            .collect()
    }
}

impl Outcome {
    /// Its message, and its text where that does not begin with the message.
    fn error(&self) -> Option<String> {
        let (message, text) = (self.message.trim(), self.text.trim());
        let both = match (message.is_empty(), text.is_empty()) {
            (true, _) => text.to_owned(),
            (false, true) => message.to_owned(),
            (false, false) if text.contains(message) => text.to_owned(),
            (false, false) => format!("{message}\n{text}"),
        };
        (!both.is_empty()).then(|| cut(&both, MAX_ERROR_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(xml: &str) -> Vec<(String, Vec<&'static str>, u32)> {
        let (mut cases, mut troubles) = (Vec::new(), Troubles::default());
        let mut sink = |item| {
            if let Item::Case(case) = item {
                let statuses = case.attempts.iter().map(|attempt| attempt.status);
                cases.push((case.key.join("/"), statuses.collect(), case.earlier));
            }
        };
        read(xml.as_bytes(), &mut troubles, &mut sink).unwrap();
        cases
    }

    fn refused(xml: &[u8]) -> String {
        let read = read(xml, &mut Troubles::default(), &mut |_| {});
        read.unwrap_err().to_string()
    }

    #[test]
    fn what_fails_and_comes_again_is_an_attempt_where_names_are_unique() {
        let tests = "<testcase name='t' classname='s'><failure/></testcase>\
                     <testcase name='t' classname='s'/>";
        let gradle = format!("<testsuite name='s' hostname='h'>{tests}</testsuite>");
        let of = |key: &str, status, earlier| (key.to_owned(), vec![status], earlier);
        assert_eq!(
            cases(&gradle),
            [of("s/s/t", "failed", 0), of("s/s/t", "passed", 1)]
        );
        let jest = format!("<testsuites><testsuite name='s'>{tests}</testsuite></testsuites>");
        assert_eq!(
            cases(&jest),
            [of("s/s/t", "failed", 0), of("s/s/t/2", "passed", 0)]
        );
        let pytest = jest
            .replace("name='s'", "name='pytest'")
            .replace("classname='pytest'", "classname='s'");
        assert_eq!(cases(&pytest), [of("pytest/s/t", "failed", 0)]);
    }

    #[test]
    fn gradle_tries_again_when_all_have_run() {
        let test = |name: &str, fails: bool| {
            let failure = if fails { "<failure/>" } else { "" };
            format!("<testcase name='{name}' classname='s'>{failure}</testcase>")
        };
        let of = |key: &str, status, earlier| (key.to_owned(), vec![status], earlier);
        let one_name = [("p", false), ("p", true), ("p", false), ("q", false)];
        let one_name: String = one_name.iter().map(|it| test(it.0, it.1)).collect();
        assert_eq!(
            cases(&format!(
                "<testsuite name='s' hostname='h'>{one_name}</testsuite>"
            )),
            [
                of("s/s/p", "passed", 0),
                of("s/s/p/2", "failed", 0),
                of("s/s/p/3", "passed", 0),
                of("s/s/q", "passed", 0)
            ]
        );
        let again = [
            ("p", true),
            ("q", true),
            ("r", false),
            ("p", true),
            ("q", false),
            ("p", false),
        ];
        let again: String = again.iter().map(|it| test(it.0, it.1)).collect();
        assert_eq!(
            cases(&format!(
                "<testsuite name='s' hostname='h'>{again}</testsuite>"
            )),
            [
                of("s/s/p", "failed", 0),
                of("s/s/q", "failed", 0),
                of("s/s/r", "passed", 0),
                of("s/s/p", "failed", 1),
                of("s/s/q", "passed", 1),
                of("s/s/p", "passed", 2)
            ]
        );
    }

    #[test]
    fn what_a_report_only_counts_is_told() {
        let (mut items, mut troubles) = (Vec::new(), Troubles::default());
        let xml = "<testsuites errors='1'>\n</testsuites>";
        read(xml.as_bytes(), &mut troubles, &mut |item| items.push(item)).unwrap();
        assert_eq!(items, [Item::Run("error")]);
        assert!(troubles.told[0].what.contains("counts as error"));
        let said = "<testsuites errors='1'><testsuite><testcase name=''  classname='c'><error>a</error>\
                    <failure>b</failure></testcase></testsuite></testsuites>";
        items.clear();
        read(said.as_bytes(), &mut Troubles::default(), &mut |item| {
            items.push(item);
        })
        .unwrap();
        let [Item::Case(case)] = items.as_slice() else {
            panic!("{items:?}");
        };
        assert_eq!(
            (case.name.as_str(), case.attempts[0].status),
            ("c", "error")
        );
        assert_eq!(case.attempts[0].error.as_deref(), Some("a\n\nb"));
    }

    #[test]
    fn what_is_no_report_is_told_with_its_line() {
        for (xml, says) in [
            (&b"<a/>"[..], "line 1: <a> is no JUnit report"),
            (b"\n\n<html></html>", "line 3: <html> is no JUnit report"),
            (
                b"<testsuite>\n<testcase name='a'>",
                "line 2: the file breaks off here",
            ),
            (
                b"<testsuite>\n<testcase name='a'></testsuite>",
                "line 2: not XML",
            ),
            (
                b"<testsuite>\n<testcase name='\xff'/></testsuite>",
                "line 2: not UTF-8",
            ),
            (b"<testsuite/><testsuite/>", "line 1: a second root element"),
            (
                b"<?xml version='1.0'?>\n<!DOCTYPE a [<!ENTITY b 'c'>]>\n<testsuite/>",
                "line 2: a document type (<!DOCTYPE \u{2026}>) is not taken",
            ),
            (b"", "line 1: there is no element"),
        ] {
            let refused = refused(xml);
            assert!(refused.starts_with(says), "{refused}");
        }
        let deep = "<testsuite>".repeat(100);
        assert!(refused(deep.as_bytes()).contains("64 deep"));
    }

    #[test]
    fn no_entity_is_expanded() {
        let xml = "<testsuite><testcase name='&lt;&b;&#233;&amp;amp;'/></testsuite>";
        assert_eq!(cases(xml)[0].0, "/<&b;\u{e9}&amp;");
    }
}
