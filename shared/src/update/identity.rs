//! What must be said, and right: which execution it is, whose, and how it stands.

use super::{Invalid, Report, escapes::legible, members::Members, warnings::quoted};
use crate::{
    access::grant::Grant,
    execution::{Id, Kind, Status},
};

/// A word that must be there.
struct Word {
    /// What it is.
    noun: &'static str,
    /// What is taken for it.
    taken: &'static str,
}

const EVENT_ID: Word = Word {
    noun: "an eventId",
    taken: "an eventId is a string of 1 to 128 visible ASCII characters",
};
const KIND: Word = Word {
    noun: "a kind",
    taken: "a kind is \"test\" or \"job\"",
};
const ID: Word = Word {
    noun: "an id",
    taken: ID_TAKEN,
};
const STATUS: Word = Word {
    noun: "a status",
    taken: "send waiting, running, completed, passed, failed, error, cancelled or skipped",
};

/// What an id is.
pub(super) const ID_TAKEN: &str =
    "an id is a string of 1 to 128 of the characters A-Z, a-z, 0-9, _ and -";

/// Which execution an update is of, and whose.
pub(super) struct Identity {
    pub(super) event_id: String,
    pub(super) kind: Kind,
    pub(super) id: Id,
    pub(super) organization_id: Id,
    pub(super) project_id: Id,
}

impl Identity {
    /// What the grant says, an update need not say, and must not contradict.
    pub(super) fn read(members: &Members<'_>, grant: Option<&Grant>) -> Result<Self, Invalid> {
        let id = |name| required(members, name, ID, |text| text.parse().ok());
        let or = |name, granted: Option<&Id>| match granted {
            Some(granted) if !says(members, name) => Ok(granted.clone()),
            _ => id(name),
        };
        let identity = Identity {
            event_id: required(members, "eventId", EVENT_ID, event_id)?,
            kind: required(members, "kind", KIND, |text| text.parse().ok())?,
            id: id("id")?,
            organization_id: or("organizationId", grant.map(|grant| &grant.organization_id))?,
            project_id: or("projectId", grant.and_then(Grant::only_project))?,
        };
        match grant {
            Some(grant) => identity.within(grant),
            None => Ok(identity),
        }
    }

    fn within(self, grant: &Grant) -> Result<Self, Invalid> {
        let not_granted = |name, id, what: &str| {
            Err(Invalid::NotGranted(format!(
                "{name}: {} is not {what}",
                quoted(id)
            )))
        };
        if self.organization_id != grant.organization_id {
            let what = "the organization of your token, which need not be named";
            return not_granted("organizationId", &self.organization_id, what);
        }
        if !grant.covers_project(&self.project_id) {
            let what = "among the projects of your token";
            return not_granted("projectId", &self.project_id, what);
        }
        Ok(self)
    }
}

/// Whether there is such a member, and it is not `null`.
fn says(members: &Members<'_>, name: &str) -> bool {
    members.text(name).is_some_and(|text| text != "null")
}

/// What an update tells, and whether its word for it is `flaky`. A sign of life has no status.
pub(super) fn report(members: &Members<'_>, alive: bool) -> Result<(Report, bool), Invalid> {
    match (says(members, "status"), alive) {
        (false, true) => Ok((Report::Alive, false)),
        (false, false) => Err(Invalid::Malformed(format!(
            "status is missing; {}, or \"alive\": true and no status for a sign of life",
            STATUS.taken
        ))),
        (true, _) => required(members, "status", STATUS, |word| {
            let status: Status = word.parse().ok()?;
            // Whatever else is in a word that is taken, is not looked at.
            let letters = word.chars().filter(char::is_ascii_alphabetic);
            let letters: String = letters.map(|c| c.to_ascii_lowercase()).collect();
            Some((Report::Status(status), letters == "flaky"))
        }),
    }
}

/// The `eventId` of a JSON text that is not a valid update, where it has one.
#[must_use]
pub fn event_id_of(json: &str) -> Option<String> {
    let json = legible(json);
    event_id(&Members::read(&json).ok()?.string("eventId")?)
}

fn event_id(text: &str) -> Option<String> {
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    ((1..=128).contains(&text.len()) && is_visible).then(|| text.to_owned())
}

fn required<T>(
    members: &Members<'_>,
    name: &str,
    Word { noun, taken }: Word,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, Invalid> {
    let Some(came) = members.text(name) else {
        return Err(Invalid::Malformed(format!("{name} is missing; {taken}")));
    };
    let read = members.string(name).and_then(|text| read(&text));
    read.ok_or_else(|| {
        let came = quoted(came);
        Invalid::Malformed(format!("{name}: {came} is not {noun}; {taken}"))
    })
}
