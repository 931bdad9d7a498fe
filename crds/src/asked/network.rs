//! The requests that a VM asks for, decided: every rule read, templates filled in.

use std::collections::BTreeSet;

use agentvm_policy::egress::{Cidr, Exception, Rule, RuleText};
use agentvm_policy::{BadAsk, EgressAsk};

use crate::agentvm::AgentVM;
use crate::field::FieldError;
use crate::network::{EgressRule, InjectedHeader, PolicyEgressRule, PolicyNetwork, SecretKey};

/// What stands for the key in a template, and the template where none is named.
pub const HOLE: &str = "{}";

/// Where a VM's rules stand.
const EGRESS: &str = "spec.capabilities.network.egress";

/// One entry of `spec.capabilities.network.egress`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedEgress {
    /// What it allows; it can be read.
    pub rule: RuleText,
    /// The headers that it adds.
    pub inject: Vec<AskedInject>,
}

/// One header that a rule adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedInject {
    /// Its name as written.
    pub header: String,
    /// Its value, with [`HOLE`] once, where the key goes.
    pub template: String,
    /// The key, in a Secret of the VM's namespace.
    pub secret: SecretKey,
}

impl AgentVM {
    /// What it asks of hosts outside, in the order of the manifest: what the gateway is told, with
    /// the keys in their places, where `agentvm_policy::effective` grants it.
    ///
    /// # Errors
    ///
    /// Where one rule can't be read: nothing of it is granted then.
    pub fn egress(&self) -> Result<Vec<AskedEgress>, FieldError> {
        let rules = self.egress_rules().iter().enumerate();
        rules.map(|(index, rule)| asked(index, rule)).collect()
    }

    /// The keys that its rules inject: what a node agent reads for it.
    pub fn injected_secrets(&self) -> BTreeSet<&SecretKey> {
        let headers = self.egress_rules().iter().flat_map(|rule| &rule.inject);
        headers.map(|header| &header.secret_key_ref).collect()
    }

    fn egress_rules(&self) -> &[EgressRule] {
        let capabilities = self.spec.capabilities.as_ref();
        let network = capabilities.and_then(|capabilities| capabilities.network.as_ref());
        network.map_or(&[], |network| &network.egress)
    }
}

impl From<&AskedEgress> for EgressAsk {
    fn from(asked: &AskedEgress) -> Self {
        Self {
            rule: asked.rule.clone(),
            injects: !asked.inject.is_empty(),
        }
    }
}

/// The rules and networks that a policy allows.
pub(crate) fn allowed(network: &PolicyNetwork) -> Result<(Vec<RuleText>, Vec<Cidr>), FieldError> {
    let PolicyNetwork { egress, networks } = network;
    let rule = |(index, rule): (usize, &PolicyEgressRule)| {
        let text = policy_text(rule);
        match Rule::parse(&text) {
            Ok(_) => Ok(text),
            Err(bad) => Err(at(index, &BadAsk::of(&bad))),
        }
    };
    let network = |(index, text): (usize, &String)| {
        let field = || format!("spec.capabilities.network.networks[{index}]");
        let network = text
            .parse::<Cidr>()
            .map_err(|bad| FieldError::new(field(), bad.to_string()))?;
        Exception::new(network)
            .map(|_fits| network)
            .map_err(|bad| FieldError::new(field(), bad.to_string()))
    };
    Ok((
        egress
            .iter()
            .enumerate()
            .map(rule)
            .collect::<Result<_, _>>()?,
        networks
            .iter()
            .enumerate()
            .map(network)
            .collect::<Result<_, _>>()?,
    ))
}

fn asked(index: usize, rule: &EgressRule) -> Result<AskedEgress, FieldError> {
    let asked = AskedEgress {
        rule: text(rule),
        inject: rule.inject.iter().map(inject).collect(),
    };
    EgressAsk::from(&asked)
        .read()
        .map_err(|bad| at(index, &bad))?;
    let mut names = BTreeSet::new();
    for (
        position,
        InjectedHeader {
            header, template, ..
        },
    ) in rule.inject.iter().enumerate()
    {
        let field = |name| format!("{EGRESS}[{index}].inject[{position}].{name}");
        if !names.insert(header.to_ascii_lowercase()) {
            let message = format!(
                "{header:?} stands in the list already: the case of a header's name means nothing"
            );
            return Err(FieldError::new(field("header"), message));
        }
        let template = template.as_deref().unwrap_or(HOLE);
        if template.matches(HOLE).count() != 1 {
            let message = "must have {} once, where the key goes, such as Bearer {}";
            return Err(FieldError::new(field("template"), message));
        }
    }
    Ok(asked)
}

fn at(index: usize, BadAsk { field, message }: &BadAsk) -> FieldError {
    FieldError::new(format!("{EGRESS}[{index}].{field}"), message)
}

fn inject(header: &InjectedHeader) -> AskedInject {
    let InjectedHeader {
        header,
        template,
        secret_key_ref,
    } = header;
    AskedInject {
        header: header.clone(),
        template: template.clone().unwrap_or_else(|| HOLE.to_owned()),
        secret: secret_key_ref.clone(),
    }
}

fn text(rule: &EgressRule) -> RuleText {
    let EgressRule {
        host,
        ports,
        scheme,
        methods,
        paths,
        inject: _,
    } = rule;
    RuleText {
        host: host.clone(),
        ports: ports.clone(),
        scheme: scheme.clone(),
        methods: methods.clone(),
        paths: paths.clone(),
    }
}

fn policy_text(rule: &PolicyEgressRule) -> RuleText {
    let PolicyEgressRule {
        host,
        ports,
        scheme,
        methods,
        paths,
    } = rule;
    RuleText {
        host: host.clone(),
        ports: ports.clone(),
        scheme: scheme.clone(),
        methods: methods.clone(),
        paths: paths.clone(),
    }
}
