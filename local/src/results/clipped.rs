//! XML on its way to the parser: what is longer than anybody reads is cut, and what no report has is
//! refused, before the parser would hold it.

use std::{
    collections::VecDeque,
    io::{self, BufRead, Read},
};

/// How much is kept of a text between two tags, in bytes.
const MAX_TEXT_BYTES: usize = 64 * 1024;

/// The longest tag, in bytes.
const MAX_TAG_BYTES: usize = 1024 * 1024;

/// XML, with texts that are cut, without comments; it knows in which line it is.
pub(crate) struct Clipped<R> {
    source: R,
    state: State,
    /// Bytes of the current text, or tag, so far.
    length: usize,
    is_cut: bool,
    line: u64,
    /// What the parser gets next.
    out: VecDeque<u8>,
    /// How many bytes it gets in all, so far.
    made: u64,
    /// Where the tags begin that the parser has not come to yet: after so many of these bytes, in which
    /// line.
    tags: VecDeque<(u64, u64)>,
    /// The line of the last tag that it has come to.
    passed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Text,
    /// After `<`.
    Less,
    /// In a tag; in quotes.
    Tag(Option<u8>),
    /// After `<!`, with so many bytes of `[CDATA[`, or of `--`.
    Declared(usize),
    Dashed,
    /// In a comment, after so many `-`.
    Comment(usize),
    /// In `<![CDATA[`, after so many `]`.
    CData(usize),
    /// In `<?`, after `?` or not.
    Instruction(bool),
}

const CDATA: &[u8] = b"[CDATA[";

impl<R: BufRead> Clipped<R> {
    pub(crate) fn new(source: R) -> Self {
        Clipped {
            source,
            state: State::Text,
            length: 0,
            is_cut: false,
            line: 1,
            out: VecDeque::new(),
            made: 0,
            tags: VecDeque::new(),
            passed: 1,
        }
    }

    /// The line of the last tag that begins within the first so many bytes that the parser got.
    pub(crate) fn line_at(&mut self, bytes: u64) -> u64 {
        while let Some((_, line)) = self.tags.pop_front_if(|(at, _)| *at < bytes) {
            self.passed = line;
        }
        self.passed
    }

    /// Where it stands now.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// Takes a byte of the source.
    fn take(&mut self, byte: u8) -> io::Result<()> {
        if byte == b'\n' {
            self.line += 1;
        }
        // Not within a character.
        let is_within = byte & 0xc0 == 0x80;
        let is_kept = !self.is_cut && (self.length < MAX_TEXT_BYTES || is_within);
        self.is_cut = !is_kept;
        self.length += 1;
        match self.state {
            State::Text if byte == b'<' => {
                self.tags.push_back((self.made, self.line));
                self.begin(State::Less);
            }
            State::Text if is_kept => self.give(&[byte]),
            State::Text => {}
            State::Less => match byte {
                b'!' => self.begin(State::Declared(0)),
                b'?' => {
                    self.give(b"<?");
                    self.begin(State::Instruction(false));
                }
                _ => {
                    self.give(&[b'<', byte]);
                    self.begin(if byte == b'>' {
                        State::Text
                    } else {
                        State::Tag(None)
                    });
                }
            },
            State::Tag(quote) => {
                if self.length > MAX_TAG_BYTES {
                    return Err(refused("a tag of more than 1 MB"));
                }
                self.give(&[byte]);
                match (quote, byte) {
                    (None, b'>') => self.begin(State::Text),
                    (None, b'"' | b'\'') => self.state = State::Tag(Some(byte)),
                    (Some(open), _) if open == byte => self.state = State::Tag(None),
                    _ => {}
                }
            }
            State::Declared(0) if byte == b'-' => self.state = State::Dashed,
            State::Declared(at) if CDATA.get(at) == Some(&byte) => {
                if at + 1 < CDATA.len() {
                    self.state = State::Declared(at + 1);
                } else {
                    self.give(b"<![CDATA[");
                    self.begin(State::CData(0));
                }
            }
            // Entities are declared here: neither they nor files that they name are read.
            State::Declared(_) => return Err(refused("a document type (<!DOCTYPE …>)")),
            State::Dashed if byte == b'-' => self.begin(State::Comment(0)),
            State::Dashed => return Err(refused("\"<!-\"")),
            State::Comment(dashes) => match byte {
                b'-' => self.state = State::Comment(dashes + 1),
                b'>' if dashes >= 2 => self.begin(State::Text),
                _ => self.state = State::Comment(0),
            },
            State::CData(brackets) => {
                let ends = byte == b'>' && brackets >= 2;
                match (is_kept, ends) {
                    (true, _) => self.give(&[byte]),
                    (false, true) => self.give(b"]]>"),
                    (false, false) => {}
                }
                match byte {
                    _ if ends => self.begin(State::Text),
                    b']' => self.state = State::CData(brackets + 1),
                    _ => self.state = State::CData(0),
                }
            }
            State::Instruction(asked) => {
                if self.length > MAX_TAG_BYTES {
                    return Err(refused("a processing instruction of more than 1 MB"));
                }
                self.give(&[byte]);
                match byte {
                    b'>' if asked => self.begin(State::Text),
                    _ => self.state = State::Instruction(byte == b'?'),
                }
            }
        }
        Ok(())
    }

    fn give(&mut self, bytes: &[u8]) {
        self.out.extend(bytes);
        self.made += bytes.len() as u64;
    }

    fn begin(&mut self, state: State) {
        self.state = state;
        self.length = 0;
        self.is_cut = false;
    }
}

fn refused(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is not taken"))
}

impl<R: BufRead> Read for Clipped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.out.is_empty() {
            let bytes = self.source.fill_buf()?.to_vec();
            if bytes.is_empty() {
                return Ok(0);
            }
            for byte in &bytes {
                self.take(*byte)?;
            }
            self.source.consume(bytes.len());
        }
        let length = self.out.len().min(buffer.len());
        for (target, byte) in buffer.iter_mut().zip(self.out.drain(..length)) {
            *target = byte;
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn clipped(xml: &[u8], capacity: usize) -> io::Result<String> {
        let mut all = String::new();
        let source = BufReader::with_capacity(capacity, xml);
        BufReader::with_capacity(capacity.max(16), Clipped::new(source))
            .read_to_string(&mut all)?;
        Ok(all)
    }

    #[test]
    fn what_is_short_stays_as_it_is_however_it_comes() {
        let xml =
            "<?xml version=\"1.0\"?>\n<a b='>' c=\"<'>\">t &amp; <![CDATA[ ]] ]]]> x ]]></a>\n";
        let without = "<a><!-- <b> -- > ---><c/></a>";
        for capacity in [1, 2, 3, 7, 64, 4096] {
            assert_eq!(
                clipped(xml.as_bytes(), capacity).unwrap(),
                xml,
                "{capacity}"
            );
            assert_eq!(
                clipped(without.as_bytes(), capacity).unwrap(),
                "<a><c/></a>"
            );
        }
    }

    #[test]
    fn what_is_long_is_cut_and_ends_as_it_should() {
        let long = "x".repeat(MAX_TEXT_BYTES * 3);
        let cut = "x".repeat(MAX_TEXT_BYTES);
        let text = clipped(format!("<a>{long}</a>").as_bytes(), 4096).unwrap();
        assert_eq!(text, format!("<a>{cut}</a>"));
        let wide = format!("<a>x{}</a>", "\u{1f600}".repeat(MAX_TEXT_BYTES));
        let text = clipped(wide.as_bytes(), 4096).unwrap();
        assert!(text.len() < MAX_TEXT_BYTES + 16, "{}", text.len());
        for end in ["]]>", "]]]]>"] {
            let xml = format!("<a><![CDATA[{long}{end}</a>");
            assert_eq!(
                clipped(xml.as_bytes(), 4096).unwrap(),
                format!("<a><![CDATA[{cut}]]></a>")
            );
        }
    }

    #[test]
    fn what_no_report_has_is_refused() {
        let tag = format!("<a {}>", "b='' ".repeat(300_000));
        for (xml, says) in [
            ("<!DOCTYPE a [<!ENTITY b \"c\">]><a/>", "a document type"),
            ("<!doctype html>", "a document type"),
            ("<![IGNORE[ ]]>", "a document type"),
            ("<!-x", "\"<!-\""),
            (tag.as_str(), "a tag of more than 1 MB"),
        ] {
            let error = clipped(xml.as_bytes(), 64).unwrap_err().to_string();
            assert!(error.starts_with(says), "{error}");
        }
    }

    #[test]
    fn it_knows_the_line_of_each_tag() {
        let xml = b"<a>\n\n<b>\n<!-- \n --><c/>\n</b></a>";
        let mut clipped = Clipped::new(&xml[..]);
        let mut all = String::new();
        clipped.read_to_string(&mut all).unwrap();
        let line_of = |clipped: &mut Clipped<_>, tag: &str| {
            let at = all.find(tag).unwrap() + tag.len();
            clipped.line_at(at as u64)
        };
        assert_eq!(line_of(&mut clipped, "<a>"), 1);
        assert_eq!(line_of(&mut clipped, "<b>"), 3);
        assert_eq!(line_of(&mut clipped, "<c/>"), 5);
        assert_eq!(line_of(&mut clipped, "</a>"), 6);
        assert_eq!(clipped.line(), 6);
    }
}
