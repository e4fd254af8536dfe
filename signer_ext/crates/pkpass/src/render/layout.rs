//! The document as a tree, and what it comes to when some values are not there.
//!
//! What is left out when a value is absent: a hole without its value takes its nearest enclosing
//! text or scalar with it; an object goes when a member it needs went, or when nothing is left in it
//! (unless it is kept); a list goes when nothing is left in it.

use super::write::Form;

/// A gap. Sources are places in the document's list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hole {
    /// Filled with a value.
    Value { source: usize, form: Form },
    /// Filled with the name of the barcode encoding that can hold all these texts.
    Encoding(Box<[usize]>),
}

impl Hole {
    pub(super) fn sources(&self) -> &[usize] {
        match self {
            Self::Value { source, .. } => std::slice::from_ref(source),
            Self::Encoding(sources) => sources,
        }
    }
}

/// A part of a text: what is fixed is escaped already.
#[derive(Debug)]
pub(super) enum Part {
    Fixed(Box<[u8]>),
    Hole(Hole),
}

/// JSON with holes.
#[derive(Debug)]
pub(super) enum Node {
    Constant(Box<str>),
    Text(Vec<Part>),
    Scalar(Hole),
    FirstOf(Vec<Node>),
    Array(Vec<Node>),
    Object { members: Vec<Member>, is_kept: bool },
}

impl Node {
    /// Calls `visit` with every hole.
    pub(super) fn each_hole(&self, visit: &mut impl FnMut(&Hole)) {
        match self {
            Self::Constant(_) => {}
            Self::Text(parts) => {
                for part in parts {
                    if let Part::Hole(hole) = part {
                        visit(hole);
                    }
                }
            }
            Self::Scalar(hole) => visit(hole),
            Self::FirstOf(nodes) | Self::Array(nodes) => {
                for node in nodes {
                    node.each_hole(visit);
                }
            }
            Self::Object { members, .. } => {
                for member in members {
                    member.node.each_hole(visit);
                }
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Member {
    /// As it is written, with quotes and colon.
    pub(super) name: Box<[u8]>,
    pub(super) node: Node,
    pub(super) is_needed: bool,
}

impl Member {
    fn parts(&self) -> (&[u8], &Node) {
        (&self.name, &self.node)
    }
}

/// `pass.json` of all passes that lack the same values: holes, each behind a fixed text.
#[derive(Debug, Default)]
pub(super) struct Layout {
    text: Vec<u8>,
    /// How much of the text comes before, and the hole.
    holes: Vec<(usize, Hole)>,
}

impl Layout {
    /// Lays the tree out for passes that lack the sources for which `is_absent` holds. Nothing when
    /// all of it is left out.
    pub(super) fn new(document: &Node, is_absent: &impl Fn(usize) -> bool) -> Self {
        let mut layout = Self::default();
        layout.lay(document, is_absent);
        layout.text.shrink_to_fit();
        layout.holes.shrink_to_fit();
        layout
    }

    /// Each hole with the text before it, then no hole with the text at the end.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (&[u8], Option<&Hole>)> {
        let mut from = 0;
        let last = (self.text.len(), None);
        let holes = self.holes.iter().map(|(until, hole)| (*until, Some(hole)));
        holes.chain([last]).map(move |(until, hole)| {
            let text = self.text.get(from..until).unwrap_or_default();
            from = until;
            (text, hole)
        })
    }

    /// Bytes it takes up, about.
    pub(super) fn size(&self) -> usize {
        self.text.len() + self.holes.len() * size_of::<(usize, Hole)>()
    }

    /// Adds the node, or nothing when it is left out; tells which.
    fn lay(&mut self, node: &Node, is_absent: &impl Fn(usize) -> bool) -> bool {
        let (text, holes) = (self.text.len(), self.holes.len());
        let is_there = match node {
            Node::Constant(json) => {
                self.put(json.as_bytes());
                true
            }
            Node::Text(parts) => {
                self.put(b"\"");
                let is_there = parts.iter().all(|part| match part {
                    Part::Fixed(text) => {
                        self.put(text);
                        true
                    }
                    Part::Hole(hole) => self.leave(hole, is_absent),
                });
                self.put(b"\"");
                is_there
            }
            Node::Scalar(hole) => self.leave(hole, is_absent),
            Node::FirstOf(nodes) => nodes.iter().any(|inner| self.lay(inner, is_absent)),
            Node::Array(items) => {
                let left = self.list(*b"[]", items, |item| (b"", item), is_absent);
                left.contains(&true) || items.is_empty()
            }
            Node::Object { members, is_kept } => {
                let left = self.list(*b"{}", members, Member::parts, is_absent);
                let has_needed = members.iter().zip(&left).all(|(each, is)| *is || !each.is_needed);
                has_needed && (left.contains(&true) || members.is_empty() || *is_kept)
            }
        };
        if !is_there {
            self.text.truncate(text);
            self.holes.truncate(holes);
        }
        is_there
    }

    /// Adds what is left of the items, between brackets and commas; tells of each if it is left.
    fn list<'n, T>(
        &mut self,
        [opening, closing]: [u8; 2],
        items: &'n [T],
        named: impl Fn(&'n T) -> (&'n [u8], &'n Node),
        is_absent: &impl Fn(usize) -> bool,
    ) -> Vec<bool> {
        let mut separator: &[u8] = b"";
        self.text.push(opening);
        let left = items
            .iter()
            .map(|item| {
                let (name, node) = named(item);
                let before = self.text.len();
                self.put(separator);
                self.put(name);
                let is_left = self.lay(node, is_absent);
                if is_left {
                    separator = b",";
                } else {
                    self.text.truncate(before);
                }
                is_left
            })
            .collect();
        self.text.push(closing);
        left
    }

    fn put(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    fn leave(&mut self, hole: &Hole, is_absent: &impl Fn(usize) -> bool) -> bool {
        let is_there = !hole.sources().iter().any(|source| is_absent(*source));
        if is_there {
            self.holes.push((self.text.len(), hole.clone()));
        }
        is_there
    }
}
