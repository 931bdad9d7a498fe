//! Names by their place: a sorted list while there are few, a search tree from then on.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeInclusive};

use super::name::Name;
use super::slab::Ino;

/// So many are a list; a tree that has shrunk to half of it becomes one again.
const FEW: usize = 12;

/// Where a name is in its directory, for as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(pub(super) u32);

/// One name.
pub(crate) struct Entry {
    pub(crate) name: Name,
    pub(crate) ino: Ino,
    pub(crate) place: Place,
}

/// The names of one directory.
pub(crate) enum Entries {
    Few(Vec<Entry>),
    Many(BTreeMap<Place, Entry>),
}

impl Default for Entries {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Entries {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Few(list) => list.len(),
            Self::Many(tree) => tree.len(),
        }
    }

    pub(crate) fn contains(&self, place: Place) -> bool {
        match self {
            Self::Few(list) => search(list, place).is_ok(),
            Self::Many(tree) => tree.contains_key(&place),
        }
    }

    pub(crate) fn get_mut(&mut self, place: Place) -> Option<&mut Entry> {
        match self {
            Self::Few(list) => {
                let at = search(list, place).ok()?;
                list.get_mut(at)
            }
            Self::Many(tree) => tree.get_mut(&place),
        }
    }

    /// Those of a range of places, in their order.
    pub(crate) fn range(&self, places: RangeInclusive<Place>) -> impl Iterator<Item = &Entry> {
        let end = *places.end();
        let from = self.from(Bound::Included(*places.start()));
        from.take_while(move |entry| entry.place <= end)
    }

    /// All from a place on, in their order.
    pub(crate) fn from(&self, bound: Bound<Place>) -> impl Iterator<Item = &Entry> {
        let (list, tree) = match self {
            Self::Few(list) => {
                let first = list.partition_point(|entry| match bound {
                    Bound::Included(place) => entry.place < place,
                    Bound::Excluded(place) => entry.place <= place,
                    Bound::Unbounded => false,
                });
                (list.get(first..), None)
            }
            Self::Many(tree) => (None, Some(tree.range((bound, Bound::Unbounded)))),
        };
        let tree = tree.into_iter().flatten().map(|(_, entry)| entry);
        list.unwrap_or_default().iter().chain(tree)
    }

    pub(crate) fn insert(&mut self, entry: Entry) {
        match self {
            Self::Few(list) if list.len() < FEW => {
                let at = search(list, entry.place).unwrap_or_else(|at| at);
                list.reserve_exact(if list.len() < 4 { 1 } else { 2 });
                list.insert(at, entry);
            }
            Self::Few(list) => {
                let list = std::mem::take(list).into_iter();
                let mut tree: BTreeMap<_, _> = list.map(|entry| (entry.place, entry)).collect();
                tree.insert(entry.place, entry);
                *self = Self::Many(tree);
            }
            Self::Many(tree) => {
                tree.insert(entry.place, entry);
            }
        }
    }

    pub(crate) fn remove(&mut self, place: Place) -> Option<Entry> {
        match self {
            Self::Few(list) => {
                let removed = list.remove(search(list, place).ok()?);
                if list.is_empty() {
                    *list = Vec::new();
                }
                Some(removed)
            }
            Self::Many(tree) => {
                let removed = tree.remove(&place);
                if tree.len() <= FEW / 2 {
                    *self = Self::Few(std::mem::take(tree).into_values().collect());
                }
                removed
            }
        }
    }
}

fn search(list: &[Entry], place: Place) -> Result<usize, usize> {
    list.binary_search_by_key(&place, |entry| entry.place)
}
