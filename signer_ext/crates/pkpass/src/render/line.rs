//! Reading the line of a pass: its built-ins in the document's order, then its slots' values.

use std::fmt;
use std::result::Result as Outcome;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::document::Sources;
use super::value::{Value, ValueSeed};
use crate::error::{Error, Reason, Result};

/// Most characters that a message quotes of a name it does not know.
const MAX_QUOTED: usize = 64;

/// Puts the values of a line in the places of their sources; absent ones are None.
///
/// Errors name the source, never its value.
pub(super) fn read<'a>(
    sources: &Sources,
    line: &'a [u8],
    values: &mut Vec<Option<Value<'a>>>,
) -> Result<()> {
    values.clear();
    values.resize(sources.all.len(), None);
    let mut place = Place::Line;
    let mut json = serde_json::Deserializer::from_slice(line);
    let built_ins = BuiltIns(Reading { sources, values, place: &mut place });
    built_ins.deserialize(&mut json).and_then(|()| json.end()).map_err(|error| {
        // What serde says may quote a value: what kind of error it was, and where, is enough.
        let place = if error.is_data() { place } else { Place::Line };
        place.refusal(sources)
    })
}

/// Where the reader is, for messages.
enum Place {
    Line,
    Source(usize),
    UnknownSlot(String),
}

impl Place {
    fn refusal(&self, sources: &Sources) -> Error {
        match self {
            Self::Line => Error::new(
                Reason::UnreadablePassData,
                "a pass's line is not a JSON list of its built-ins and its slots' values",
            ),
            Self::Source(at) => {
                let (label, wanted) = sources
                    .all
                    .get(*at)
                    .map_or(("", ""), |source| (&*source.label, source.kind.wanted()));
                Error::new(Reason::WrongValue, format!("{label} is not {wanted}"))
            }
            Self::UnknownSlot(name) => Error::new(
                Reason::UnknownSlot,
                format!("values[{name:?}]: the revision has no slot of this name"),
            ),
        }
    }
}

struct Reading<'r, 'a> {
    sources: &'r Sources,
    values: &'r mut [Option<Value<'a>>],
    place: &'r mut Place,
}

impl<'a> Reading<'_, 'a> {
    /// Reads the value of the source at this place with `read`, which may find none at all.
    fn value<E>(
        &mut self,
        at: usize,
        read: impl FnOnce(ValueSeed<'_>) -> Outcome<Option<Option<Value<'a>>>, E>,
    ) -> Outcome<bool, E> {
        let (Some(source), Some(value)) = (self.sources.all.get(at), self.values.get_mut(at))
        else {
            return Ok(false);
        };
        *self.place = Place::Source(at);
        let Some(found) =
            read(ValueSeed { kind: source.kind, currencies: &self.sources.currencies })?
        else {
            *self.place = Place::Line;
            return Ok(false);
        };
        *value = found;
        Ok(value.is_some())
    }
}

/// The whole line.
struct BuiltIns<'r, 'a>(Reading<'r, 'a>);

impl<'a> DeserializeSeed<'a> for BuiltIns<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Outcome<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for BuiltIns<'_, 'a> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut items: A) -> Outcome<(), A::Error> {
        for at in 0..self.0.sources.built_ins {
            self.0.value(at, |seed| items.next_element_seed(seed))?;
        }
        *self.0.place = Place::Line;
        let slots = items.next_element_seed(Slots(self.0))?;
        slots.ok_or_else(|| A::Error::custom("values are missing"))
    }
}

/// The object at the line's end.
struct Slots<'r, 'a>(Reading<'r, 'a>);

impl<'a> DeserializeSeed<'a> for Slots<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Outcome<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Slots<'_, 'a> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut entries: A) -> Outcome<(), A::Error> {
        loop {
            *self.0.place = Place::Line;
            let key = SlotName { sources: self.0.sources, place: &mut *self.0.place };
            let Some(at) = entries.next_key_seed(key)? else { return Ok(()) };
            if !self.0.value(at, |seed| entries.next_value_seed(seed).map(Some))? {
                return Err(A::Error::custom("no value"));
            }
        }
    }
}

/// The name of a slot, read as its place.
struct SlotName<'r> {
    sources: &'r Sources,
    place: &'r mut Place,
}

impl<'a> DeserializeSeed<'a> for SlotName<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Outcome<usize, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for SlotName<'_> {
    type Value = usize;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a slot's name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Outcome<usize, E> {
        self.sources.slots.get(name).copied().ok_or_else(|| {
            *self.place = Place::UnknownSlot(name.chars().take(MAX_QUOTED).collect());
            E::custom("unknown slot")
        })
    }
}
