//! The operations of both services, and the mapping from a request line to its operation.
//!
//! Owns the table of routes. Faults, counters and the request log use these names.

use http::Method;

/// One of the two mock services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Yotpo Core API v3.
    Yotpo,
    /// Treasure Data REST API.
    TreasureData,
}

macro_rules! operations {
    ($($variant:ident $name:literal $service:ident $method:ident $path:literal),+ $(,)?) => {
        /// An operation of one of the services.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Operation {
            $(
                #[doc = concat!("`", stringify!($method), " ", $path, "`")]
                $variant,
            )+
            /// Anything else; the response is 404.
            Unknown,
        }

        impl Operation {
            /// All operations, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)+ Self::Unknown];

            /// The name in snake case, as counters show it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ Self::Unknown => "unknown" }
            }
        }

        const ROUTES: &[Route] = &[
            $(Route {
                operation: Operation::$variant,
                service: Service::$service,
                method: Method::$method,
                path: $path,
            },)+
        ];
    };
}

operations! {
    AccessToken "access_token" Yotpo POST "/core/v3/stores/*/access_tokens",
    Customers "customers" Yotpo GET "/core/v3/stores/*/customers",
    ServerStatus "server_status" TreasureData GET "/v3/system/server_status",
    ValidateKey "validate_key" TreasureData GET "/v3/user/apikey/validate",
    ShowUser "show_user" TreasureData GET "/v3/user/show",
    ListDatabases "list_databases" TreasureData GET "/v3/database/list",
    ShowDatabase "show_database" TreasureData GET "/v3/database/show/*",
    CreateDatabase "create_database" TreasureData POST "/v3/database/create/*",
    DeleteDatabase "delete_database" TreasureData POST "/v3/database/delete/*",
    ListTables "list_tables" TreasureData GET "/v3/table/list/*",
    ShowTable "show_table" TreasureData GET "/v3/table/show/*/*",
    CreateTable "create_table" TreasureData POST "/v3/table/create/*/*/*",
    DeleteTable "delete_table" TreasureData POST "/v3/table/delete/*/*",
    RenameTable "rename_table" TreasureData POST "/v3/table/rename/*/*/*",
    SwapTables "swap_tables" TreasureData POST "/v3/table/swap/*/*/*",
    AppendSchema "append_schema" TreasureData POST "/v3/table/append-schema/*/*",
    UpdateSchema "update_schema" TreasureData POST "/v3/table/update-schema/*/*",
    TailTable "tail_table" TreasureData GET "/v3/table/tail/*/*",
    CreateSession "create_session" TreasureData POST "/v3/bulk_import/create/*/*/*",
    ShowSession "show_session" TreasureData GET "/v3/bulk_import/show/*",
    ListSessions "list_sessions" TreasureData GET "/v3/bulk_import/list",
    ListParts "list_parts" TreasureData GET "/v3/bulk_import/list_parts/*",
    UploadPart "upload_part" TreasureData PUT "/v3/bulk_import/upload_part/*/*",
    DeletePart "delete_part" TreasureData POST "/v3/bulk_import/delete_part/*/*",
    FreezeSession "freeze_session" TreasureData POST "/v3/bulk_import/freeze/*",
    UnfreezeSession "unfreeze_session" TreasureData POST "/v3/bulk_import/unfreeze/*",
    PerformSession "perform_session" TreasureData POST "/v3/bulk_import/perform/*",
    CommitSession "commit_session" TreasureData POST "/v3/bulk_import/commit/*",
    DeleteSession "delete_session" TreasureData POST "/v3/bulk_import/delete/*",
    ErrorRecords "error_records" TreasureData GET "/v3/bulk_import/error_records/*",
    ListJobs "list_jobs" TreasureData GET "/v3/job/list",
    JobStatus "job_status" TreasureData GET "/v3/job/status/*",
    ShowJob "show_job" TreasureData GET "/v3/job/show/*",
    KillJob "kill_job" TreasureData POST "/v3/job/kill/*",
}

struct Route {
    operation: Operation,
    service: Service,
    method: Method,
    path: &'static str,
}

impl Operation {
    /// The service that has this operation; [`Operation::Unknown`] belongs to both.
    pub fn service(self) -> Option<Service> {
        ROUTES.iter().find(|route| route.operation == self).map(|route| route.service)
    }
}

/// The operation of a request and the variable parts of its path.
pub(super) fn route(service: Service, method: &Method, segments: &[String]) -> (Operation, Vec<String>) {
    let matches = |route: &&Route| {
        let mut pattern = route.path.split('/').skip(1);
        route.service == service
            && route.method == *method
            && segments.iter().all(|segment| {
                pattern
                    .next()
                    .is_some_and(|expected| expected == segment || (expected == "*" && !segment.is_empty()))
            })
            && pattern.next().is_none()
    };
    let Some(route) = ROUTES.iter().find(matches) else { return (Operation::Unknown, Vec::new()) };
    let variable = route.path.split('/').skip(1).zip(segments).filter(|(expected, _)| *expected == "*");
    (route.operation, variable.map(|(_, segment)| segment.clone()).collect())
}

/// The decoded segments of a path. Additional slashes at its start (official Python client) are ignored.
pub(super) fn segments(path: &str) -> Vec<String> {
    let decode =
        |segment: &str| percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned();
    path.trim_start_matches('/').split('/').map(decode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(service: Service, method: &Method, path: &str) -> (Operation, Vec<String>) {
        route(service, method, &segments(path))
    }

    #[test]
    fn variable_parts_are_extracted_and_decoded() {
        let (operation, parts) =
            routed(Service::TreasureData, &Method::PUT, "//v3/bulk_import/upload_part/a%2Fb/part%201");
        assert_eq!((operation, parts), (Operation::UploadPart, vec!["a/b".to_owned(), "part 1".to_owned()]));
    }

    #[test]
    fn wrong_method_service_or_length_is_unknown() {
        for (service, method, path) in [
            (Service::TreasureData, Method::GET, "/v3/bulk_import/commit/x"),
            (Service::Yotpo, Method::GET, "/v3/bulk_import/list"),
            (Service::TreasureData, Method::GET, "/v3/bulk_import/list/x"),
            (Service::TreasureData, Method::GET, "/v3/bulk_import/show/"),
            (Service::TreasureData, Method::GET, "/v3/bulk_import"),
            (Service::TreasureData, Method::GET, ""),
        ] {
            assert_eq!(routed(service, &method, path).0, Operation::Unknown, "{path}");
        }
    }

    #[test]
    fn every_operation_has_one_name_and_a_service() {
        let names: std::collections::BTreeSet<_> = Operation::ALL.iter().map(|all| all.name()).collect();
        assert_eq!(names.len(), Operation::ALL.len());
        assert_eq!(Operation::UploadPart.service(), Some(Service::TreasureData));
        assert_eq!(Operation::Unknown.service(), None);
    }
}
