//! Reads what `fd_readdir` wrote.

/// One entry that a guest was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::files) struct Listed {
    pub(in crate::files) name: String,
    pub(in crate::files) next: u64,
    pub(in crate::files) inode: u64,
    pub(in crate::files) kind: u8,
    pub(in crate::files) padding: [u8; 3],
}

/// What `fd_readdir` wrote, whole entries only.
pub(in crate::files) fn listed(mut bytes: &[u8]) -> Vec<Listed> {
    let mut entries = Vec::new();
    while let Some((entry, rest)) = first(bytes) {
        entries.push(entry);
        bytes = rest;
    }
    entries
}

fn first(bytes: &[u8]) -> Option<(Listed, &[u8])> {
    let (next, rest) = bytes.split_first_chunk()?;
    let (inode, rest) = rest.split_first_chunk()?;
    let (len, rest) = rest.split_first_chunk()?;
    let (&[kind, ref padding @ ..], rest) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).unwrap();
    let (name, rest) = rest.split_at_checked(len)?;
    let entry = Listed {
        name: String::from_utf8(name.to_vec()).unwrap(),
        next: u64::from_le_bytes(*next),
        inode: u64::from_le_bytes(*inode),
        kind,
        padding: *padding,
    };
    Some((entry, rest))
}

/// Their names, sorted, without `.` and `..`.
pub(in crate::files) fn names(bytes: &[u8]) -> Vec<String> {
    let mut names: Vec<_> = listed(bytes)
        .into_iter()
        .map(|entry| entry.name)
        .filter(|name| name != "." && name != "..")
        .collect();
    names.sort();
    names
}
