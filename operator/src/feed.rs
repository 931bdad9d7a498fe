//! From a watch to "this is there" and "this is gone".
//!
//! A watch starts over from time to time with a full list. What is missing in that list was
//! deleted while nobody looked; here that becomes the same as a delete event.

use std::collections::BTreeSet;

use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt as _};

/// One thing that a watch tells.
#[derive(Clone, Debug)]
pub enum Seen<K> {
    /// The object stands so.
    There(Box<K>),
    /// No such object any more.
    Gone(Id),
    /// The first full list has been told.
    Complete,
}

/// Namespace, if it has one, and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// Empty for a cluster-scoped object.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What was told so far.
#[derive(Debug)]
pub struct Feed<K> {
    known: BTreeSet<Id>,
    listed: Vec<K>,
}

impl<K> Default for Feed<K> {
    fn default() -> Self {
        Self {
            known: BTreeSet::new(),
            listed: Vec::new(),
        }
    }
}

impl<K: Resource> Feed<K> {
    /// What `event` means.
    pub fn step(&mut self, event: Event<K>) -> Vec<Seen<K>> {
        match event {
            Event::Apply(object) => {
                self.known.insert(id(&object));
                vec![Seen::There(Box::new(object))]
            }
            Event::Delete(object) => {
                let id = id(&object);
                self.known.remove(&id);
                vec![Seen::Gone(id)]
            }
            Event::Init => {
                self.listed = Vec::new();
                Vec::new()
            }
            Event::InitApply(object) => {
                self.listed.push(object);
                Vec::new()
            }
            Event::InitDone => self.relisted(),
        }
    }

    fn relisted(&mut self) -> Vec<Seen<K>> {
        let listed = std::mem::take(&mut self.listed);
        let ids = listed.iter().map(id).collect();
        let before = std::mem::replace(&mut self.known, ids);
        let gone = before
            .into_iter()
            .filter(|id| !self.known.contains(id))
            .map(Seen::Gone);
        let mut seen: Vec<Seen<K>> = gone.collect();
        seen.extend(
            listed
                .into_iter()
                .map(|object| Seen::There(Box::new(object))),
        );
        seen.push(Seen::Complete);
        seen
    }
}

fn id<K: Resource>(object: &K) -> Id {
    Id {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt as _;
    use kube::runtime::watcher::Event;

    use super::{Feed, Seen};

    fn object(name: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.into());
        object
    }

    fn told(feed: &mut Feed<ConfigMap>, events: Vec<Event<ConfigMap>>) -> Vec<String> {
        let seen = events.into_iter().flat_map(|event| feed.step(event));
        seen.map(|seen| match seen {
            Seen::There(object) => format!("+{}", object.name_any()),
            Seen::Gone(id) => format!("-{}", id.name),
            Seen::Complete => "complete".to_owned(),
        })
        .collect()
    }

    #[test]
    fn what_a_new_list_lacks_was_deleted() {
        let mut feed = Feed::default();
        let list = |names: &[&str]| {
            let mut events = vec![Event::Init];
            events.extend(names.iter().map(|name| Event::InitApply(object(name))));
            events.push(Event::InitDone);
            events
        };
        assert_eq!(told(&mut feed, list(&["a", "b"])), ["+a", "+b", "complete"]);
        assert_eq!(
            told(
                &mut feed,
                vec![Event::Apply(object("c")), Event::Delete(object("a"))]
            ),
            ["+c", "-a"]
        );
        assert_eq!(told(&mut feed, list(&["c"])), ["-b", "+c", "complete"]);
    }

    #[test]
    fn a_list_that_breaks_off_deletes_nothing() {
        let mut feed = Feed::default();
        told(
            &mut feed,
            vec![Event::Init, Event::InitApply(object("a")), Event::InitDone],
        );
        let broken_off = vec![
            Event::Init,
            Event::Init,
            Event::InitApply(object("a")),
            Event::InitDone,
        ];
        assert_eq!(told(&mut feed, broken_off), ["+a", "complete"]);
    }
}
