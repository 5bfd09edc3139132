//! Files of results, as a test tool writes them: read whole, or followed while they grow.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::results::{self, Form, Item, Trouble, Troubles, reportlog::Reportlog};

/// How much of a file tells its form, in bytes.
const MAX_HEAD_BYTES: u64 = 4096;

/// What cannot be read of a file.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub(crate) struct Unread {
    pub(crate) path: PathBuf,
    what: String,
}

impl Unread {
    pub(crate) fn new(path: &Path, what: impl std::fmt::Display) -> Self {
        Unread {
            path: path.to_owned(),
            what: what.to_string(),
        }
    }
}

/// The files that patterns like `reports/*.xml` name now; what names none stands for itself.
pub(crate) fn named(patterns: &[String]) -> Result<BTreeSet<PathBuf>, Unread> {
    let mut paths = BTreeSet::new();
    for pattern in patterns {
        let path = Path::new(pattern);
        if path.is_file() {
            paths.insert(path.to_owned());
            continue;
        }
        let pattern = if path.is_dir() {
            // A folder stands for what is in it.
            let folder = glob::Pattern::escape(pattern);
            [".xml", ".json", ".jsonl"]
                .map(|end| format!("{folder}/**/*{end}"))
                .to_vec()
        } else {
            vec![pattern.clone()]
        };
        for pattern in pattern {
            let found = glob::glob(&pattern).map_err(|error| Unread::new(path, error))?;
            paths.extend(found.flatten().filter(|path| path.is_file()));
        }
    }
    Ok(paths)
}

/// The form of a file; `None` where it is empty yet.
pub(crate) fn form_of(path: &Path) -> Result<Option<Form>, Unread> {
    let file = File::open(path).map_err(|error| Unread::new(path, error))?;
    let mut head = Vec::new();
    let read = file.take(MAX_HEAD_BYTES).read_to_end(&mut head);
    read.map_err(|error| Unread::new(path, error))?;
    if head.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let unknown = "line 1: neither JUnit XML, nor CTRF JSON, nor a log of pytest-reportlog";
    let form = results::form(&head).ok_or_else(|| Unread::new(path, unknown))?;
    Ok(Some(form))
}

/// Reads a file to its end.
pub(crate) fn read(
    path: &Path,
    form: Form,
    troubles: &mut Troubles,
    sink: &mut dyn FnMut(Item),
) -> Result<(), Unread> {
    let file = File::open(path).map_err(|error| Unread::new(path, error))?;
    let read = results::read(form, BufReader::new(file), troubles, sink);
    read.map_err(|trouble| Unread::new(path, trouble))
}

/// What is not understood in a file, line by line.
pub(crate) fn tell(path: &Path, troubles: &Troubles) {
    let path = path.display();
    for Trouble { line, what } in &troubles.told {
        eprintln!("runcast: {path}: line {line}: {what}");
    }
    if troubles.more > 0 {
        eprintln!("runcast: {path}: and {} more", troubles.more);
    }
}

/// Files that may not be there yet, and grow.
pub(crate) struct Followed {
    patterns: Vec<String>,
    /// What is older is another run's.
    since: SystemTime,
    files: BTreeMap<PathBuf, Seen>,
}

#[derive(Default)]
struct Seen {
    /// Length and time of change, when it was last looked at, and when it was last read.
    looked: Option<(u64, SystemTime)>,
    read: Option<(u64, SystemTime)>,
    log: Option<(u64, Reportlog)>,
    failed: Option<Unread>,
}

impl Followed {
    pub(crate) fn new(patterns: Vec<String>, since: SystemTime) -> Self {
        Followed {
            patterns,
            since,
            files: BTreeMap::new(),
        }
    }

    /// Reads what is new. A file that is written whole is read once it has stopped growing, or now, where
    /// this is the last look.
    pub(crate) fn look(&mut self, is_last: bool, sink: &mut dyn FnMut(Item)) {
        for path in named(&self.patterns).unwrap_or_default() {
            let Ok(metadata) = path.metadata() else {
                continue;
            };
            let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if changed < self.since {
                continue;
            }
            let now = Some((metadata.len(), changed));
            let seen = self.files.entry(path.clone()).or_default();
            let is_settled = seen.looked == now || is_last;
            seen.looked = now;
            if seen.read == now && !(is_last && seen.log.is_some()) {
                continue;
            }
            match seen.read_on(&path, is_settled, is_last, sink) {
                Ok(true) => (seen.read, seen.failed) = (now, None),
                Ok(false) => {}
                Err(unread) => (seen.read, seen.failed) = (now, Some(unread)),
            }
        }
    }

    /// What could not be read in the end.
    pub(crate) fn unread(&self) -> impl Iterator<Item = &Unread> {
        self.files.values().filter_map(|seen| seen.failed.as_ref())
    }

    /// How many files were read.
    pub(crate) fn count(&self) -> usize {
        let read = |seen: &&Seen| seen.read.is_some() && seen.failed.is_none();
        self.files.values().filter(read).count()
    }
}

impl Seen {
    /// Returns whether it has read all that there is.
    fn read_on(
        &mut self,
        path: &Path,
        is_settled: bool,
        is_last: bool,
        sink: &mut dyn FnMut(Item),
    ) -> Result<bool, Unread> {
        let Some(form) = form_of(path)? else {
            return Ok(false);
        };
        let mut troubles = Troubles::default();
        if form == Form::Reportlog {
            let read = self.read_log(path, is_last, &mut troubles, sink);
            tell(path, &troubles);
            return read.map(|()| true);
        }
        if !is_settled {
            return Ok(false);
        }
        // Once to see that it is whole: nothing is half told.
        read(path, form, &mut troubles, &mut |_| {})?;
        tell(path, &troubles);
        read(path, form, &mut Troubles::default(), sink)?;
        Ok(true)
    }

    fn read_log(
        &mut self,
        path: &Path,
        is_last: bool,
        troubles: &mut Troubles,
        sink: &mut dyn FnMut(Item),
    ) -> Result<(), Unread> {
        let (offset, log) = self.log.get_or_insert_default();
        let mut file = File::open(path).map_err(|error| Unread::new(path, error))?;
        let sought = file.seek(SeekFrom::Start(*offset));
        sought.map_err(|error| Unread::new(path, error))?;
        let mut source = BufReader::new(file);
        loop {
            let read = log.next(&mut source, troubles, sink);
            match read.map_err(|trouble| Unread::new(path, trouble))? {
                Some(bytes) => *offset += bytes,
                None => break,
            }
        }
        if is_last {
            log.end(troubles, sink);
        }
        Ok(())
    }
}
