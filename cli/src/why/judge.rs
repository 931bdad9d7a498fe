//! One request in, the verdict out: first what the VM is granted, then its rules, then the address.

use std::net::SocketAddr;

use agentvm_crds::{AgentVM, AskedEgress, AskedInject, FieldError, GROUP};
use agentvm_policy::egress::{
    AddressRules, BadRequest, Code, Denial, Exception, Host, Request, Rule, RuleText, Rules,
};
use agentvm_policy::{Mode, PolicyRules, Verdict, effective};

use super::report::{Address, Answer, Header, Ruled, Stand};
use crate::manifest::Document;
use crate::validate::{Cluster, Problem};

/// Where a VM's rules stand, and a policy's.
const FIELD: &str = "spec.capabilities.network.egress";

/// What is asked on the command line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The VM, where there are several.
    pub(super) vm: Option<&'a str>,
    /// Of objects that name none.
    pub(super) namespace: &'a str,
    pub(super) method: &'a str,
    pub(super) url: &'a str,
}

/// Why it can't be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswerable {
    /// No VM in the files, or none of that name.
    #[error("the files hold no AgentVM{}", .0.as_ref().map(|name| format!(" named {name:?}")).unwrap_or_default())]
    NoVm(Option<String>),
    /// More than one.
    #[error("the files hold the AgentVMs {}: choose one with --vm, and its namespace with -n", .0.join(", "))]
    SeveralVms(Vec<String>),
    /// What a cluster would refuse whatever its policies say.
    #[error("AgentVM {vm}: {field}: {message}")]
    BadVm {
        vm: String,
        field: String,
        message: String,
    },
    /// A policy of the files that nobody can read.
    #[error("{field}: {message}")]
    BadPolicy { field: String, message: String },
    /// Not a request that has a canonical form: a guest is told so, too.
    #[error("no such request is ever sent, a program is told {code}", code = Code::RequestInvalid.as_str())]
    BadRequest(#[from] BadRequest),
}

/// Says what becomes of a request.
pub(super) fn judge(documents: &[Document], asked: &Asked<'_>) -> Result<Answer, Unanswerable> {
    let request = Request::of_url(asked.method, asked.url)?;
    let cluster = Cluster::of(documents, asked.namespace);
    let document = one_vm(documents, asked)?;
    let namespace = document.namespace().unwrap_or(asked.namespace);
    let name = format!("{namespace}/{}", document.name());
    let vm = Cluster::vm(document).map_err(|problem| bad_vm(&name, problem))?;
    let rules = cluster
        .rules(namespace)
        .map_err(|Problem { field, message }| Unanswerable::BadPolicy { field, message })?;
    let asked_rules = vm
        .egress()
        .map_err(|error| bad_vm(&name, Problem::from(error)))?;
    let verdict = effective(&asked_for(&name, &vm)?, &rules);
    let mut answer = Answer {
        policies: rules.iter().map(|policy| stand(policy, &request)).collect(),
        notes: cluster.notes(namespace),
        ..Answer::of(name, &request)
    };
    decide(&mut answer, &verdict, &asked_rules, &request);
    Ok(answer)
}

fn asked_for(name: &str, vm: &AgentVM) -> Result<agentvm_policy::Request, Unanswerable> {
    let request = vm.request();
    request.map_err(|error: FieldError| bad_vm(name, Problem::from(error)))
}

fn bad_vm(vm: &str, Problem { field, message }: Problem) -> Unanswerable {
    Unanswerable::BadVm {
        vm: vm.to_owned(),
        field,
        message,
    }
}

fn one_vm<'a>(documents: &'a [Document], asked: &Asked<'_>) -> Result<&'a Document, Unanswerable> {
    let is_ours = |document: &&Document| {
        document.kind() == "AgentVM"
            && document
                .api_version()
                .split_once('/')
                .is_some_and(|(group, _)| group == GROUP)
    };
    let vms = documents.iter().filter(is_ours);
    let named: Vec<&Document> = vms
        .filter(|vm| asked.vm.is_none_or(|name| vm.name() == name))
        .collect();
    match named.as_slice() {
        [] => Err(Unanswerable::NoVm(asked.vm.map(str::to_owned))),
        [one] => Ok(one),
        several => {
            // Of one name in several namespaces, the one that is asked for.
            let here: Vec<&&Document> = several
                .iter()
                .filter(|vm| {
                    asked.vm.is_some()
                        && vm.namespace().unwrap_or(asked.namespace) == asked.namespace
                })
                .collect();
            if let [one] = here.as_slice() {
                return Ok(one);
            }
            let name = |vm: &&Document| {
                format!(
                    "{}/{}",
                    vm.namespace().unwrap_or(asked.namespace),
                    vm.name()
                )
            };
            Err(Unanswerable::SeveralVms(several.iter().map(name).collect()))
        }
    }
}

/// Fills in what becomes of `request`.
fn decide(answer: &mut Answer, verdict: &Verdict, asked: &[AskedEgress], request: &Request) {
    let texts: Vec<&RuleText> = asked.iter().map(|asked| &asked.rule).collect();
    let rules = read(texts);
    let address = match &request.host {
        Host::Name(_) => Address::Later,
        Host::Address(address) => {
            let address = SocketAddr::new(*address, request.port);
            Address::of(address, addresses(verdict).admit(address))
        }
    };
    let found = rules.permit(request.clone());
    if let Ok(permit) = &found {
        answer.rule = rule(&rules, permit.rule());
        let inject = asked.get(permit.rule()).map(|asked| &asked.inject);
        answer.inject = inject.into_iter().flatten().map(header).collect();
    }
    answer.refused = verdict
        .refused
        .iter()
        .map(|refusal| refusal.message.clone())
        .collect();
    answer.address = address;
    let denied = match (&found, &answer.address) {
        _ if !verdict.refused.is_empty() => Some((
            "the VM is refused as a whole: it does not run".to_owned(),
            None,
        )),
        (Err(denial), _) => {
            answer.closest = closest(&rules, request, *denial);
            Some((denial.to_string(), Some(Code::Denied)))
        }
        (Ok(_), Address::Closed { .. }) => Some((
            "a rule allows it, and no rule opens its address".to_owned(),
            Some(Code::AddressProhibited),
        )),
        (Ok(_), Address::Later | Address::Open { .. }) => None,
    };
    answer.allowed = denied.is_none();
    if let Some((reason, code)) = denied {
        answer.reason = Some(reason);
        answer.guest_sees = code.map(Code::as_str);
    }
}

/// The rules of texts that are known to parse; one that does not allows nothing.
fn read<'a>(texts: impl IntoIterator<Item = &'a RuleText>) -> Rules {
    let rules = texts.into_iter().filter_map(|text| Rule::parse(text).ok());
    Rules::new(rules.collect())
}

fn rule(rules: &Rules, index: usize) -> Option<Ruled> {
    Some(Ruled {
        field: format!("{FIELD}[{index}]"),
        text: rules.all().get(index)?.to_string(),
    })
}

/// The rules that went as far as any.
fn closest(rules: &Rules, request: &Request, denial: Denial) -> Vec<Ruled> {
    if matches!(denial, Denial::NoRules | Denial::Host) {
        return Vec::new();
    }
    let alone = |one: &Rule| Rules::new(vec![one.clone()]).permit(request.clone());
    let indices = rules.all().iter().enumerate();
    indices
        .filter(|(_, one)| alone(one) == Err(denial))
        .filter_map(|(index, _)| rule(rules, index))
        .collect()
}

fn header(inject: &AskedInject) -> Header {
    let AskedInject {
        header,
        template,
        secret,
    } = inject;
    Header {
        name: header.clone(),
        template: template.clone(),
        secret: secret.name.clone(),
        key: secret.key.clone(),
    }
}

/// What a policy by itself says of a request.
fn stand(policy: &PolicyRules, request: &Request) -> Stand {
    let rules = read(policy.egress.iter().flatten());
    let found = rules.permit(request.clone());
    Stand {
        name: policy.name.clone(),
        mode: match policy.mode {
            Mode::Enforce => "Enforce",
            Mode::Audit => "Audit",
        },
        rule: found
            .as_ref()
            .ok()
            .and_then(|permit| rule(&rules, permit.rule())),
        reason: match (&policy.egress, found) {
            (None, _) => Some("its spec.capabilities.network is not set".to_owned()),
            (Some(rules), Err(_)) if rules.is_empty() => Some(format!("its {FIELD} is empty")),
            (Some(_), Err(denial)) => Some(denial.to_string()),
            (Some(_), Ok(_)) => None,
        },
    }
}

fn addresses(verdict: &Verdict) -> AddressRules {
    let networks = verdict.egress.networks.iter();
    AddressRules {
        exceptions: networks
            .filter_map(|network| Exception::new(*network).ok())
            .collect(),
        ..AddressRules::default()
    }
}
