//! When objects are read, and what one update carries.

use std::collections::BTreeSet;

use super::*;

fn object(name: &str) -> Object {
    Object {
        kind: ObjectKind::ConfigMap,
        namespace: "tenant-ns".to_owned(),
        name: name.to_owned(),
    }
}

#[test]
fn objects_are_spread_over_the_whole_interval() {
    let since = Duration::from_secs(1_000);
    let mut seconds = BTreeMap::new();
    for index in 0..2_000 {
        let at = first_read(&object(&format!("settings-{index}")), since);
        assert!(at >= since && at < since + EVERY);
        *seconds
            .entry(at.saturating_sub(since).as_secs())
            .or_insert(0) += 1;
    }
    assert_eq!(seconds.len(), 20);
    // 100 in each second on average.
    assert!(
        seconds.values().all(|count| (60..150).contains(count)),
        "{seconds:?}"
    );
}

#[test]
fn a_secret_and_a_config_map_of_one_name_have_places_of_their_own() {
    let places: BTreeSet<Duration> = [ObjectKind::ConfigMap, ObjectKind::Secret]
        .map(|kind| {
            let object = Object {
                kind,
                ..object("settings")
            };
            first_read(&object, Duration::ZERO)
        })
        .into();
    assert_eq!(places.len(), 2);
}

#[test]
fn one_request_carries_what_it_can_and_at_least_one_mount() {
    let mount = |bytes: usize| Mount {
        path: "/a".to_owned(),
        read_only: true,
        source: MountSource::Files {
            sha256: String::new(),
            files: Some(BTreeMap::from([(
                "a".to_owned(),
                agentvm_cell_api::mounts::FileContent {
                    mode: 0,
                    data: vec![0; bytes].into(),
                },
            )])),
        },
    };
    let batch = |sizes: &[usize]| {
        let pending = sizes.iter().map(|bytes| mount(*bytes)).enumerate();
        let files = LiveFiles {
            pending: pending.collect(),
            ..LiveFiles::default()
        };
        files.batch().map(|(index, _)| index).collect::<Vec<_>>()
    };
    assert_eq!(batch(&[]), [0_usize; 0]);
    assert_eq!(batch(&[0, 7, 0]), [0, 1, 2]);
    assert_eq!(batch(&[MAX_FILE_BYTES + 1, 1]), [0]);
    assert_eq!(batch(&[MAX_FILE_BYTES / 2, MAX_FILE_BYTES / 2, 1]), [0, 1]);
}
