//! The chart's life against a real API server: install, upgrade, roll back, uninstall. No Pod
//! runs here; what needs one is in the real-node tests.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use agentvm_tests::control_plane::ControlPlane;
use agentvm_tests::program::stdout_of;
use agentvm_tests::wait::{self, Look};
use agentvm_tests::{Result, built, chart, crd, go_module, scratch};
use anyhow::Context as _;
use serde_json::{Value, json};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const NAMESPACE: &str = "steep";

/// A control plane with a namespace that refuses what is not restricted.
struct Site {
    plane: ControlPlane,
    kubeconfig: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Site {
    fn start(name: &str) -> Result<Self> {
        // One control plane at a time is enough for two cores.
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let plane = ControlPlane::start(&scratch::dir(name)?)?;
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}});
        plane.api.create("/api/v1/namespaces", &namespace)?;
        let kubeconfig = plane.kubectl.kubeconfig().to_owned();
        Ok(Self {
            plane,
            kubeconfig,
            _turn: turn,
        })
    }

    fn helm(&self, args: &[&str]) -> Result<chart::Said> {
        let kubeconfig = self.kubeconfig.display().to_string();
        let home = scratch::dir("helm-home")?.display().to_string();
        let mut all = args.to_vec();
        all.extend(["--namespace", NAMESPACE]);
        chart::run(&all, &[("KUBECONFIG", &kubeconfig), ("HOME", &home)])
    }

    /// `install` or `upgrade` of the chart.
    fn release(&self, verb: &str, args: &[&str]) -> Result<chart::Said> {
        let folder = chart::folder().display().to_string();
        let mut all = vec![verb, chart::RELEASE, &folder];
        all.extend(args);
        self.helm(&all)
    }

    /// Installs the CRD of the Prometheus operator that the chart can make use of.
    fn know_pod_monitors(&self) -> Result<()> {
        let module = "github.com/prometheus-operator/prometheus-operator@v0.85.0";
        let folder = go_module::yaml_files(module, "example/prometheus-operator-crd")?;
        let crd = folder.join("monitoring.coreos.com_podmonitors.yaml");
        let crd = crd.to_str().context("the cache's path is UTF-8")?;
        self.plane
            .kubectl
            .run(&["apply", "--server-side", "-f", crd])?
            .done()?;
        crd::wait_until_established(&self.plane)
    }

    fn crd(&self, name: &str) -> Result<Value> {
        self.plane
            .api
            .get(&format!("{CRDS}/{name}"))?
            .with_context(|| format!("CRD {name}"))
    }

    /// Makes the cluster's `AgentVM` one of another version, without one of its fields.
    fn age_crd(&self, version: &str) -> Result<()> {
        let name = "agentvms.agentvm.dev";
        let mut crd = self.crd(name)?;
        let spec = crd
            .pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties")
            .and_then(Value::as_object_mut)
            .context("fields")?;
        spec.remove("ttlAfterFinished")
            .context("a field to remove")?;
        let change = json!({
            "metadata": {"annotations": {"agentvm.dev/version": version}},
            "spec": {"versions": crd.pointer("/spec/versions")},
        });
        self.plane
            .api
            .patch(&format!("{CRDS}/{name}"), &change)
            .map(|_| ())
    }

    fn has_field(&self) -> Result<bool> {
        let path =
            "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/ttlAfterFinished";
        Ok(self.crd("agentvms.agentvm.dev")?.pointer(path).is_some())
    }
}

#[test]
fn a_release_is_installed_upgraded_rolled_back_and_gone_without_losing_an_object() -> Result<()> {
    let site = Site::start("life")?;
    site.know_pod_monitors()?;
    let policy = [
        "--set",
        "defaultPolicy.namespaceSelector.matchLabels.team=teal",
        "--set",
        "defaultPolicy.limits.max.memory=96Mi",
        "--set",
        "podMonitor.enabled=true",
    ];
    let notes = site.release("install", &policy)?.done()?;
    let (_, notes) = notes.split_once("NOTES:").context("notes")?;
    let firsts: Vec<&str> = notes
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .collect();
    assert_eq!(firsts, ["kubectl", "helm", "kubectl"], "{notes}");

    let policies = "/apis/agentvm.dev/v1alpha1/agentpolicies/agentvm-default";
    let max = |wanted: &str| -> Result<()> {
        let policy = site
            .plane
            .api
            .get(policies)?
            .context("the default policy")?;
        assert_eq!(
            policy.pointer("/spec/limits/max/memory"),
            Some(&json!(wanted))
        );
        Ok(())
    };
    max("96Mi")?;
    let vms = format!("/apis/agentvm.dev/v1alpha1/namespaces/{NAMESPACE}/agentvms");
    let vm = json!({"apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM", "metadata": {"name": "heron"},
        "spec": {"image": "localhost:5000/heron:v1", "suspend": true}});
    let uid = site
        .plane
        .api
        .create(&vms, &vm)?
        .pointer("/metadata/uid")
        .cloned();

    let more = [
        "--set",
        "defaultPolicy.namespaceSelector.matchLabels.team=teal",
        "--set",
        "defaultPolicy.limits.max.memory=48Mi",
        "--set",
        "operator.replicas=1",
    ];
    site.release("upgrade", &more)?.done()?;
    max("48Mi")?;
    site.age_crd("9.0.0")?;
    site.helm(&["rollback", chart::RELEASE, "1"])?.done()?;
    let version = site.crd("agentvms.agentvm.dev")?;
    let version = version.pointer("/metadata/annotations/agentvm.dev~1version");
    assert_eq!(version, Some(&json!("9.0.0")), "a rollback leaves the CRDs");
    max("96Mi")?;
    site.release("upgrade", &["--set", "operator.replicas=1"])?
        .done()?;
    max("96Mi").context("a ceiling does not fall away because a value did")?;

    site.helm(&["uninstall", chart::RELEASE])?.done()?;
    let kept = site
        .plane
        .api
        .get(&format!("{vms}/heron"))?
        .context("the AgentVM stays")?;
    assert_eq!(kept.pointer("/metadata/uid").cloned(), uid);
    assert_eq!(kept.pointer("/spec/suspend"), Some(&json!(true)));
    assert_eq!(
        left(&site)?,
        ["agentpolicy/agentvm-default"],
        "docs/install.md says what stays"
    );

    site.release("install", &policy)?
        .done()
        .context("installing again over what stayed")?;
    Ok(())
}

/// Cluster-scoped objects and those of the namespace with our label, CRDs excepted.
fn left(site: &Site) -> Result<Vec<String>> {
    let kinds = "agentpolicies,clusterroles,clusterrolebindings,validatingadmissionpolicies,\
        validatingadmissionpolicybindings,priorityclasses,serviceaccounts,roles,rolebindings,deployments,daemonsets,\
        networkpolicies,poddisruptionbudgets,configmaps,jobs";
    let found = site.plane.kubectl.run(&[
        "-n",
        NAMESPACE,
        "get",
        kinds,
        "-l",
        "app.kubernetes.io/name=agentvm",
        "-o",
        "json",
    ])?;
    let found: Value = serde_json::from_str(&found.done()?)?;
    let text = |object: &Value, path: &str| {
        object
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    let items = found
        .get("items")
        .and_then(Value::as_array)
        .context("a list")?;
    let deleting = |object: &&Value| object.pointer("/metadata/deletionTimestamp").is_none();
    Ok(items
        .iter()
        .filter(deleting)
        .map(|one| {
            format!(
                "{}/{}",
                text(one, "/kind").to_lowercase(),
                text(one, "/metadata/name")
            )
        })
        .collect())
}

/// A kubeconfig for the account of the job that applies CRDs, with the chart's roles for it.
fn crds_account(site: &Site) -> Result<PathBuf> {
    let upgrade = ["--is-upgrade", "--show-only", "templates/crds-upgrade.yaml"];
    let mut objects = chart::objects(NAMESPACE, &upgrade)?;
    objects.retain(|object| object.get("kind").is_some_and(|kind| kind != "Job"));
    assert_eq!(objects.len(), 3, "an account, a role and a binding");
    for object in objects {
        site.plane.kubectl.apply(&object.to_string())?.done()?;
    }
    let token = ["-n", NAMESPACE, "create", "token", "agentvm-crds"];
    let token = site.plane.kubectl.run(&token)?.done()?;
    site.plane.kubeconfig_of_token("crds", token.trim())
}

#[test]
fn k26_a_namespace_opts_in_to_secrets_and_out_again_by_a_value() -> Result<()> {
    let site = Site::start("secrets")?;
    let teal = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "teal"}});
    site.plane.api.create("/api/v1/namespaces", &teal)?;
    let agent = format!("--as=system:serviceaccount:{NAMESPACE}:agentvm-node-agent");
    let may = |namespace: &str, verb: &str| -> Result<bool> {
        let asked = ["-n", namespace, "auth", "can-i", verb, "secrets", &agent];
        Ok(site.plane.kubectl.run(&asked)?.stdout.trim() == "yes")
    };
    let until = |wanted: bool| {
        wait::until("the roles to be followed", || {
            let found = may("teal", "get")?;
            Ok(wait::yes_if(found == wanted, || format!("{found}")))
        })
    };
    site.release("install", &[])?.done()?;
    assert!(!may("teal", "get")?);
    // As docs/install.md has it.
    let opted_in = [
        "--reuse-values",
        "--set",
        "secrets.namespaces={teal}",
        "--set",
        "defaultPolicy.namespaceSelector.matchLabels.agentvm-secrets=allowed",
        "--set-json",
        "defaultPolicy.capabilities.secretMounts={}",
    ];
    site.release("upgrade", &opted_in)?.done()?;
    until(true)?;
    let policy = "/apis/agentvm.dev/v1alpha1/agentpolicies/agentvm-default";
    let policy = site.plane.api.get(policy)?.context("the default policy")?;
    let allowed = policy.pointer("/spec/capabilities/secretMounts");
    assert_eq!(allowed, Some(&json!({})));
    assert!(!may("teal", "list")? && !may(NAMESPACE, "get")? && !may("default", "get")?);
    let opted_out = ["--reuse-values", "--set-json", "secrets.namespaces=[]"];
    site.release("upgrade", &opted_out)?.done()?;
    until(false)?;
    let gone = site.release("upgrade", &["--set", "secrets.namespaces={nowhere}"])?;
    let said = gone.refused()?;
    assert!(said.contains("\"nowhere\" not found"), "{said}");
    Ok(())
}

#[test]
fn an_upgrade_brings_older_crds_to_date_and_leaves_newer_ones() -> Result<()> {
    let site = Site::start("crds")?;
    site.release("install", &[])?.done()?;
    let account = crds_account(&site)?;
    let hooks = || -> Result<bool> {
        let shown = site.release("upgrade", &["--dry-run=server"])?.done()?;
        Ok(shown.contains("cluster, apply-crds"))
    };
    let apply = || -> Result<String> {
        let mut command = Command::new(built::binary("agentvm")?);
        stdout_of(
            command
                .args(["cluster", "apply-crds"])
                .env("KUBECONFIG", &account),
        )
    };
    assert!(!hooks()?, "CRDs of this version need no job");

    site.age_crd("0.0.9")?;
    assert!(hooks()?, "older CRDs need the job");
    assert!(!site.has_field()?);
    assert!(apply()?.contains("CRD agentvms.agentvm.dev is of 0.1.0 now"));
    assert!(site.has_field()?, "the job brings the field");

    site.age_crd("9.0.0")?;
    assert!(!hooks()?, "newer CRDs need no job");
    let said = apply()?;
    let stays = "CRD agentvms.agentvm.dev is of 9.0.0, newer than 0.1.0: it stays";
    assert!(said.contains(stays), "{said}");
    assert!(!site.has_field()?, "a newer CRD is not touched");

    let nodes = format!("{CRDS}/agentnodes.agentvm.dev");
    site.plane.api.delete(&nodes)?;
    wait::until("the CRD to be gone", || {
        Ok(wait::yes_if(site.plane.api.get(&nodes)?.is_none(), || {
            "it is there".to_owned()
        }))
    })?;
    apply()?;
    site.crd("agentnodes.agentvm.dev").map(|_| ())
}

#[test]
fn a_restricted_namespace_takes_every_pod_and_refuses_state_on_the_host() -> Result<()> {
    let site = Site::start("pss")?;
    site.release("install", &[])?.done()?;
    for account in ["agentvm-crds", "agentvm-test"] {
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}});
        site.plane.api.create(
            &format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts"),
            &account,
        )?;
    }
    let refusals = |args: &[&str]| -> Result<Vec<String>> {
        let mut all = vec!["--is-upgrade"];
        all.extend(args);
        let pods = pods(&chart::objects(NAMESPACE, &all)?);
        assert_eq!(pods.len(), 4);
        pods.iter()
            .map(|(owner, spec)| refusal(&site, owner, spec))
            .filter_map(Result::transpose)
            .collect()
    };
    assert_eq!(refusals(&[])?, [""; 0]);
    let refused = refusals(&["--set", "node.state.type=hostPath"])?;
    assert!(
        refused.len() == 1
            && refused
                .iter()
                .all(|one| one.starts_with("agentvm-node") && one.contains("hostPath")),
        "{refused:?}"
    );
    Ok(())
}

fn pods(objects: &[Value]) -> Vec<(String, Value)> {
    let pods = objects.iter().filter_map(|object| {
        let name = object.pointer("/metadata/name")?.as_str()?.to_owned();
        let is_pod = object.get("kind")? == "Pod";
        let spec = object.pointer(if is_pod {
            "/spec"
        } else {
            "/spec/template/spec"
        })?;
        Some((name, spec.clone()))
    });
    pods.collect()
}

/// What the API server says against such a Pod.
fn refusal(site: &Site, owner: &str, spec: &Value) -> Result<Option<String>> {
    let pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": spec});
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All");
    wait::until(&format!("an answer on {owner}"), || {
        Ok(match site.plane.api.create(&path, &pod) {
            Ok(_) => Look::Yes(None),
            Err(error) => {
                let said = format!("{error:#}");
                let is_verdict = said.contains("PodSecurity") || said.contains("invalid");
                if is_verdict {
                    Look::Yes(Some(format!("{owner}: {said}")))
                } else {
                    Look::NotYet(said)
                }
            }
        })
    })
}

#[test]
fn a_second_installation_in_one_cluster_is_refused_by_helm() -> Result<()> {
    let site = Site::start("two")?;
    site.release("install", &[])?.done()?;
    let folder = chart::folder().display().to_string();
    let said = site.helm(&["install", "other", &folder])?.refused()?;
    assert!(
        said.contains("cannot be imported into the current release")
            || said.contains("cannot reuse"),
        "{said}"
    );
    Ok(())
}

#[test]
fn who_may_not_install_is_told_what_is_missing() -> Result<()> {
    let site = Site::start("rights")?;
    let person = site.plane.kubeconfig_of_person("heron")?;
    let person = person.display().to_string();
    let folder = chart::folder().display().to_string();
    let install = ["install", chart::RELEASE, &folder, "--namespace", NAMESPACE];
    let said = chart::run(&install, &[("KUBECONFIG", &person)])?.refused()?;
    assert!(said.contains("User \"heron\" cannot"), "{said}");
    Ok(())
}
