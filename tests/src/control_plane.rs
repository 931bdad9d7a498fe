//! A real etcd, API server and controller manager, for one test binary.

use std::fs;
use std::net::SocketAddr;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use crate::api::Api;
use crate::assets::Program;
use crate::audit::{self, AuditLog};
use crate::kubectl::{Kubectl, write_kubeconfig};
use crate::pki::Pki;
use crate::process::Process;
use crate::wait::{self, Look};
use crate::{Result, http};

/// A running control plane; it ends when this is dropped, or with the test binary.
#[derive(Debug)]
pub struct ControlPlane {
    /// kubectl as cluster admin.
    pub kubectl: Kubectl,
    /// The API as cluster admin.
    pub api: Api,
    /// Who wrote what.
    pub audit: AuditLog,
    /// Its certificates.
    pub pki: Pki,
    dir: PathBuf,
    server: String,
    api_server: Process,
    controller_manager: Process,
    etcd: Process,
}

/// Who works with a control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Processes of a test, over loopback: no Pod ever runs.
    Processes,
    /// Nodes with a kubelet each, and Pods: at this address.
    Nodes(IpAddr),
}

impl Serves {
    fn address(self) -> IpAddr {
        match self {
            Self::Processes => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Self::Nodes(address) => address,
        }
    }

    fn controllers(self) -> &'static str {
        match self {
            Self::Processes => CONTROLLERS,
            Self::Nodes(_) => "*",
        }
    }
}

/// Only what our tests need: namespaces are emptied, roles aggregated, owned objects collected.
const CONTROLLERS: &str = "namespace-controller,serviceaccount-controller,\
    root-ca-certificate-publisher-controller,clusterrole-aggregation-controller,garbage-collector-controller";

impl ControlPlane {
    /// Starts one for processes with its files in `dir`, and waits until it is ready.
    pub fn start(dir: &Path) -> Result<Self> {
        Self::start_for(Serves::Processes, dir)
    }

    /// Starts one with its files in `dir`, and waits until it is ready.
    pub fn start_for(serves: Serves, dir: &Path) -> Result<Self> {
        let pki = Pki::create(&dir.join("pki"))?;
        pki.server("apiserver", serves.address())?;
        pki.client("admin", "admin", "system:masters")?;
        pki.client(
            "manager",
            "system:kube-controller-manager",
            "system:kube-controller-manager",
        )?;
        let (etcd, etcd_port) = start_etcd(dir)?;
        let (api_server, url) = start_api_server(serves, dir, &pki, etcd_port)?;
        let ca = pki.certificate("ca");
        for user in ["admin", "manager"] {
            write_kubeconfig(
                &dir.join(user),
                &url,
                &ca,
                &certificate_credentials(&pki, user),
            )?;
        }
        let api = Api::new(&dir.join("admin"))?;
        wait::until("the API server to be ready", || {
            api_server.must_run()?;
            etcd.must_run()?;
            Ok(match api.text("/readyz") {
                Ok(_) => Look::Yes(()),
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        })?;
        Ok(Self {
            kubectl: Kubectl::new(&dir.join("admin"))?,
            api,
            audit: AuditLog::new(&dir.join("audit.log")),
            controller_manager: start_controller_manager(serves, dir, &pki)?,
            dir: dir.to_owned(),
            pki,
            server: url,
            api_server,
            etcd,
        })
    }

    /// Fails with a log's end where one of its processes has ended.
    pub fn must_run(&self) -> Result<()> {
        self.etcd.must_run()?;
        self.api_server.must_run()?;
        self.controller_manager.must_run()
    }

    /// Writes a kubeconfig for the bearer of `token` and gives its path.
    pub fn kubeconfig_of_token(&self, name: &str, token: &str) -> Result<PathBuf> {
        self.kubeconfig(name, &format!("token: {token}"))
    }

    /// Makes a certificate for a person and writes a kubeconfig for him.
    pub fn kubeconfig_of_person(&self, name: &str) -> Result<PathBuf> {
        self.kubeconfig_of_member(name, name, "people")
    }

    /// Makes the certificate `name` for a user of a group and writes a kubeconfig for him.
    pub fn kubeconfig_of_member(&self, name: &str, user: &str, group: &str) -> Result<PathBuf> {
        self.pki.client(name, user, group)?;
        self.kubeconfig(name, &certificate_credentials(&self.pki, name))
    }

    /// Where the API server listens.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.server.trim_start_matches("https://").parse()?)
    }

    /// The API server's process, for tests that stop it for a while.
    pub fn api_server(&self) -> &Process {
        &self.api_server
    }

    fn kubeconfig(&self, name: &str, credentials: &str) -> Result<PathBuf> {
        let path = self.dir.join(format!("{name}.kubeconfig"));
        write_kubeconfig(
            &path,
            &self.server,
            &self.pki.certificate("ca"),
            credentials,
        )?;
        Ok(path)
    }
}

fn certificate_credentials(pki: &Pki, user: &str) -> String {
    let (certificate, key) = (pki.certificate(user), pki.key(user));
    format!(
        "client-certificate: {}, client-key: {}",
        certificate.display(),
        key.display()
    )
}

fn start_etcd(dir: &Path) -> Result<(Process, u16)> {
    let (clients, peers) = (http::free_port()?, http::free_port()?);
    let (clients_url, peers_url) = (
        format!("http://127.0.0.1:{clients}"),
        format!("http://127.0.0.1:{peers}"),
    );
    let etcd = Process::start("etcd", dir, Program::Etcd.locate()?, |command| {
        command
            .args([
                "--name",
                "tests",
                "--unsafe-no-fsync",
                "--log-level",
                "warn",
                "--data-dir",
            ])
            .arg(dir.join("etcd"))
            .args([
                "--listen-client-urls",
                &clients_url,
                "--advertise-client-urls",
                &clients_url,
            ])
            .args([
                "--listen-peer-urls",
                &peers_url,
                "--initial-advertise-peer-urls",
                &peers_url,
            ])
            .args(["--initial-cluster", &format!("tests={peers_url}")])
    })?;
    Ok((etcd, clients))
}

fn start_api_server(
    serves: Serves,
    dir: &Path,
    pki: &Pki,
    etcd_port: u16,
) -> Result<(Process, String)> {
    let port = http::free_port()?;
    fs::write(dir.join("audit.yaml"), audit::POLICY)?;
    let file = |flag: &str, path: PathBuf| format!("--{flag}={}", path.display());
    let process = Process::start(
        "kube-apiserver",
        dir,
        Program::ApiServer.locate()?,
        |command| {
            command
                .arg(format!("--etcd-servers=http://127.0.0.1:{etcd_port}"))
                .arg(format!("--secure-port={port}"))
                .arg(format!("--bind-address={}", serves.address()))
                .arg(format!("--advertise-address={}", serves.address()))
                .arg("--service-cluster-ip-range=10.96.0.0/16")
                .args([
                    "--authorization-mode=Node,RBAC",
                    "--enable-admission-plugins=NodeRestriction",
                ])
                .arg("--service-account-issuer=https://kubernetes.default.svc")
                .arg(file("service-account-key-file", pki.key("sa")))
                .arg(file("service-account-signing-key-file", pki.key("sa")))
                .arg(file("client-ca-file", pki.certificate("ca")))
                .arg(file("tls-cert-file", pki.certificate("apiserver")))
                .arg(file("tls-private-key-file", pki.key("apiserver")))
                .arg(file("audit-policy-file", dir.join("audit.yaml")))
                .arg(file("audit-log-path", dir.join("audit.log")));
            match serves {
                // No kubelet ever makes our Node objects ready.
                Serves::Processes => command
                    .arg("--endpoint-reconciler-type=none")
                    .arg("--disable-admission-plugins=TaintNodesByCondition"),
                Serves::Nodes(_) => command
                    .args([
                        "--allow-privileged",
                        "--kubelet-preferred-address-types=InternalIP",
                    ])
                    .arg(file("kubelet-client-certificate", pki.certificate("admin")))
                    .arg(file("kubelet-client-key", pki.key("admin"))),
            }
        },
    )?;
    Ok((process, format!("https://{}:{port}", serves.address())))
}

fn start_controller_manager(serves: Serves, dir: &Path, pki: &Pki) -> Result<Process> {
    let port = http::free_port()?;
    Process::start(
        "kube-controller-manager",
        dir,
        Program::ControllerManager.locate()?,
        |command| {
            command
                .arg(format!("--controllers={}", serves.controllers()))
                .args([
                    "--leader-elect=false",
                    "--use-service-account-credentials",
                    "--bind-address=127.0.0.1",
                ])
                .arg(format!("--secure-port={port}"))
                .arg(format!(
                    "--cert-dir={}",
                    dir.join("manager-certificates").display()
                ))
                .arg(format!("--kubeconfig={}", dir.join("manager").display()))
                .arg(format!(
                    "--root-ca-file={}",
                    pki.certificate("ca").display()
                ))
                .arg(format!(
                    "--service-account-private-key-file={}",
                    pki.key("sa").display()
                ))
        },
    )
}
