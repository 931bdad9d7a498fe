//! Gives the gateway rules and takes them away.

use std::time::Duration;

use agentvm_cell_api::client::ClientError;
use agentvm_cell_api::gateway::Usage;
use agentvm_cell_api::problem::Reason;
use agentvm_crds::conditions::ImageReason;

use super::{Executor, host, sentence_of};
use crate::border::{Freshness, Unanswered};
use crate::egress::Filled;
use crate::mounts::Contents;
use crate::observed::{Given, Held};
use crate::plan::PutRules;
use crate::problem::{Problem, StartReason};

/// How long the gateway may take for one request.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

impl Executor {
    /// Reads the keys that are not known and gives the gateway the rules. Those that lack a key
    /// are left out, and named.
    pub(super) async fn put_rules(&self, put: &PutRules) -> Given {
        let PutRules {
            want,
            terms,
            known,
            run,
            instance,
        } = put;
        let Some(gateway) = &self.gateway else {
            return Err(unavailable(
                "it asks for network, and this node has no gateway: its agent was started without --gateway-dir",
            ));
        };
        let Some(instance) = instance else {
            return Err(unavailable(
                "it asks for network, and the gateway of its node does not answer; it starts when that is back",
            ));
        };
        let contents = self.keys(put, known).await.map_err(|error| host(&error))?;
        let Filled { vm, lacking } = terms.fill(&want.namespace, &want.name, &contents, *run);
        let given = within(self, gateway.put_vm(&want.uid, &vm)).await;
        given.map_err(|error| not_given(&error))?;
        Ok(Held {
            instance: instance.clone(),
            terms: terms.clone(),
            contents,
            lacking,
        })
    }

    /// Has the gateway forget a VM.
    pub(super) async fn drop_rules(&self, uid: &str) -> Result<Option<Usage>, String> {
        let gateway = self.gateway.as_ref().ok_or("this node has no gateway")?;
        within(self, gateway.delete_vm(uid))
            .await
            .map_err(|error| error.to_string())
    }

    async fn keys(&self, put: &PutRules, known: &Contents) -> Result<Contents, Unanswered> {
        let mut contents = Contents::new();
        for object in put.terms.objects(&put.want.namespace) {
            let content = match known.get(&object) {
                Some(known) => known.clone(),
                None => self.objects.content(&object, Freshness::Live).await?,
            };
            contents.insert(object, content);
        }
        Ok(contents)
    }
}

/// One of so many requests at once, each of which must be answered soon.
async fn within<T>(
    executor: &Executor,
    request: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, NotAnswered> {
    let _permit = executor.puts.acquire().await;
    match tokio::time::timeout(ANSWER_WITHIN, request).await {
        Ok(answer) => answer.map_err(NotAnswered::Refused),
        Err(_elapsed) => Err(NotAnswered::Silent),
    }
}

#[derive(Debug, thiserror::Error)]
enum NotAnswered {
    #[error(transparent)]
    Refused(ClientError),
    #[error("the gateway gave no answer within {ANSWER_WITHIN:?}")]
    Silent,
}

fn not_given(error: &NotAnswered) -> Problem {
    match error {
        // One that does not know its node yet is one that has just been started.
        NotAnswered::Refused(ClientError::Problem(problem))
            if problem.reason != Reason::Conflict =>
        {
            Problem::new(
                StartReason::Host,
                format!(
                    "the gateway does not take the VM's rules: {}",
                    problem.message
                ),
            )
        }
        NotAnswered::Refused(refused) => unavailable(&format!(
            "it asks for network, and the gateway of its node does not take its rules: {}",
            sentence_of(refused)
        )),
        NotAnswered::Silent => unavailable(&error.to_string()),
    }
}

fn unavailable(message: &str) -> Problem {
    Problem::new(StartReason::Image(ImageReason::GatewayUnavailable), message)
}
