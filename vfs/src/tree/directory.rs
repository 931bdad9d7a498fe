//! The names of one directory, in the order of a hash that stays the same while others come and go.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;

use super::blocks::length;
use super::slab::Ino;
use crate::Error;

/// What every name costs besides its bytes.
const ENTRY_COST: u64 = 48;
/// Names of one hash. One more is refused: nobody finds so many against a random seed.
const SAME_HASH: u32 = 8;
/// Bits of a place: cookies then fit a positive 32-bit integer, which is what `telldir` has.
const PLACE_BITS: u32 = 30;

/// Where a name is in its directory, for as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(u32);

impl Place {
    /// Where a listing goes on behind it: 1 and 2 are behind `.` and `..`.
    pub(crate) fn cookie(self) -> u64 {
        u64::from(self.0) + 3
    }

    /// The place that a cookie above 2 is behind; none beyond the last.
    pub(crate) fn of_cookie(cookie: u64) -> Option<Self> {
        u32::try_from(cookie.checked_sub(3)?).ok().map(Self)
    }
}

/// One name.
pub(crate) struct Entry {
    pub(crate) name: Box<str>,
    pub(crate) ino: Ino,
}

/// The names of one directory.
pub(crate) struct Directory {
    /// Where `..` leads; itself for the root.
    pub(crate) parent: Ino,
    entries: BTreeMap<Place, Entry>,
}

impl Directory {
    pub(crate) fn new(parent: Ino) -> Self {
        Self {
            parent,
            entries: BTreeMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn find(&self, hasher: &RandomState, name: &str) -> Option<(Place, Ino)> {
        let (first, last) = bucket(hasher, name);
        let mut same = self.entries.range(first..=last);
        let (place, entry) = same.find(|(_, entry)| &*entry.name == name)?;
        Some((*place, entry.ino))
    }

    /// Where a name that is not there yet would be.
    pub(crate) fn room_for(&self, hasher: &RandomState, name: &str) -> Result<Place, Error> {
        let (first, last) = bucket(hasher, name);
        let mut free = (first.0..=last.0).map(Place);
        let free = free.find(|place| !self.entries.contains_key(place));
        free.ok_or(Error::NoSpace)
    }

    pub(crate) fn insert(&mut self, place: Place, name: Box<str>, ino: Ino) {
        self.entries.insert(place, Entry { name, ino });
    }

    pub(crate) fn replace(&mut self, place: Place, ino: Ino) {
        if let Some(entry) = self.entries.get_mut(&place) {
            entry.ino = ino;
        }
    }

    pub(crate) fn remove(&mut self, place: Place) -> Option<Entry> {
        self.entries.remove(&place)
    }

    /// All names, or those behind a place.
    pub(crate) fn after(&self, place: Option<Place>) -> impl Iterator<Item = (Place, &Entry)> {
        let from = place.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.entries.range((from, Bound::Unbounded));
        entries.map(|(place, entry)| (*place, entry))
    }
}

/// What a name costs.
pub(crate) fn entry_cost(name: &str) -> u64 {
    ENTRY_COST + length(name.len())
}

/// The places where a name may be.
fn bucket(hasher: &RandomState, name: &str) -> (Place, Place) {
    let hash = hasher.hash_one(name) >> (u64::BITS - PLACE_BITS);
    let hash = u32::try_from(hash).unwrap_or(0) & !(SAME_HASH - 1);
    (Place(hash), Place(hash + SAME_HASH - 1))
}
