//! The checkout's own Markdown, as far as the tests ask.

use std::{collections::BTreeSet, path::Path};

use integration::checkout;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// Folders whose files are not this project's.
const FOREIGN: [&str; 4] = [
    "target",
    "node_modules",
    "dist",
    "lambda_runtime_api_client",
];

/// A page.
#[derive(Default)]
pub(super) struct Page {
    /// Where it is in the checkout.
    pub(super) path: String,
    /// What a link's `#…` can name.
    pub(super) anchors: BTreeSet<String>,
    /// Where its links and images lead.
    pub(super) links: Vec<String>,
    /// Code within its sentences.
    pub(super) inline: Vec<String>,
    /// Code on its own: the language, and what it says.
    pub(super) blocks: Vec<(String, String)>,
    /// Everything.
    pub(super) text: String,
}

/// Every file and folder of the checkout, by its path.
pub(super) fn tree() -> Vec<String> {
    let mut found = Vec::new();
    walk(&checkout(""), "", &mut found);
    found
}

fn walk(folder: &Path, path: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with('.') || FOREIGN.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{path}{name}");
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), &format!("{path}/"), found);
        }
        found.push(path);
    }
}

/// Every page of the checkout.
pub(super) fn pages() -> Vec<Page> {
    let is_page = |path: &String| path.rsplit_once('.').is_some_and(|(_, end)| end == "md");
    let mut pages: Vec<_> = tree().into_iter().filter(is_page).map(read).collect();
    pages.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(pages.len() > 8, "the pages are found");
    pages
}

fn read(path: String) -> Page {
    let text = std::fs::read_to_string(checkout(&path)).unwrap();
    let mut page = Page {
        path,
        ..Page::default()
    };
    let mut heading = None;
    let mut block: Option<(String, String)> = None;
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push(dest_url.into_string());
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                page.anchors.insert(anchor(&heading.take().unwrap()));
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                block = Some((language.into_string(), String::new()));
            }
            Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
            Event::Code(code) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&code);
                }
                page.inline.push(code.into_string());
            }
            Event::Text(words) => {
                if let Some((_, code)) = &mut block {
                    code.push_str(&words);
                } else if let Some(heading) = &mut heading {
                    heading.push_str(&words);
                }
            }
            _ => {}
        }
    }
    page.text = text;
    page
}

/// What GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    let lower = heading.to_lowercase();
    lower
        .chars()
        .filter(kept)
        .collect::<String>()
        .replace(' ', "-")
}
