//! What a guest can't see: the host.

use super::script::*;

#[tokio::test]
async fn a10_nothing_of_the_host_is_there_by_any_call() {
    let mut s = Script::new();
    for path in [
        "proc/self/root/..",
        "proc/1/environ",
        "proc/self/maps",
        "dev/fd/3",
        "dev/null",
        "sys/kernel",
        "var/run/secrets/kubernetes.io/serviceaccount/token",
        "etc/shadow",
        "etc/passwd",
        "tmp",
        "work/../proc/self",
    ] {
        s.open_fails(NOENT, path, 0, READ);
        s.open_fails(NOENT, path, DIRECTORY, READ);
        call!(s, NOENT, path_filestat_get(ROOT, 1, path, BUFFER));
        call!(s, NOENT, path_readlink(ROOT, path, BUFFER, 64, OUT));
        if path.contains('/') {
            call!(s, NOENT, path_rename(ROOT, path, ROOT, "work/x"));
        }
        call!(s, NOENT, path_link(ROOT, 1, path, ROOT, "work/x"));
        let absolute = format!("/{path}");
        s.open_fails(PERM, &absolute, 0, READ);
        call!(s, PERM, path_filestat_get(ROOT, 1, &absolute, BUFFER));
    }
    s.tell_names(ROOT);
    let ran = s.run(&work()).await;
    assert_eq!(names(&ran.bytes), ["work"]);
}

#[tokio::test]
async fn m02_m04_stat_tells_the_same_in_any_vm_and_nothing_of_the_host() {
    let stats = || async {
        let mut s = Script::new();
        s.file(4, "work/f", "x");
        for (index, path) in (0..).zip([".", "work", "work/f", "config/key"]) {
            call!(s, OK, path_filestat_get(ROOT, 1, path, BUFFER + index * 64));
        }
        s.tell(BUFFER, "(i32.const 256)");
        let filesystem = mounted(&[empty("/work"), files("/config", &[("key", "v")])]);
        s.run(&filesystem).await.bytes
    };
    let (one, two) = (stats().await, stats().await);
    // All but the three times, which are the VM's own clock's.
    let timeless = |stats: &[u8]| -> Vec<Vec<u8>> {
        let stats = stats.chunks(64);
        stats.map(|stat| stat[..40].to_vec()).collect()
    };
    assert_eq!(timeless(&one), timeless(&two));
    for stat in one.chunks(64) {
        let long = |at: usize| u64::from_le_bytes(stat[at..at + 8].try_into().unwrap());
        let (device, inode) = (long(0), long(8));
        assert!(device < 16, "device {device}");
        assert!(inode < 1_000, "inode {inode}");
        assert_eq!(stat[17..24], [0; 7]);
        assert!(
            [40, 48, 56]
                .iter()
                .all(|at| long(*at) % 1_000_000 == 0 || long(*at) == 1_000)
        );
    }
}
