//! The registry's text, in the dialect that every Prometheus reads.
//!
//! The encoder writes the `OpenMetrics` dialect, where a counter's family is named without `_total`. The
//! plain text format names it with the suffix, else its help and type are lost.

use prometheus_client::registry::Registry;

/// Of the plain text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The registry's text.
pub(super) fn text(registry: &Registry) -> String {
    let mut open_metrics = String::new();
    // Writing to a String can't fail; a family that can't be encoded would be left out.
    let _encoded = prometheus_client::encoding::text::encode(&mut open_metrics, registry);
    let counters: Vec<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut out = String::with_capacity(open_metrics.len() + 64 * counters.len());
    for line in open_metrics.lines().filter(|line| *line != "# EOF") {
        out.push_str(&with_suffix(line, &counters));
        out.push('\n');
    }
    out
}

/// The line, with a counter's family named as its samples are.
fn with_suffix(line: &str, counters: &[&str]) -> String {
    for kind in ["# HELP ", "# TYPE "] {
        if let Some(rest) = line.strip_prefix(kind)
            && let Some((name, text)) = rest.split_once(' ')
            && counters.contains(&name)
        {
            return format!("{kind}{name}_total {text}");
        }
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;

    #[test]
    fn a_counters_help_and_type_carry_the_name_of_its_samples() {
        let mut registry = Registry::default();
        let counter: Counter = Counter::default();
        counter.inc_by(3);
        let gauge: Gauge = Gauge::default();
        registry.register("doors_opened", "Doors opened", counter);
        registry.register("doors_open", "Doors open now", gauge);
        assert_eq!(
            text(&registry),
            "# HELP doors_opened_total Doors opened.\n# TYPE doors_opened_total counter\ndoors_opened_total 3\n\
             # HELP doors_open Doors open now.\n# TYPE doors_open gauge\ndoors_open 0\n"
        );
    }
}
