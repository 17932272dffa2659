//! Every code at length, for `explain` and `docs/errors.md`.

use super::code::Code;

/// What a code means and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What happened, as a sentence.
    pub summary: &'static str,
    /// What it means, and what is true of the table and of what is saved.
    pub meaning: &'static str,
    /// Who can do something about it, and what.
    pub action: &'static str,
}

impl Code {
    /// The code at length.
    #[expect(
        clippy::too_many_lines,
        reason = "one text for each code; the compiler checks that none is missing"
    )]
    pub const fn explanation(self) -> Explanation {
        let (summary, meaning, action) = match self {
            Self::Bug => (
                "A bug in yotpo-td.",
                "The program reached a state that it considers impossible, and stopped. What it had stored is saved; nothing was \
                 committed that had not been verified.",
                "Report it with the place that the message names and a log at --log-level debug. A version that corrects it is \
                 needed; the table is unchanged until then.",
            ),
            Self::SettingsInvalid => (
                "The command line or a setting is invalid.",
                "Settings are checked before anything is sent. The message lists every problem with the flag, the variable, or the \
                 file and line that the value comes from.",
                "Correct them. `yotpo-td config show` prints every value with its origin, `yotpo-td config validate` checks them \
                 without a run.",
            ),
            Self::YotpoCredentialsRefused => (
                "Yotpo denied a token for the secret and the store.",
                "Every run begins with a token. Its response says that the store id and the secret do not belong together, or that the \
                 app may not use this API. Nothing was fetched.",
                "Check YOTPO_STORE_ID (the app key) and YOTPO_CLIENT_SECRET in Yotpo's settings; a new secret \
                 invalidates the old one. Then run the same command.",
            ),
            Self::YotpoTokenNotAccepted => (
                "Yotpo issues tokens but does not accept them.",
                "A fresh token was denied repeatedly. The secret is right, but the app lacks access to the store's customers, or \
                 Yotpo has an outage. What was stored before is saved.",
                "Ask Yotpo's support whether the app may read customers and loyalty data. Then run the same command; it resumes.",
            ),
            Self::YotpoTokenFailed => (
                "A token could not be obtained.",
                "Yotpo, or the connection to it, failed after all retries (--max-retries, --retry-timeout).",
                "Wait and run the same command. If it persists, check the network, a proxy, and Yotpo's status page.",
            ),
            Self::YotpoPageFailed => (
                "A page could not be fetched.",
                "A page failed after all retries. A run never skips a page, so it stopped. The parts that were stored are saved and \
                 nothing was committed.",
                "Run the same command; it resumes after the last stored part. If the same page fails each time, send its number and \
                 the message to Yotpo's support.",
            ),
            Self::YotpoRequestRefused => (
                "Yotpo rejected a request, or cannot be reached with these settings.",
                "The response says that the request itself is wrong (such as 404 or 400), or the host does not exist. The same \
                 command would fail the same way.",
                "Check --yotpo-endpoint and YOTPO_STORE_ID. If both are right, Yotpo's API may have changed: look for a newer version \
                 of yotpo-td.",
            ),
            Self::YotpoPagingEndless => (
                "The paging would never end.",
                "Yotpo returned a cursor that it had returned before, or a long sequence of empty pages. Continuing would load \
                 customers repeatedly, so the run stopped. Nothing was committed.",
                "Run the same command later. If it persists, report it to Yotpo's support.",
            ),
            Self::LoyaltyDataLost => (
                "Customers after the first page have no loyalty data.",
                "The first page has loyalty members and no later customer has any, which chance does not explain. Yotpo may ignore \
                 expand=loyalty in requests with a cursor. Nothing was committed; what was stored is saved.",
                "Look at some customers in Yotpo. If they have no loyalty data there, add --loyalty-check off, which resumes the run. \
                 Otherwise report it to Yotpo's support.",
            ),
            Self::TreasureDataPermissionDenied => (
                "The API key does not have a permission that the run needs.",
                "append needs the right to import into the table. replace needs full access: it creates a temporary table and renames \
                 it. The table is unchanged.",
                "Use a key with these rights, or let an administrator grant them. Then run the same command; it resumes.",
            ),
            Self::TreasureDataWrongEndpoint => (
                "The endpoint is not the Treasure Data API.",
                "What responded is not the API: a web page, a console, or another service.",
                "Set --site to the region of the account, or --td-endpoint to the API's address, which begins with api.",
            ),
            Self::TreasureDataNoDatabase => (
                "The database does not exist.",
                "The account of the API key has no such database. yotpo-td creates tables, never databases. Nothing was loaded.",
                "Correct --database, or create it: td db:create NAME. A database of another region is not visible: check --site.",
            ),
            Self::TreasureDataNoTable => (
                "The table does not exist, and the API key may not create it.",
                "A write-only key can import into a table that exists, but cannot create one. Nothing was loaded.",
                "Create the table once with a key that may: td table:create DATABASE TABLE. Then run the same command.",
            ),
            Self::TreasureDataRequestRefused => (
                "Treasure Data rejected a request, or cannot be reached with these settings.",
                "The response says that the request itself is wrong, or the host does not exist. The same command would fail the same \
                 way. Nothing was committed, unless the last line says that rows may be in the table.",
                "Read the server's message in the error. Check --site, --td-endpoint and a proxy. If rows may be in the table, run \
                 the same command, which looks up what was committed; with another address or table it would be another run.",
            ),
            Self::TreasureDataFailed => (
                "Treasure Data, or the connection to it, failed.",
                "A request failed after all retries. Before a request that changes something is repeated, its effect is looked up, so \
                 that nothing is loaded twice. What was stored is saved.",
                "Run the same command; it resumes. If it persists, check the network and Treasure Data's status page.",
            ),
            Self::CustomerUnreadable => (
                "Too many customers cannot be turned into rows.",
                "A customer is not a JSON object that a row can hold, such as one that is too large. More of them were found than \
                 --max-error-records allows (0 by default). Nothing was committed.",
                "Correct the customer in Yotpo, or allow some with --max-error-records; --quarantine-dir keeps a copy of them.",
            ),
            Self::GuardTripped => (
                "A guard refused the result.",
                "replace would have emptied the table, or left far fewer rows than before (--min-rows-ratio). The table still has its \
                 old rows.",
                "Look at the store in Yotpo. If the result is right, override with --allow-empty or a smaller --min-rows-ratio; if it \
                 was wrong and is corrected, add --fresh to fetch again.",
            ),
            Self::LoadedCountsDiffer => (
                "A session does not hold what was sent.",
                "Treasure Data's counts after the load job differ from the rows that were stored, or it reports error records. The \
                 session was not committed, so the table is unchanged.",
                "The hint names the command that shows the error records. If it persists, ask Treasure Data's support with the \
                 session's name.",
            ),
            Self::LoadJobFailed => (
                "The load job failed or was killed.",
                "The parts are stored, but the job that loads them did not succeed, even after a retry. Nothing was committed.",
                "Look at the job in the console (td job:show). Run the same command; it resumes with a new job.",
            ),
            Self::LoadTimedOut => (
                "A load or a commit took too long.",
                "It did not end within --perform-timeout. It may still end; the next attempt looks at its state first.",
                "Run the same command; it waits again and repeats nothing that was done. Allow more time with --perform-timeout.",
            ),
            Self::CommitFailed => (
                "The commit failed repeatedly.",
                "Treasure Data set the session back to ready each time. The rows are loaded into the session but are not in the table.",
                "Run the same command; it commits the same session. If it persists, ask Treasure Data's support with the session's \
                 name.",
            ),
            Self::PublishFailed => (
                "The new table could not replace the old one.",
                "The temporary table is complete, but the rename that publishes it failed. The table still has its old rows.",
                "Run the same command; it publishes the same temporary table. If it persists, ask Treasure Data's support.",
            ),
            Self::NoProgress => (
                "Something else kept changing what the run needs, or Treasure Data acknowledged calls that had no effect.",
                "Each time the run looked, the session, the ballot or the table was not what the run had made it. It waited, tried \
                 again, and stopped. Nothing was committed by it.",
                "Find out what else works on the table or the sessions. Then run the same command. If it persists, ask Treasure \
                 Data's support.",
            ),
            Self::RunAlreadyLoaded => (
                "The run with this id has already been loaded.",
                "A run id names one load. --fresh was given for a run that is loaded; or an export was loaded too long \
                 ago for Treasure Data to say so; or the run with this id has another number of rows than the export. \
                 The command did nothing. Without --fresh, the same command of a run that is loaded ends with exit code 0.",
                "Nothing, if the table has the rows that you want. To load once more, use another --run-id.",
            ),
            Self::RunHasOtherMode => (
                "The run id is in use with the other --mode.",
                "A run id names one load. An attempt with this id, on this or on another machine, began with the other mode in the \
                 last 8 days. Loads in both modes could put customers into the table twice, so this attempt loaded nothing.",
                "Use the --mode of the other attempts, or a new --run-id.",
            ),
            Self::RunActive => (
                "Another run of the target is active on this machine.",
                "A process holds the lock of the same store, database and table. This command did nothing.",
                "Wait for it, let the command wait (--wait-for-active 1h), or stop the other process with SIGTERM.",
            ),
            Self::RunAbandoned => (
                "The run was abandoned.",
                "`yotpo-td runs abandon` ended it, on this or on another machine. What had begun of it loaded nothing and will not.",
                "To load the customers after all, run the same command: it starts over.",
            ),
            Self::RunSuperseded => (
                "The table was replaced or recreated after the run started.",
                "Publishing this run would undo what came later. The table was left as it is.",
                "Start a new run to load the current customers, with a new --run-id if one was given.",
            ),
            Self::RunTooOld => (
                "The run is too old: its attempts can no longer be told apart.",
                "The markers of a run are kept for 7 days from its first attempt. After that nobody can know whether an earlier \
                 attempt was committed.",
                "Run the query of the hint, which counts the run's rows. If they are missing, start again with a new --run-id.",
            ),
            Self::CommitUnknown => (
                "The outcome of a commit cannot be determined.",
                "The session disappeared or was changed while it was being committed. Its rows may or may not be in the table; a \
                 second load could duplicate them.",
                "Run the query of the hint, which counts the run's rows. If they are all there, nothing has to be done; if not, load \
                 them as another run.",
            ),
            Self::OtherProtocol => (
                "Another version of yotpo-td is working on the run.",
                "What it stored in Treasure Data cannot be understood by this version. Nothing was changed.",
                "Use the same version for all attempts of a run, or wait until the other one has ended.",
            ),
            Self::AssumptionContradicted => (
                "Treasure Data does not behave as runs rely on.",
                "`yotpo-td check --probe-bulk-import` saw a behaviour that contradicts an assumption on which \"exactly once\" \
                 depends. The check loaded nothing, and says which assumption it is.",
                "Do not start more than one attempt of a run at a time. Send the line of the failed check to Treasure Data's support \
                 and to the maintainers of yotpo-td.",
            ),
            Self::RowsDiffer => (
                "The rows that were compared differ.",
                "`yotpo-td compare` found customers that only one side has, or that have other values. Rows that are only written \
                 differently count as equal. Nothing was changed.",
                "Read the table on stdout: it counts the rows of each kind and names the fields that differ. The hint says what \
                 usually causes it.",
            ),
            Self::InputDamaged => (
                "A file of rows is damaged, or not what the command reads.",
                "It is truncated, its gzip data is damaged, it is empty, its form is unknown, or a row has no customer as a JSON \
                 object in json_response. The message names the file and the row.",
                "Export or copy the file again, or convert it to a form that the command reads (docs/compare.md). Then run the same \
                 command.",
            ),
            Self::InputUnreadable => (
                "A file of rows cannot be read.",
                "The system reported an error for the file or the directory: a missing permission, or a failing disk.",
                "Correct what the message says. Then run the same command.",
            ),
            Self::StateFailed => (
                "The state could not be read or saved.",
                "The state directory cannot be used: missing permissions, another owner, a damaged file. What is in Treasure Data \
                 is unchanged.",
                "Do what the message says, or choose another --state-dir. Then run the same command.",
            ),
            Self::ExportUnusable => (
                "An export directory cannot be used.",
                "The directory or a file in it cannot be read or written, another user could have written it, the export is \
                 incomplete, or a part is not the one that the manifest lists. Nothing was loaded.",
                "Do what the message says: correct the permissions, finish the export, copy it again, or export again. Then run \
                 the same command.",
            ),
            Self::QuarantineFailed => (
                "Records could not be quarantined.",
                "A record that is left out must first be written to --quarantine-dir. That failed, so the run stopped.",
                "Check the directory, its disk and its permissions. Then run the same command; it resumes.",
            ),
            Self::DiskFull => (
                "A disk has no free space for what a run writes.",
                "The state, quarantine or export directory is full, or the temporary directory of a sandbox. What was stored is saved.",
                "Free some space or inodes, or choose another directory. Then run the same command; it resumes.",
            ),
            Self::MachineDenied => (
                "No root certificates, threads or file handles are available.",
                "The machine or container lacks something that every run needs. Nothing was sent.",
                "Install the ca-certificates package or set SSL_CERT_FILE, or raise the limits that the message names.",
            ),
            Self::ClockWrong => (
                "The machine's clock is implausible.",
                "Rows carry the time of the run, and attempts are told apart by it. With this clock, they would be wrong.",
                "Correct the clock (NTP). Then run the same command.",
            ),
            Self::Interrupted => (
                "A signal ended the run.",
                "Ctrl-C, SIGTERM or SIGHUP. The checkpoint is valid; the last line says what is saved.",
                "Run the same command; it resumes.",
            ),
        };
        Explanation { summary, meaning, action }
    }
}
