//! `pass.json` of one pass after another: a revision's document is prepared once, a pass fills its
//! holes.
//!
//! The bytes are compact UTF-8 JSON in a fixed key order without a trailing newline. Equal input
//! gives equal bytes for ever: nothing here looks at a clock, a locale or a time zone database.
//!
//! A pass comes as one line of JSON: the built-ins in the order of the document, then an object of
//! its slots' values in the form in which they are stored:
//!
//! ```text
//! ["0N3…","aGk…","K7M3-Q8TX","Ana",null,null,null,{"points":7,"tier":"Gold"}]
//! ```

mod document;
mod layout;
mod line;
#[cfg(test)]
mod tests;
mod value;
mod write;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

pub use document::MAX_DOCUMENT_BYTES;
use document::Sources;
use layout::{Hole, Layout, Node};
use value::Value;

use crate::error::{Error, Reason, Result};
use crate::revision::{MAX_PASS_JSON_BYTES, check_pass_json};

/// Passes of one template differ in which optional values they have, mostly in few ways. Beyond
/// this many, or this many bytes, the memory is let go and filled anew.
const MAX_LAYOUTS: usize = 512;
const MAX_LAYOUT_BYTES: usize = 8 * 1024 * 1024;

/// Which of the optional sources a pass lacks: a bit each.
type Absent = Box<[u64]>;

/// What all passes of a revision say, with holes for what each adds.
#[derive(Debug)]
pub struct Document {
    sources: Sources,
    node: Node,
    /// Places of the sources that a pass may lack and that are used, in order.
    optional: Vec<usize>,
    json_bytes: usize,
    layouts: RwLock<Layouts>,
}

impl Document {
    /// Reads a document:
    ///
    /// ```text
    /// {"built_ins":[SOURCE,…], "slots":[SOURCE,…], "decimals":{"EUR":2,…}, "document":NODE}
    /// SOURCE: {"name":…, "type":"text|url|integer|decimal|money|instant|boolean",
    ///          "required":true|false, "default": a stored value, null for none}
    /// NODE:   {"constant":"JSON, written"} | {"text":["fixed",HOLE,…]} | {"scalar":HOLE}
    ///         | {"first_of":[NODE,…]} | {"array":[NODE,…]}
    ///         | {"object":[["name",NODE],…], "whole":["name",…], "keep":true|false}
    /// HOLE:   {"sources":["name",…], "form":"text|url_component|html|date|currency|encoding
    ///          |number|boolean|money_object"}
    /// ```
    ///
    /// Refuses with [`Reason::UnreadableDocument`] what has another form, a hole without a source or
    /// of a form that its source's type or its place does not allow, and what is too large or deep.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let (sources, node) = document::read(json)?;
        let mut is_used = vec![false; sources.all.len()];
        node.each_hole(&mut |hole: &Hole| {
            for source in hole.sources() {
                if let Some(is_used) = is_used.get_mut(*source) {
                    *is_used = true;
                }
            }
        });
        let optional = sources.all.iter().zip(is_used).enumerate();
        let optional = optional.filter(|(_, (source, is_used))| *is_used && source.can_be_absent());
        let optional = optional.map(|(at, _)| at).collect();
        Ok(Self { sources, node, optional, json_bytes: json.len(), layouts: RwLock::default() })
    }

    /// Bytes of its JSON, for which the tree stands, and of the layouts made until now.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.json_bytes + self.layouts.read().unwrap_or_else(PoisonError::into_inner).size
    }

    /// How many layouts are kept now.
    #[must_use]
    pub fn kept_layouts(&self) -> usize {
        self.layouts.read().unwrap_or_else(PoisonError::into_inner).by_absent.len()
    }

    /// The layout of passes that lack these sources, from memory or made now.
    fn layout(&self, absent: &[u64]) -> Arc<Layout> {
        let kept = self.layouts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(layout) = kept.by_absent.get(absent) {
            return Arc::clone(layout);
        }
        drop(kept);
        let is_absent = |source: usize| {
            self.optional.binary_search(&source).is_ok_and(|bit| is_set(absent, bit))
        };
        let layout = Arc::new(Layout::new(&self.node, &is_absent));
        let mut kept = self.layouts.write().unwrap_or_else(PoisonError::into_inner);
        kept.keep(absent.into(), Arc::clone(&layout));
        layout
    }
}

#[derive(Debug, Default)]
struct Layouts {
    by_absent: HashMap<Absent, Arc<Layout>>,
    size: usize,
}

impl Layouts {
    fn keep(&mut self, absent: Absent, layout: Arc<Layout>) {
        let size = layout.size();
        if self.by_absent.len() >= MAX_LAYOUTS || self.size + size > MAX_LAYOUT_BYTES {
            *self = Self::default();
        }
        if self.by_absent.insert(absent, layout).is_none() {
            self.size += size;
        }
    }
}

fn is_set(bits: &[u64], bit: usize) -> bool {
    bits.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
}

/// Renders passes of a document in one thread, in memory that it uses again.
pub struct Renderer<'a> {
    document: &'a Document,
    values: Vec<Option<Value<'a>>>,
    absent: Vec<u64>,
    /// That of the pass before: most passes lack what it lacks.
    last: Option<(Absent, Arc<Layout>)>,
    out: Vec<u8>,
}

impl<'a> Renderer<'a> {
    /// A renderer for passes of this document.
    #[must_use]
    pub fn new(document: &'a Document) -> Self {
        Self { document, values: Vec::new(), absent: Vec::new(), last: None, out: Vec::new() }
    }

    /// `pass.json` of the pass that this line describes.
    ///
    /// Refuses a line that is none, and values of unknown slots, of a wrong type or missing, by the
    /// name of the source; and what comes out too large.
    pub fn render(&mut self, line: &'a [u8]) -> Result<&[u8]> {
        line::read(&self.document.sources, line, &mut self.values)?;
        let layout = self.layout();
        self.out.clear();
        for (text, hole) in layout.pieces() {
            self.out.extend_from_slice(text);
            if let Some(hole) = hole {
                self.fill(hole)?;
            }
            if self.out.len() > MAX_PASS_JSON_BYTES {
                break;
            }
        }
        check_pass_json(&self.out)?;
        Ok(&self.out)
    }

    fn layout(&mut self) -> Arc<Layout> {
        self.absent.clear();
        self.absent.resize(self.document.optional.len().div_ceil(64), 0);
        for (bit, source) in self.document.optional.iter().enumerate() {
            if self.values.get(*source).is_none_or(Option::is_none)
                && let Some(word) = self.absent.get_mut(bit / 64)
            {
                *word |= 1 << (bit % 64);
            }
        }
        if let Some((absent, layout)) = &self.last
            && **absent == *self.absent
        {
            return Arc::clone(layout);
        }
        let layout = self.document.layout(&self.absent);
        self.last = Some((self.absent.as_slice().into(), Arc::clone(&layout)));
        layout
    }

    fn fill(&mut self, hole: &Hole) -> Result<()> {
        match hole {
            Hole::Value { source, form } => {
                let value = value_of(&self.document.sources, &self.values, *source)?;
                write::write(&mut self.out, *form, value);
            }
            Hole::Encoding(sources) => {
                let mut fits = true;
                for source in sources {
                    if let Value::Text(text) =
                        value_of(&self.document.sources, &self.values, *source)?
                    {
                        fits &= write::fits_latin1(text);
                    }
                }
                self.out.extend_from_slice(if fits { b"iso-8859-1" } else { b"utf-8" });
            }
        }
        Ok(())
    }
}

/// The pass's value of a source, or the source's default.
fn value_of<'v>(
    sources: &'v Sources,
    values: &'v [Option<Value<'_>>],
    at: usize,
) -> Result<&'v Value<'v>> {
    let source = sources.all.get(at);
    let own = values.get(at).and_then(Option::as_ref);
    own.or_else(|| source?.default.as_ref()).ok_or_else(|| {
        let label = source.map_or("", |source| &*source.label);
        Error::new(Reason::MissingValue, format!("{label} is required"))
    })
}

/// The lines of a batch: one a pass, each but the last with its line feed.
#[must_use]
pub fn lines(batch: &[u8]) -> Vec<&[u8]> {
    if batch.is_empty() {
        return Vec::new();
    }
    batch.strip_suffix(b"\n").unwrap_or(batch).split(|byte| *byte == b'\n').collect()
}

/// `pass.json` of each pass of a batch; an error says which one.
pub fn render(document: &Document, batch: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut renderer = Renderer::new(document);
    let render = |(item, line)| {
        let pass_json = renderer.render(line).map_err(|error| error.of_item(item))?;
        Ok(pass_json.to_vec())
    };
    lines(batch).into_iter().enumerate().map(render).collect()
}
