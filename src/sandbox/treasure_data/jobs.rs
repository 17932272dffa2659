//! Calls for jobs: the imports started by `perform`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::reply::{Call, Reply};
use super::state::{Job, JobStatus, Moment, Phase, State};
use super::{KilledJob, TreasureData, not_found, timestamp};

/// Number of jobs that are listed without a range.
const DEFAULT_LISTED: usize = 20;

impl TreasureData {
    pub(in super::super) fn import_jobs(&self) -> usize {
        self.lock().0.jobs.len()
    }

    pub(super) fn list_jobs(&self, call: &Call) -> Reply {
        let (state, moment) = self.lock();
        let bound = |name: &str| call.query_parameter(name).and_then(|value| value.parse::<usize>().ok());
        let from = bound("from").unwrap_or(0);
        let to = bound("to").unwrap_or(from.saturating_add(DEFAULT_LISTED - 1));
        let count = to.saturating_add(1).saturating_sub(from);
        let jobs: Vec<_> = state
            .jobs
            .iter()
            .rev()
            .skip(from)
            .take(count)
            .map(|(number, job)| show(*number, job, moment, state.durations.import))
            .collect();
        Reply::ok(&json!({"count": state.jobs.len(), "from": from, "to": to, "jobs": jobs}))
    }

    pub(super) fn job_status(&self, number: &str) -> Reply {
        self.with_job(number, |number, job, moment, import| {
            let mut status = show(number, job, moment, import);
            if let Some(fields) = status.as_object_mut() {
                fields.retain(|key, _| !matches!(key.as_str(), "debug" | "query" | "url" | "result"));
            }
            status
        })
    }

    pub(super) fn show_job(&self, number: &str) -> Reply {
        self.with_job(number, show)
    }

    pub(super) fn kill_job(&self, number: &str) -> Reply {
        let (mut state, moment) = self.lock();
        let state: &mut State = &mut state;
        let import = state.durations.import;
        let Some((number, job)) =
            number.parse().ok().and_then(|number: u64| state.jobs.get_mut(&number).map(|job| (number, job)))
        else {
            return unknown_job(number);
        };
        let former = job.shown_status(moment.now, import);
        if job.kill(moment.unix)
            && let Some(session) = state.sessions.get_mut(&job.session)
            && session.job == Some(number)
            && self.behaviour.killed_job == KilledJob::FallsBack
        {
            session.phase = Phase::Uploading;
        }
        Reply::ok(&json!({"former_status": former, "job_id": number.to_string()}))
    }

    fn with_job(&self, number: &str, view: impl FnOnce(u64, &Job, Moment, Duration) -> Value) -> Reply {
        let (state, moment) = self.lock();
        let found =
            number.parse().ok().and_then(|number: u64| state.jobs.get(&number).map(|job| (number, job)));
        match found {
            Some((number, job)) => Reply::ok(&view(number, job, moment, state.durations.import)),
            None => unknown_job(number),
        }
    }
}

impl Job {
    /// Kills a job that is still active; false if it has ended.
    pub(super) fn kill(&mut self, unix: Duration) -> bool {
        if self.status != JobStatus::Active {
            return false;
        }
        self.cancelled.store(true, Ordering::Relaxed);
        self.status = JobStatus::Killed;
        self.ended = Some(unix);
        self.found = None;
        "killed".clone_into(&mut self.message);
        true
    }
}

fn show(number: u64, job: &Job, moment: Moment, import: Duration) -> Value {
    let end = job.ended.unwrap_or(moment.unix);
    let stderr = if job.status == JobStatus::Error { job.message.as_str() } else { "" };
    json!({
        "job_id": number.to_string(),
        "status": job.shown_status(moment.now, import),
        "type": "bulk_import_perform",
        "database": job.database,
        "query": "",
        "debug": {"cmdout": job.message, "stderr": stderr},
        "url": format!("http://localhost/jobs/{number}"),
        "priority": 0,
        "retry_limit": 0,
        "result": "",
        "result_size": 0,
        "num_records": job.records,
        "cpu_time": null,
        "user_name": "Sandbox User",
        "hive_result_schema": null,
        "duration": end.saturating_sub(job.created.unix).as_secs(),
        "created_at": timestamp(job.created.unix),
        "updated_at": timestamp(end),
        "start_at": timestamp(job.created.unix),
        "end_at": job.ended.map(timestamp),
    })
}

fn unknown_job(number: &str) -> Reply {
    not_found(&format!("Job '{number}' does not exist"))
}
