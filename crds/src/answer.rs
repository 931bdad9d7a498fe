//! What an answer of the API server means: one sentence that says what to do about it.

use kube::core::Status;
use kube::runtime::watcher;

/// How roles that are gone come back.
const ROLES: &str = "the roles that come with the chart are missing or were changed: \
    `helm upgrade` brings them back, without Helm `kubectl apply --server-side -f deploy`";
/// How kinds that are gone come back.
const KINDS: &str = "the API server does not serve this kind: its CRD is missing or of another version, \
    and `agentvm cluster apply-crds` or `helm upgrade` brings it";
/// How older kinds are brought to date.
const OLDER: &str = "the cluster's CRD is older than this program, \
    and `agentvm cluster apply-crds` or `helm upgrade` brings it to date";

/// The API server's own words, and what to do where that is known.
pub fn sentence(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        of_status(status)
    } else {
        with_causes(error)
    }
}

/// The same of what broke a watch.
pub fn watch_sentence(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => sentence(error),
        watcher::Error::WatchError(status) => of_status(status),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// An error and those of its causes that it does not tell itself.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !said.contains(&words) {
            said = format!("{said}: {words}");
        }
        next = cause.source();
    }
    said
}

fn of_status(status: &Status) -> String {
    let (message, code) = (status.message.trim(), status.code);
    match remedy(message, code) {
        Some(remedy) => format!("{message} (HTTP {code}): {remedy}"),
        None => format!("{message} (HTTP {code})"),
    }
}

fn remedy(message: &str, code: u16) -> Option<&'static str> {
    let says = |part: &str| message.contains(part);
    match code {
        // Admission refuses with the same code, and knows its own reasons.
        403 if says("is forbidden: User") && says(" cannot ") => Some(ROLES),
        404 if says("page not found") || says("could not find the requested resource") => {
            Some(KINDS)
        }
        _ if says("field not declared in schema") => Some(OLDER),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: u16, message: &str) -> String {
        let status = Status {
            code,
            message: message.to_owned(),
            ..Status::default()
        };
        sentence(&kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn a_missing_role_is_named_with_what_brings_it_back() {
        let message = "leases.coordination.k8s.io \"heron\" is forbidden: User \"teal\" cannot get \
            resource \"leases\" in API group \"coordination.k8s.io\" in the namespace \"steep\"";
        let said = said(403, message);
        assert!(said.starts_with(message), "{said}");
        assert!(
            said.contains("(HTTP 403)") && said.contains("helm upgrade"),
            "{said}"
        );
    }

    #[test]
    fn what_admission_refuses_is_no_missing_role() {
        let message = "agentvms \"heron\" is forbidden: exceeded quota: four";
        assert_eq!(said(403, message), format!("{message} (HTTP 403)"));
    }

    #[test]
    fn a_server_that_is_not_reached_is_told_with_the_cause() {
        let refused = std::io::Error::other("connection refused");
        let error = kube::Error::Service(Box::new(refused));
        assert_eq!(sentence(&error), "ServiceError: connection refused");
    }

    #[test]
    fn a_kind_that_is_not_served_is_told_apart_from_an_object_that_is_not_there() {
        assert!(said(404, "404 page not found\n").contains("apply-crds"));
        let missing = "agentvms.agentvm.dev \"heron\" not found";
        assert_eq!(said(404, missing), format!("{missing} (HTTP 404)"));
    }

    #[test]
    fn a_field_that_the_cluster_does_not_know_means_older_crds() {
        let message =
            "failed to create typed patch object: .status.quill: field not declared in schema";
        assert!(said(500, message).contains("older than this program"));
    }
}
