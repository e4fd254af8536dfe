//! Reading the prepared document of a revision.

use std::collections::BTreeMap;

use serde::de::DeserializeSeed;
use serde_json::{Map, Value as Json};

use super::layout::{Hole, Member, Node, Part};
use super::value::{Currency, Kind, Value, ValueSeed};
use super::write::{Form, escape_json};
use crate::error::{Error, Reason, Result};

/// Most bytes of a document.
pub const MAX_DOCUMENT_BYTES: usize = 16 * 1024 * 1024;
/// Most sources of a document: slots, and what every pass has.
const MAX_SOURCES: usize = 1024;
/// Most decimals of a currency; ISO 4217 knows four.
const MAX_DECIMALS: u64 = 9;

/// Where the values of holes come from.
#[derive(Debug)]
pub(super) struct Source {
    /// What messages call it.
    pub(super) label: Box<str>,
    pub(super) kind: Kind,
    pub(super) is_required: bool,
    pub(super) default: Option<Value<'static>>,
}

impl Source {
    /// Whether a pass may be without it.
    pub(super) fn can_be_absent(&self) -> bool {
        !self.is_required && self.default.is_none()
    }
}

/// All of a document's sources: the built-ins, then the slots.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) all: Vec<Source>,
    pub(super) built_ins: usize,
    /// Places of slots by name.
    pub(super) slots: BTreeMap<Box<str>, usize>,
    /// Sorted.
    pub(super) currencies: Vec<Currency>,
}

/// Sources and tree of a document.
pub(super) fn read(json: &[u8]) -> Result<(Sources, Node)> {
    if json.len() > MAX_DOCUMENT_BYTES {
        return Err(unreadable(format_args!(
            "it has {} bytes; {MAX_DOCUMENT_BYTES} are allowed",
            json.len()
        )));
    }
    // Its reader allows a depth of 128.
    let json: Json = serde_json::from_slice(json).map_err(unreadable)?;
    let json = object(&json, "a document")?;
    let mut sources = Sources {
        all: Vec::new(),
        built_ins: 0,
        slots: BTreeMap::new(),
        currencies: read_currencies(member(json, "decimals")?)?,
    };
    let mut by_name = BTreeMap::new();
    for each in list(json, "built_ins")? {
        add_source(&mut sources, &mut by_name, each, str::to_owned)?;
    }
    sources.built_ins = sources.all.len();
    for each in list(json, "slots")? {
        add_source(&mut sources, &mut by_name, each, |name| format!("values[{name:?}]"))?;
    }
    sources.slots = by_name
        .iter()
        .filter(|(_, at)| **at >= sources.built_ins)
        .map(|(n, at)| (n.clone(), *at))
        .collect();
    let node = Reader { sources: &sources, by_name: &by_name }.node(member(json, "document")?)?;
    Ok((sources, node))
}

fn add_source(
    sources: &mut Sources,
    by_name: &mut BTreeMap<Box<str>, usize>,
    json: &Json,
    label: impl Fn(&str) -> String,
) -> Result<()> {
    let json = object(json, "a source")?;
    let name = text(member(json, "name")?, "a source's name")?;
    let kind = text(member(json, "type")?, "a source's type")?;
    let kind = Kind::named(kind).ok_or_else(|| unreadable(format_args!("type {kind:?}")))?;
    let seed = ValueSeed { kind, currencies: &sources.currencies };
    let default = seed
        .deserialize(json.get("default").unwrap_or(&Json::Null))
        .map_err(|_| unreadable(format_args!("the default of {name:?} is not {}", kind.wanted())))?
        .map(Value::into_owned);
    let is_required = flag(json, "required")?;
    if by_name.insert(name.into(), sources.all.len()).is_some() {
        return Err(unreadable(format_args!("two sources are called {name:?}")));
    }
    sources.all.push(Source { label: label(name).into(), kind, is_required, default });
    if sources.all.len() > MAX_SOURCES {
        return Err(unreadable(format_args!("it has more than {MAX_SOURCES} sources")));
    }
    Ok(())
}

fn read_currencies(json: &Json) -> Result<Vec<Currency>> {
    let read = |(code, decimals): (&String, &Json)| {
        let code: [u8; 3] = code.as_bytes().try_into().ok()?;
        let decimals = decimals.as_u64().filter(|count| *count <= MAX_DECIMALS)?;
        let is_code = code.iter().all(u8::is_ascii_uppercase);
        is_code.then_some(Currency { code, decimals: u8::try_from(decimals).ok()? })
    };
    let mut currencies: Vec<Currency> = object(json, "decimals")?
        .iter()
        .map(|each| read(each).ok_or_else(|| unreadable(format_args!("currency {:?}", each.0))))
        .collect::<Result<_>>()?;
    currencies.sort_unstable();
    Ok(currencies)
}

struct Reader<'s> {
    sources: &'s Sources,
    by_name: &'s BTreeMap<Box<str>, usize>,
}

impl Reader<'_> {
    /// Goes as deep as the JSON reader went.
    fn node(&self, json: &Json) -> Result<Node> {
        let json = object(json, "a node")?;
        let nodes = |name| -> Result<Vec<Node>> {
            list(json, name)?.iter().map(|each| self.node(each)).collect()
        };
        Ok(match Self::kind(json)? {
            "constant" => Node::Constant(scalar(member(json, "constant")?)?),
            "text" => Node::Text(
                list(json, "text")?.iter().map(|each| self.part(each)).collect::<Result<_>>()?,
            ),
            "scalar" => Node::Scalar(self.hole(member(json, "scalar")?, false)?),
            "first_of" => Node::FirstOf(nodes("first_of")?),
            "array" => Node::Array(nodes("array")?),
            _ => self.object(json)?,
        })
    }

    /// The one key that tells what a node is.
    fn kind(json: &Map<String, Json>) -> Result<&'static str> {
        const KINDS: [&str; 6] = ["constant", "text", "scalar", "first_of", "array", "object"];
        let mut found = KINDS.into_iter().filter(|kind| json.contains_key(*kind));
        match (found.next(), found.next()) {
            (Some(kind), None) => Ok(kind),
            _ => Err(unreadable("a node of no kind or of two")),
        }
    }

    fn object(&self, json: &Map<String, Json>) -> Result<Node> {
        let mut needed = Vec::new();
        for name in list(json, "whole")? {
            needed.push(text(name, "a needed member's name")?);
        }
        let mut members = Vec::new();
        let mut names = Vec::new();
        for each in list(json, "object")? {
            let [name, node] = each.as_array().map(Vec::as_slice).unwrap_or_default() else {
                return Err(unreadable("a member is not [name, node]"));
            };
            let name = text(name, "a member's name")?;
            let mut written = vec![b'"'];
            escape_json(&mut written, name.as_bytes());
            written.extend(b"\":");
            members.push(Member {
                name: written.into(),
                node: self.node(node)?,
                is_needed: needed.contains(&name),
            });
            names.push(name);
        }
        if let Some(name) = needed.iter().find(|name| !names.contains(name)) {
            return Err(unreadable(format_args!("an object needs {name:?}, which it has not")));
        }
        Ok(Node::Object { members, is_kept: flag(json, "keep")? })
    }

    fn part(&self, json: &Json) -> Result<Part> {
        match json {
            Json::String(fixed) => {
                let mut escaped = Vec::with_capacity(fixed.len());
                escape_json(&mut escaped, fixed.as_bytes());
                Ok(Part::Fixed(escaped.into()))
            }
            hole => Ok(Part::Hole(self.hole(hole, true)?)),
        }
    }

    /// A hole that may stand there: between quotes if it `is_text`, else as a JSON value.
    fn hole(&self, json: &Json, is_text: bool) -> Result<Hole> {
        let json = object(json, "a hole")?;
        let mut places = Vec::new();
        for name in list(json, "sources")? {
            let name = text(name, "a source's name")?;
            let Some(at) = self.by_name.get(name) else {
                return Err(unreadable(format_args!("there is no source {name:?}")));
            };
            places.push(*at);
        }
        let kinds: Vec<Kind> = places
            .iter()
            .filter_map(|at| self.sources.all.get(*at))
            .map(|each| each.kind)
            .collect();
        let form = text(member(json, "form")?, "a form")?;
        match (form, places.as_slice(), kinds.as_slice()) {
            ("encoding", [_, ..], kinds)
                if is_text && kinds.iter().all(|kind| matches!(kind, Kind::Text | Kind::Url)) =>
            {
                Ok(Hole::Encoding(places.into()))
            }
            (_, [source], [kind]) => match form_of(form, *kind, is_text) {
                Some(form) => Ok(Hole::Value { source: *source, form }),
                None => Err(misplaced(form)),
            },
            _ => Err(misplaced(form)),
        }
    }
}

/// The form of this name, if values of this kind can be written so in this place.
fn form_of(name: &str, kind: Kind, is_text: bool) -> Option<Form> {
    match (name, kind) {
        ("text", _) if is_text => Some(Form::Text),
        ("url_component", _) if is_text => Some(Form::UrlComponent),
        ("html", _) if is_text => Some(Form::Html),
        ("date", Kind::Instant) if is_text => Some(Form::Date),
        ("currency", Kind::Money) if is_text => Some(Form::Currency),
        ("number", Kind::Integer | Kind::Decimal | Kind::Money) if !is_text => Some(Form::Number),
        ("boolean", Kind::Boolean) if !is_text => Some(Form::Boolean),
        ("money_object", Kind::Money) if !is_text => Some(Form::MoneyObject),
        _ => None,
    }
}

/// A constant: the text of one JSON scalar, kept as it is written.
fn scalar(json: &Json) -> Result<Box<str>> {
    let written = text(json, "a constant")?;
    match serde_json::from_str::<Json>(written) {
        Ok(Json::Array(_) | Json::Object(_)) | Err(_) => {
            Err(unreadable("a constant is no JSON scalar"))
        }
        Ok(_) => Ok(written.trim_ascii().into()),
    }
}

fn object<'j>(json: &'j Json, what: &str) -> Result<&'j Map<String, Json>> {
    json.as_object().ok_or_else(|| unreadable(format_args!("{what} is not an object")))
}

fn member<'j>(json: &'j Map<String, Json>, name: &str) -> Result<&'j Json> {
    json.get(name).ok_or_else(|| unreadable(format_args!("{name:?} is missing")))
}

fn list<'j>(json: &'j Map<String, Json>, name: &str) -> Result<&'j [Json]> {
    match member(json, name)? {
        Json::Array(items) => Ok(items),
        _ => Err(unreadable(format_args!("{name:?} is not a list"))),
    }
}

fn text<'j>(json: &'j Json, what: &str) -> Result<&'j str> {
    json.as_str().ok_or_else(|| unreadable(format_args!("{what} is not a text")))
}

fn flag(json: &Map<String, Json>, name: &str) -> Result<bool> {
    let is_set = member(json, name)?.as_bool();
    is_set.ok_or_else(|| unreadable(format_args!("{name:?} is neither true nor false")))
}

fn misplaced(form: &str) -> Error {
    unreadable(format_args!("form {form:?} does not fit its sources or its place"))
}

fn unreadable(what: impl std::fmt::Display) -> Error {
    Error::new(
        Reason::UnreadableDocument,
        format!("the revision's document cannot be prepared: {what}. Publish the template again"),
    )
}
