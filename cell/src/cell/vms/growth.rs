//! Whether VMs' files may grow, and the marks of those whose files can't or whose limits press.

use std::time::Duration;

use agentvm_runtime::vfs::Growth;

use super::{Entry, Vms};

impl Vms {
    /// Has the files of every VM grow from now on, or not.
    pub(in crate::cell) fn set_growth(&self, growth: Growth) {
        let mut table = self.lock();
        let now = self.began.elapsed();
        for entry in table.entries.values_mut() {
            if let Some(filesystem) = &entry.filesystem {
                filesystem.set_growth(growth);
                // What was refused until here was refused by the warden's word.
                let count = filesystem.usage().refused_by_host;
                entry.refusals.recent(count, Growth::Refused, now);
            }
        }
        table.growth = growth;
        drop(table);
        self.mark_pressed();
    }

    /// Marks the VMs whose files can't grow, and no other.
    pub(in crate::cell) fn mark_pressed(&self) {
        self.mark_where(Entry::mark);
    }

    /// Looks at what every VM has used of its limits, and marks those that its limits press.
    pub(in crate::cell) fn look_at_limits(&self) {
        self.mark_where(|entry, _growth, now| entry.look(now));
    }

    /// Counts a change of each VM for which `moved` is true.
    fn mark_where(&self, moved: impl Fn(&mut Entry, Growth, Duration) -> bool) {
        let mut table = self.lock();
        let (growth, now) = (table.growth, self.began.elapsed());
        let moved: Vec<String> = table
            .entries
            .iter_mut()
            .filter_map(|(uid, entry)| moved(entry, growth, now).then(|| uid.clone()))
            .collect();
        if moved.is_empty() {
            return;
        }
        for uid in moved {
            table.change(&uid, |_marked| ());
        }
        self.publish(&table);
    }
}
