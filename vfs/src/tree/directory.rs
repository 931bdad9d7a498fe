//! The names of one directory, in the order of a hash that stays the same while others come and go.

use std::hash::{BuildHasher, RandomState};
use std::ops::{Bound, RangeInclusive};

use super::blocks::length;
use super::entries::{Entries, Entry};
use super::name::Name;
use super::slab::Ino;
use crate::Error;

pub(crate) use super::entries::Place;

/// What every name costs besides its bytes.
const ENTRY_COST: u64 = 48;
/// Names of one hash. One more is refused: nobody finds so many against a random seed.
const SAME_HASH: u32 = 8;
/// Bits of a place: cookies then fit a positive 32-bit integer, which is what `telldir` has.
const PLACE_BITS: u32 = 30;

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

/// The names of one directory.
pub(crate) struct Directory {
    /// Where `..` leads; itself for the root.
    pub(crate) parent: Ino,
    entries: Entries,
}

impl Directory {
    pub(crate) fn new(parent: Ino) -> Self {
        Self {
            parent,
            entries: Entries::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    pub(crate) fn find(&self, hasher: &RandomState, name: &str) -> Option<(Place, Ino)> {
        let mut same = self.entries.range(places(hasher, name));
        let entry = same.find(|entry| &*entry.name == name)?;
        Some((entry.place, entry.ino))
    }

    /// Where a name that is not there yet would be.
    pub(crate) fn room_for(&self, hasher: &RandomState, name: &str) -> Result<Place, Error> {
        let places = places(hasher, name);
        let mut free = (places.start().0..=places.end().0).map(Place);
        let free = free.find(|place| !self.entries.contains(*place));
        free.ok_or(Error::NoSpace)
    }

    pub(crate) fn insert(&mut self, place: Place, name: Name, ino: Ino) {
        self.entries.insert(Entry { name, ino, place });
    }

    pub(crate) fn replace(&mut self, place: Place, ino: Ino) {
        if let Some(entry) = self.entries.get_mut(place) {
            entry.ino = ino;
        }
    }

    pub(crate) fn remove(&mut self, place: Place) -> Option<Entry> {
        self.entries.remove(place)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.from(Bound::Unbounded)
    }

    /// All names, or those behind a place.
    pub(crate) fn after(&self, place: Option<Place>) -> impl Iterator<Item = &Entry> {
        self.entries
            .from(place.map_or(Bound::Unbounded, Bound::Excluded))
    }
}

/// What a name costs.
pub(crate) fn entry_cost(name: &str) -> u64 {
    ENTRY_COST + length(name.len())
}

/// The places where a name may be.
fn places(hasher: &RandomState, name: &str) -> RangeInclusive<Place> {
    let hash = hasher.hash_one(name) >> (u64::BITS - PLACE_BITS);
    let first = u32::try_from(hash).unwrap_or(0) & !(SAME_HASH - 1);
    Place(first)..=Place(first + SAME_HASH - 1)
}
