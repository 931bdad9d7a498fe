//! The families of requests to the outside, and of the gateway.

use agentvm_cell_api::gateway::Usage;
use agentvm_policy::egress::Code;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Bytes, Count, Counted, Gathered, Seconds, Vm, gauge, seconds};
use crate::egress::sum;
use crate::ledger::Row;

/// A request that an upstream answered.
const ANSWERED: &str = "answered";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VmCode {
    namespace: String,
    vm: String,
    code: &'static str,
}

/// The families of requests to the outside.
#[derive(Debug, Default)]
pub(super) struct Network {
    requests: Family<VmCode, Count>,
    in_flight: Family<Vm, Gauge>,
    sent: Family<Vm, Count>,
    received: Family<Vm, Count>,
    throttled: Family<Vm, Seconds>,
}

impl Network {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "agentvm_vm_network_requests",
            "Requests by what became of them",
            self.requests.clone(),
        );
        registry.register(
            "agentvm_vm_network_requests_in_flight",
            "Requests on their way now",
            self.in_flight.clone(),
        );
        registry.register(
            "agentvm_vm_network_sent_bytes",
            "Bytes of bodies that it sent",
            self.sent.clone(),
        );
        registry.register(
            "agentvm_vm_network_received_bytes",
            "Bytes of bodies that it got",
            self.received.clone(),
        );
        registry.register(
            "agentvm_vm_network_throttled_seconds",
            "Time for which its bodies waited for its rate",
            self.throttled.clone(),
        );
    }

    /// `now` is what the gateway still counts. A VM that never had a network has no series.
    pub(super) fn fill(&self, row: &Row, vm: &Vm, now: Option<&Usage>) {
        if !row.has_network && now.is_none() && row.past_network == Usage::default() {
            return;
        }
        let none = Usage::default();
        let total = sum(&row.past_network, now.unwrap_or(&none));
        let labels = |code| VmCode {
            namespace: vm.namespace.clone(),
            vm: vm.vm.clone(),
            code,
        };
        self.requests
            .get_or_create(&labels(ANSWERED))
            .inc_by(total.answered);
        for (name, count) in &total.refused {
            // A closed set, whatever anyone sends.
            let code = Code::parse(name).unwrap_or(Code::Internal);
            self.requests
                .get_or_create(&labels(code.as_str()))
                .inc_by(*count);
        }
        self.in_flight.get_or_create(vm).set(gauge(total.in_flight));
        self.sent.get_or_create(vm).inc_by(total.sent_bytes);
        self.received.get_or_create(vm).inc_by(total.received_bytes);
        self.throttled
            .get_or_create(vm)
            .inc_by(seconds(total.throttled_ns));
    }
}

/// The families of the gateway's process.
pub(super) fn register_gateway(registry: &mut Registry, gathered: &Gathered, counted: &Counted) {
    let (up, restarts) = (Gauge::<i64>::default(), Count::default());
    let (resident, cpu) = (Bytes::default(), Seconds::default());
    let (channels, dropped) = (Gauge::<i64>::default(), Count::default());
    if let Some((info, _)) = &gathered.gateway {
        up.set(1);
        resident.set(gauge(info.resident_bytes));
        cpu.inc_by(seconds(info.cpu_ns));
        channels.set(i64::from(info.channels));
        dropped.inc_by(info.access_log_dropped);
    }
    restarts.inc_by(counted.gateways.restarts());
    registry.register("agentvm_gateway_up", "Whether the gateway answers", up);
    registry.register(
        "agentvm_gateway_restarts",
        "Processes of the gateway after the first that the agent saw",
        restarts,
    );
    registry.register(
        "agentvm_gateway_resident_bytes",
        "Resident bytes of the gateway",
        resident,
    );
    registry.register(
        "agentvm_gateway_cpu_seconds",
        "CPU time of the gateway",
        cpu,
    );
    registry.register(
        "agentvm_gateway_channels",
        "Cells that are connected to the gateway",
        channels,
    );
    registry.register(
        "agentvm_gateway_access_log_dropped_lines",
        "Lines of the access log that found no room",
        dropped,
    );
}
