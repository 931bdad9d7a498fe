//! The names on the wire: two versions of us may talk to each other during an upgrade.
#![expect(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected must fail where it does"
)]

use std::fmt::Debug;

use agentvm_cell_api::cell::{Stats, VmList, VmSpec};
use agentvm_cell_api::log::Line;
use agentvm_cell_api::problem::Problem;
use agentvm_cell_api::warden::{Cells, Info, Module};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Decodes `json` and encodes it to the very same again.
fn holds<T: Serialize + DeserializeOwned + Debug>(json: &str) {
    let expected: serde_json::Value = serde_json::from_str(json).unwrap();
    let value: T = serde_json::from_str(json).unwrap();
    assert_eq!(serde_json::to_value(&value).unwrap(), expected, "{value:?}");
}

#[test]
fn every_type_keeps_its_names() {
    holds::<Info>(
        r#"{"version":"1","engine":"ab","jail":"Partial","jailMessage":"no Landlock","maxVmsPerCell":7,"maxCells":8,
            "maxMapCount":9,"stopping":false,"pid":3,"residentBytes":5,
            "compiles":{"succeeded":1,"refused":2,"rejectedEntries":3,"running":4,"waiting":5}}"#,
    );
    holds::<Module>(r#"{"sha256":"ab","kind":"component","compiledBytes":1,"compileMs":2}"#);
    holds::<Cells>(
        r#"{"cells":[{"namespace":"n","socket":"/s","pid":1,"instance":"i","startedUnixMs":2}],
            "ended":[{"namespace":"n","instance":"h","reason":"MemoryPressure","message":"m","finishedUnixMs":3},
            {"namespace":"n","instance":"g","reason":"Exited","message":"m","finishedUnixMs":4},
            {"namespace":"n","instance":"f","reason":"Stopped","message":"m","finishedUnixMs":5}]}"#,
    );
    holds::<Cells>(r#"{"cells":[]}"#);
    holds::<VmSpec>(
        r#"{"name":"n","epoch":1,"attempt":2,"fenceDeadlineBoottimeMs":3,"module":"ab","kind":"core",
            "args":["a"],"env":{"K":"v"},
            "grants":{"limits":{"memoryBytes":1,"cpuMillicores":2,"fuel":3,"timeoutMs":4,
            "logRateBytesPerSecond":5,"logTotalBytes":9,"storageBytes":6,"inodes":7,"openFiles":8,
            "connections":10,"egressBytes":11,"egressBytesPerSecond":12},"clock":{"resolutionNs":6}},
            "mounts":[{"path":"/work","source":{"emptyDir":{"sizeLimitBytes":7,"archive":"in"}}},
            {"path":"/tmp","source":{"emptyDir":{}}},
            {"path":"/etc","readOnly":true,"source":{"files":{"sha256":"cd",
            "files":{"a.conf":{"mode":288,"data":"aGVyb24="}}}}},
            {"path":"/echo","readOnly":true,"source":{"files":{"sha256":"cd"}}}],
            "keepFiles":true}"#,
    );
    let usage = r#"{"cpuNs":1,"throttledNs":2,"fuel":3,"memoryBytes":4,"memoryPeakBytes":5,
        "logBytes":6,"logDroppedBytes":7,"denials":{"sockets":8},"startLatencyNs":9,
        "storageBytes":10,"storagePeakBytes":11,"inodes":12,
        "filesystem":{"ok":13,"quota":14,"host":15,"other":16}}"#;
    holds::<Stats>(&format!(
        r#"{{"vms":{{"u":{usage}}},"residentBytes":1,"heapBytes":5,"cpuNs":2,"threads":3,"hostPanics":4}}"#
    ));
    holds::<VmList>(&format!(
        r#"{{"version":1,"vms":[{{"uid":"u","state":"Ended","version":1,"startedUnixMs":2,
            "storagePressure":true,"spec":{{"name":"n","epoch":1,"attempt":0,"module":"ab","kind":"core","args":[],"env":{{}},
            "grants":{{"limits":{{"memoryBytes":1,"cpuMillicores":2,"logRateBytesPerSecond":3,"logTotalBytes":7,"storageBytes":4,"inodes":5,"openFiles":6,"connections":8,"egressBytes":9,"egressBytesPerSecond":10}}}}}},
            "end":{{"reason":"OutOfFuel","exitCode":3,"message":"m","finishedUnixMs":4,"usage":{usage}}}}}]}}"#
    ));
    holds::<Line>(
        r#"{"time":"t","namespace":"n","vm":"v","uid":"u","stream":"stderr","text":"x","partial":true}"#,
    );
    holds::<Problem>(r#"{"reason":"MissingImports","message":"m"}"#);
    holds::<Problem>(r#"{"reason":"InvalidMounts","message":"m"}"#);
    holds::<Problem>(r#"{"reason":"NoSpace","message":"m"}"#);
}

#[test]
fn what_a_cell_of_the_version_before_says_is_still_understood() {
    let usage = r#"{"cpuNs":1,"throttledNs":2,"fuel":3,"memoryBytes":4,"memoryPeakBytes":5,
        "logBytes":6,"logDroppedBytes":7,"denials":{},"startLatencyNs":9}"#;
    let usage: agentvm_cell_api::cell::Usage = serde_json::from_str(usage).unwrap();
    assert_eq!(usage.storage_bytes, 0);
    let limits = r#"{"memoryBytes":1,"cpuMillicores":2,"logRateBytesPerSecond":3}"#;
    let limits: agentvm_policy::Limits = serde_json::from_str(limits).unwrap();
    assert_eq!(limits.log_total_bytes, 1 << 30);
    assert_eq!((limits.connections, limits.egress_bytes), (0, 0));
}

#[test]
fn a_field_that_nobody_knows_is_refused_where_it_would_be_a_limit() {
    let unknown = r#"{"name":"n","epoch":1,"attempt":0,"module":"ab","kind":"core","args":[],"env":{},
        "grants":{"limits":{"memoryBytes":1,"cpuMillicores":2,"logRateBytesPerSecond":3,"diskBytes":4}}}"#;
    let refused = serde_json::from_str::<VmSpec>(unknown).unwrap_err();
    assert!(refused.to_string().contains("diskBytes"), "{refused}");
}
