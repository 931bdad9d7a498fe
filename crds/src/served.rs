//! Which namespaces are served, and one watch over all of them.
//!
//! A role that holds in some namespaces alone can't list a kind across the cluster. So the
//! operator and the agents watch each of these namespaces, and here that becomes one stream as
//! from a single watch: one first list when every namespace's is complete, and a whole list
//! again whenever one of them was listed anew.

use std::collections::BTreeMap;

use futures::stream::{BoxStream, select_all};
use futures::{StreamExt as _, stream};
use kube::core::NamespaceResourceScope;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Event, Result, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

/// The events of `K` in `namespaces`, or in all where there are none, with back-off after errors.
///
/// Nothing is told before every namespace could be listed: what is missing from a part of a list
/// must never look as if it was deleted.
pub fn watch<K>(
    client: &Client,
    namespaces: &[String],
    config: &Config,
) -> BoxStream<'static, Result<Event<K>>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    if namespaces.is_empty() {
        let api = Api::all(client.clone());
        return watcher(api, config.clone()).default_backoff().boxed();
    }
    let each = namespaces.iter().map(|namespace| {
        let api = Api::namespaced(client.clone(), namespace);
        let name = namespace.clone();
        watcher(api, config.clone())
            .default_backoff()
            .map(move |event| (name.clone(), event))
            .boxed()
    });
    let union = Union::of(namespaces);
    select_all(each)
        .scan(union, |union, (namespace, event)| {
            let told = match event {
                Ok(event) => union.step(&namespace, event).into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            std::future::ready(Some(stream::iter(told)))
        })
        .flatten()
        .boxed()
}

/// What is known of each namespace.
#[derive(Debug)]
struct Union<K> {
    parts: BTreeMap<String, Part<K>>,
}

#[derive(Debug)]
struct Part<K> {
    is_complete: bool,
    objects: BTreeMap<String, K>,
    listed: BTreeMap<String, K>,
}

impl<K: Resource + Clone> Union<K> {
    fn of(namespaces: &[String]) -> Self {
        let part = || Part {
            is_complete: false,
            objects: BTreeMap::new(),
            listed: BTreeMap::new(),
        };
        let parts = namespaces.iter().map(|name| (name.clone(), part()));
        Self {
            parts: parts.collect(),
        }
    }

    /// What a single watch over all namespaces would have told.
    fn step(&mut self, namespace: &str, event: Event<K>) -> Vec<Event<K>> {
        let Some(part) = self.parts.get_mut(namespace) else {
            return Vec::new();
        };
        let passed_on = match event {
            Event::Init => {
                part.listed.clear();
                return Vec::new();
            }
            Event::InitApply(object) => {
                part.listed.insert(object.name_any(), object);
                return Vec::new();
            }
            Event::InitDone => {
                part.objects = std::mem::take(&mut part.listed);
                part.is_complete = true;
                return self.whole();
            }
            Event::Apply(object) => {
                part.objects.insert(object.name_any(), object.clone());
                Event::Apply(object)
            }
            Event::Delete(object) => {
                part.objects.remove(&object.name_any());
                Event::Delete(object)
            }
        };
        if self.is_complete() {
            vec![passed_on]
        } else {
            Vec::new()
        }
    }

    fn is_complete(&self) -> bool {
        self.parts.values().all(|part| part.is_complete)
    }

    /// A whole list, once there is one.
    fn whole(&self) -> Vec<Event<K>> {
        if !self.is_complete() {
            return Vec::new();
        }
        let objects = self.parts.values().flat_map(|part| part.objects.values());
        let mut events = vec![Event::Init];
        events.extend(objects.cloned().map(Event::InitApply));
        events.push(Event::InitDone);
        events
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(name: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.into());
        object
    }

    fn shown(events: Vec<Event<ConfigMap>>) -> Vec<String> {
        let one = |event: Event<ConfigMap>| match event {
            Event::Init => "list".to_owned(),
            Event::InitApply(object) => format!("has {}", object.name_any()),
            Event::InitDone => "done".to_owned(),
            Event::Apply(object) => format!("+{}", object.name_any()),
            Event::Delete(object) => format!("-{}", object.name_any()),
        };
        events.into_iter().map(one).collect()
    }

    fn list(union: &mut Union<ConfigMap>, namespace: &str, names: &[&str]) -> Vec<String> {
        let mut told = union.step(namespace, Event::Init);
        for name in names {
            told.extend(union.step(namespace, Event::InitApply(object(name))));
        }
        told.extend(union.step(namespace, Event::InitDone));
        shown(told)
    }

    fn two() -> Union<ConfigMap> {
        Union::of(&["teal".to_owned(), "ochre".to_owned()])
    }

    #[test]
    fn nothing_is_told_before_every_namespace_is_listed() {
        let mut union = two();
        assert!(list(&mut union, "teal", &["a"]).is_empty());
        let early = union.step("teal", Event::Apply(object("b")));
        assert!(early.is_empty());
        let told = list(&mut union, "ochre", &["c"]);
        assert_eq!(told, ["list", "has c", "has a", "has b", "done"]);
    }

    #[test]
    fn a_namespace_that_is_listed_anew_takes_nothing_from_another() {
        let mut union = two();
        list(&mut union, "teal", &["a"]);
        list(&mut union, "ochre", &["c", "d"]);
        let told = union.step("ochre", Event::Delete(object("d")));
        assert_eq!(shown(told), ["-d"]);
        let told = list(&mut union, "teal", &["b"]);
        assert_eq!(told, ["list", "has c", "has b", "done"]);
    }

    #[test]
    fn a_list_that_breaks_off_tells_nothing() {
        let mut union = two();
        list(&mut union, "teal", &["a"]);
        list(&mut union, "ochre", &[]);
        assert!(union.step("teal", Event::Init).is_empty());
        assert_eq!(list(&mut union, "ochre", &[]), ["list", "has a", "done"]);
    }
}
