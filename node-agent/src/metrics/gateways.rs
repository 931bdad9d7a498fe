//! Processes of the gateway, from scrape to scrape.

use agentvm_cell_api::gateway::{Info, Vms};

/// How many times another process took the gateway's place, and what those before had counted.
#[derive(Debug, Default)]
pub(super) struct Gateways {
    instance: Option<String>,
    restarts: u64,
    past_panics: u64,
    panics: u64,
}

impl Gateways {
    /// Takes in what one scrape has found.
    pub(super) fn observe(&mut self, gateway: Option<&(Info, Vms)>) {
        let Some((info, _)) = gateway else {
            return;
        };
        if self.instance.as_ref() != Some(&info.instance) {
            if self.instance.is_some() {
                self.restarts = self.restarts.saturating_add(1);
            }
            self.instance = Some(info.instance.clone());
            self.past_panics = self.past_panics.saturating_add(self.panics);
        }
        self.panics = info.host_panics;
    }

    /// Processes after the first that was seen.
    pub(super) const fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Panics, of processes that have ended as well.
    pub(super) const fn panics(&self) -> u64 {
        self.past_panics.saturating_add(self.panics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(instance: &str, host_panics: u64) -> (Info, Vms) {
        let info = Info {
            version: String::new(),
            instance: instance.to_owned(),
            pid: 1,
            jail_message: String::new(),
            channels: 0,
            host_panics,
            resident_bytes: 0,
            cpu_ns: 0,
            access_log_dropped: 0,
        };
        (info, Vms::default())
    }

    #[test]
    fn another_process_is_a_restart_and_forgets_no_panic() {
        let mut gateways = Gateways::default();
        let mut see = |gateway: Option<(Info, Vms)>| {
            gateways.observe(gateway.as_ref());
            (gateways.restarts(), gateways.panics())
        };
        assert_eq!(see(None), (0, 0));
        assert_eq!(see(Some(gateway("a", 1))), (0, 1));
        assert_eq!(see(Some(gateway("a", 2))), (0, 2));
        assert_eq!(see(None), (0, 2));
        assert_eq!(see(Some(gateway("b", 1))), (1, 3));
        assert_eq!(see(Some(gateway("b", 1))), (1, 3));
    }
}
