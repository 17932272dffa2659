//! Probes of sessions: creation, parts, freezing, and performing an open session.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::future::join_all;
use http::StatusCode;

use super::{ProbeError, Prober, Tallies};
use crate::identity::{PartName, SessionName, TableName};
use crate::treasure_data::{Change, SessionStatus, TreasureDataError};

/// Callers that create the same session at the same time.
const CALLERS: usize = 4;
/// Parts that are uploaded at the same time.
const PARTS: usize = 4;

/// Cannot be loaded, in case a session is performed although it must not be.
const BODIES: [Bytes; 2] = [
    Bytes::from_static(b"a probe of yotpo-td check: not data, never to be performed\n"),
    Bytes::from_static(b"a probe of yotpo-td check: the same part again\n"),
];

/// Whether the service understood the request and refused it.
pub(super) fn is_refusal(error: &TreasureDataError) -> bool {
    let status = error.call().status_code();
    status.is_some_and(|status| {
        status.is_client_error()
            && !matches!(
                status,
                StatusCode::UNAUTHORIZED
                    | StatusCode::FORBIDDEN
                    | StatusCode::REQUEST_TIMEOUT
                    | StatusCode::TOO_MANY_REQUESTS
            )
    })
}

fn part(number: usize) -> Result<PartName, ProbeError> {
    format!("probe_{number}")
        .parse()
        .map_err(|_invalid| ProbeError::Disturbed("the name of a part is not valid"))
}

impl Prober<'_> {
    /// Creates a session several times at once, uploads parts, freezes it, lists the parts, and uploads again.
    pub(super) async fn probe_uploads(
        &mut self,
        table: &TableName,
        tallies: &mut Tallies,
    ) -> Result<(), ProbeError> {
        let session = self.new_session()?;
        self.probe_create(&session, table, tallies).await?;
        self.probe_overwrite(&session, tallies).await?;
        let prober = &*self;
        let uploads = join_all((1..PARTS).map(|number| prober.upload(&session, number, 0))).await;
        let mut expected = BTreeSet::from([part(0)?.to_string()]);
        for (uploaded, number) in uploads.into_iter().zip(1..) {
            if !uploaded? {
                return Err(ProbeError::Disturbed("an open session refused a part"));
            }
            expected.insert(part(number)?.to_string());
        }
        if self.freeze(&session).await? {
            self.probe_frozen(&session, &expected, tallies).await?;
        } else {
            tallies.list.unclear();
            tallies.frozen.unclear();
        }
        self.drop_session(&session).await;
        Ok(())
    }

    /// Exactly one of several simultaneous calls, and none after them, creates the session.
    async fn probe_create(
        &self,
        session: &SessionName,
        table: &TableName,
        tallies: &mut Tallies,
    ) -> Result<(), ProbeError> {
        let create = || async {
            let mut series = self.client.series();
            self.client.create_session(&mut series, session, self.database, table).await
        };
        let mut results = join_all((0..CALLERS).map(|_| create())).await;
        results.push(create().await);
        let (mut done, mut unclear) = (0, 0);
        for result in results {
            match result? {
                Change::Done => done += 1,
                Change::Conflict => {}
                Change::Unclear => unclear += 1,
                Change::Denied => return Err(ProbeError::Denied),
                Change::TableGone | Change::SessionGone => {
                    return Err(ProbeError::Disturbed("the table is gone"));
                }
            }
        }
        match (done, unclear) {
            (1, 0) => tallies.create.held(),
            (0 | 1, 1..) => tallies.create.unclear(),
            (0, _) => tallies.create.contradicted(
                "each caller received the response that the session exists, and none created it",
            ),
            _ => tallies
                .create
                .contradicted(format!("{done} of {} callers created the same session", CALLERS + 1)),
        }
        Ok(())
    }

    /// Two uploads under one name leave one part. That the second body is kept cannot be seen without performing.
    async fn probe_overwrite(&self, session: &SessionName, tallies: &mut Tallies) -> Result<(), ProbeError> {
        if !self.upload(session, 0, 0).await? {
            return Err(ProbeError::Disturbed("an open session refused a part"));
        }
        let is_accepted = self.upload(session, 0, 1).await?;
        let name = part(0)?.to_string();
        let listed = self.list(session).await?.iter().filter(|part| **part == name).count();
        match (is_accepted, listed) {
            (true, 1) => tallies.overwrite.held(),
            (false, _) => tallies.overwrite.contradicted("a second upload of the same name was refused"),
            (true, listed) => {
                tallies
                    .overwrite
                    .contradicted(format!("after two uploads of one name, the list has it {listed} times"));
            }
        }
        Ok(())
    }

    /// The list has exactly the parts that were uploaded, and stays like that.
    async fn probe_frozen(
        &self,
        session: &SessionName,
        expected: &BTreeSet<String>,
        tallies: &mut Tallies,
    ) -> Result<(), ProbeError> {
        let listed: BTreeSet<String> = self.list(session).await?.into_iter().collect();
        let missing = expected.difference(&listed).count();
        if missing == 0 {
            tallies.list.held();
        } else {
            let total = expected.len();
            tallies.list.contradicted(format!(
                "{missing} of {total} uploaded parts are not in the list after the freeze"
            ));
        }
        // A name that exists, and one that does not.
        for number in [0, PARTS] {
            if self.upload(session, number, 1).await? {
                tallies.frozen.contradicted("a frozen session accepted a part");
            }
        }
        let later: BTreeSet<String> = self.list(session).await?.into_iter().collect();
        match change_of_frozen_list(expected, &later) {
            Some(change) => tallies.frozen.contradicted(change),
            None if tallies.frozen.is_contradicted() => {}
            None => tallies.frozen.held(),
        }
        Ok(())
    }

    /// A session that is not frozen is not performed. If it is, the load job is killed; nothing is committed.
    pub(super) async fn probe_perform(
        &mut self,
        table: &TableName,
        tallies: &mut Tallies,
    ) -> Result<(), ProbeError> {
        let session = self.create_session(table).await?;
        if !self.upload(&session, 0, 0).await? {
            return Err(ProbeError::Disturbed("an open session refused a part"));
        }
        let mut series = self.client.series();
        let job = match self.client.perform(&mut series, &session).await {
            Err(error) if is_refusal(&error) => None,
            Err(error) => return Err(error.into()),
            Ok((Change::Conflict, _)) => None,
            Ok((Change::Denied, _)) => return Err(ProbeError::Denied),
            Ok((Change::TableGone | Change::SessionGone, _)) => {
                return Err(ProbeError::Disturbed("the session is gone"));
            }
            Ok((Change::Done, job)) => Some(job),
            Ok((Change::Unclear, _)) => match self.client.session(&session).await? {
                Some(state) if state.job_id.is_some() || state.status == SessionStatus::Performing => {
                    Some(state.job_id)
                }
                _ => {
                    tallies.perform.unclear();
                    self.drop_session(&session).await;
                    return Ok(());
                }
            },
        };
        match job {
            None => tallies.perform.held(),
            Some(job) => {
                let job = match job {
                    Some(job) => Some(job),
                    None => self.client.session(&session).await?.and_then(|state| state.job_id),
                };
                let what = self.kill(job).await;
                tallies.perform.contradicted(format!("a session that is not frozen was performed ({what})"));
            }
        }
        self.drop_session(&session).await;
        Ok(())
    }

    /// Kills a load job that should not have been started; the words say what became of it.
    async fn kill(&mut self, job: Option<String>) -> String {
        let Some(job) = job else { return "its load job is unknown; the session is deleted".to_owned() };
        self.made.jobs.push(job.clone());
        match self.client.kill_job(&job).await {
            Ok(()) => {
                self.made.forget_job(&job);
                format!("load job {job}, which was killed")
            }
            Err(_) => format!("load job {job}, which could not be killed yet"),
        }
    }

    /// Uploads a part; `false` if the session refuses it.
    async fn upload(&self, session: &SessionName, number: usize, body: usize) -> Result<bool, ProbeError> {
        let body = BODIES.get(body).cloned().unwrap_or_default();
        match self.client.upload_part(session, &part(number)?, body).await {
            Err(error) if is_refusal(&error) => Ok(false),
            result => Ok(result?),
        }
    }

    async fn list(&self, session: &SessionName) -> Result<Vec<String>, ProbeError> {
        self.client.parts(session).await?.map_err(|_gone| ProbeError::Disturbed("the session is gone"))
    }

    /// Whether the session is frozen now.
    async fn freeze(&self, session: &SessionName) -> Result<bool, ProbeError> {
        let mut series = self.client.series();
        match self.client.freeze(&mut series, session).await? {
            Change::Done => Ok(true),
            Change::Conflict | Change::Unclear => {
                Ok(self.client.session(session).await?.is_some_and(|state| state.upload_frozen))
            }
            Change::Denied => Err(ProbeError::Denied),
            Change::TableGone | Change::SessionGone => Err(ProbeError::Disturbed("the session is gone")),
        }
    }
}

/// How the list of a frozen session differs from what was uploaded before; `None` if it does not.
fn change_of_frozen_list(expected: &BTreeSet<String>, later: &BTreeSet<String>) -> Option<&'static str> {
    if !later.is_superset(expected) {
        Some("a frozen session lost a part")
    } else if later.len() > expected.len() {
        Some("the list of a frozen session has grown")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_a_frozen_session_neither_loses_nor_gains_a_part() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        for (later, expected) in [
            (&["a", "b"][..], None),
            (&["a"], Some("a frozen session lost a part")),
            (&["a", "c"], Some("a frozen session lost a part")),
            (&["a", "c", "d"], Some("a frozen session lost a part")),
            (&["a", "b", "c"], Some("the list of a frozen session has grown")),
        ] {
            assert_eq!(change_of_frozen_list(&list(&["a", "b"]), &list(later)), expected, "{later:?}");
        }
    }
}
