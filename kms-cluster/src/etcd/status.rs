//! What etcd and the way to it may answer instead of an answer. The table in the documentation of
//! [`crate::etcd`] is the one below.

use std::io;

use kms_core::text::one_line;
use kms_core::{Error, ErrorKind};
use tonic::{Code, Status};

/// The most of a foreign text that is kept, in bytes.
pub(super) const MAX_TEXT_LEN: usize = 256;

/// What a failed request means for those that could follow it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Class {
    /// It was not carried out and never will be; another member may do it.
    NotDone,
    /// Whether it was carried out, or still will be, is not known. Another member may know.
    Unsettled,
    /// It was not carried out: the token has run out, or the rights were changed.
    Stale,
    /// The answer is longer than is taken. Less may be asked for.
    TooLong,
    /// It was not carried out, and no member will.
    Refused,
}

/// The first row that has the code, and whose text is in the message, is the one.
struct Row {
    code: Code,
    text: &'static str,
    class: Class,
    kind: ErrorKind,
    /// Empty for the kind's own.
    remedy: &'static str,
}

const fn row(
    code: Code,
    text: &'static str,
    class: Class,
    kind: ErrorKind,
    remedy: &'static str,
) -> Row {
    Row {
        code,
        text,
        class,
        kind,
        remedy,
    }
}

const NO_WAY: &str =
    "check that etcd runs, that the endpoint is its client URL, and http against https";
const QUORUM: &str = "check that most members of etcd run and reach each other";
const ANOTHER_USER: &str =
    "give the name and password of an etcd user, or a client certificate for one";

static ROWS: &[Row] = &[
    row(
        Code::OutOfRange,
        "required revision has been compacted",
        Class::Refused,
        ErrorKind::Compacted,
        "",
    ),
    row(
        Code::OutOfRange,
        "required revision is a future revision",
        Class::Refused,
        ErrorKind::InvalidInput,
        "name a revision that the cluster has reached; one that was restored may be behind",
    ),
    row(
        Code::OutOfRange,
        "message length too large",
        Class::TooLong,
        ErrorKind::Protocol,
        "allow longer answers: one object alone is over the limit",
    ),
    row(
        Code::ResourceExhausted,
        "database space exceeded",
        Class::Refused,
        ErrorKind::Io,
        "compact and defragment etcd or raise its quota, then disarm the alarm NOSPACE",
    ),
    row(
        Code::ResourceExhausted,
        "message larger than max",
        Class::Refused,
        ErrorKind::InvalidInput,
        "store less in one object, or raise etcd's --max-request-bytes",
    ),
    row(
        Code::InvalidArgument,
        "request is too large",
        Class::Refused,
        ErrorKind::InvalidInput,
        "store less in one object, or raise etcd's --max-request-bytes",
    ),
    row(
        Code::ResourceExhausted,
        "",
        Class::NotDone,
        ErrorKind::Throttled,
        "",
    ),
    row(
        Code::InvalidArgument,
        "authentication failed",
        Class::Refused,
        ErrorKind::Unauthenticated,
        "check the name and password of the etcd user",
    ),
    row(
        Code::InvalidArgument,
        "user name is empty",
        Class::Stale,
        ErrorKind::Unauthenticated,
        ANOTHER_USER,
    ),
    row(
        Code::InvalidArgument,
        "revision of auth store is old",
        Class::Stale,
        ErrorKind::Unavailable,
        "try again: the rights of etcd's users were changed meanwhile",
    ),
    row(
        Code::Unknown,
        "revision in header is old",
        Class::Stale,
        ErrorKind::Unavailable,
        "try again: the rights of etcd's users were changed meanwhile",
    ),
    row(
        Code::Unauthenticated,
        "",
        Class::Stale,
        ErrorKind::Unauthenticated,
        ANOTHER_USER,
    ),
    row(
        Code::PermissionDenied,
        "",
        Class::Refused,
        ErrorKind::PermissionDenied,
        "grant a role of the etcd user the right to read, and to write, these keys",
    ),
    row(
        Code::NotFound,
        "requested lease not found",
        Class::Refused,
        ErrorKind::Conflict,
        "the lease ran out: take a new one, and look who came first",
    ),
    row(
        Code::Unavailable,
        "not supported for learner",
        Class::NotDone,
        ErrorKind::Unavailable,
        "give the endpoints of members that vote; this one still learns",
    ),
    row(
        Code::Unavailable,
        "no leader",
        Class::Unsettled,
        ErrorKind::Unavailable,
        QUORUM,
    ),
    row(
        Code::Unavailable,
        "leader changed",
        Class::Unsettled,
        ErrorKind::Unavailable,
        QUORUM,
    ),
    row(
        Code::Unavailable,
        "request timed out",
        Class::Unsettled,
        ErrorKind::Unavailable,
        QUORUM,
    ),
    row(
        Code::Unavailable,
        "unhealthy cluster",
        Class::Unsettled,
        ErrorKind::Unavailable,
        QUORUM,
    ),
    row(
        Code::Unavailable,
        "",
        Class::Unsettled,
        ErrorKind::Unavailable,
        NO_WAY,
    ),
    row(
        Code::DataLoss,
        "",
        Class::Refused,
        ErrorKind::Corrupt,
        "members of etcd disagree (alarm CORRUPT): find the member that is wrong before anything else",
    ),
    row(
        Code::DeadlineExceeded,
        "",
        Class::Unsettled,
        ErrorKind::DeadlineExceeded,
        "",
    ),
    row(
        Code::Cancelled,
        "",
        Class::Unsettled,
        ErrorKind::Unavailable,
        "",
    ),
    row(
        Code::Unimplemented,
        "",
        Class::Refused,
        ErrorKind::Unsupported,
        "use etcd 3.4 or later, and its client port",
    ),
    row(
        Code::InvalidArgument,
        "",
        Class::Refused,
        ErrorKind::InvalidInput,
        "",
    ),
    row(
        Code::Unknown,
        "",
        Class::Unsettled,
        ErrorKind::Internal,
        "read etcd's log",
    ),
    row(
        Code::Internal,
        "",
        Class::Unsettled,
        ErrorKind::Protocol,
        "",
    ),
];

static OTHERWISE: Row = row(Code::Unknown, "", Class::Unsettled, ErrorKind::Protocol, "");

fn find(status: &Status) -> &'static Row {
    ROWS.iter()
        .find(|row| row.code == status.code() && status.message().contains(row.text))
        .unwrap_or(&OTHERWISE)
}

/// What the failure means for other requests.
pub(super) fn class(status: &Status) -> Class {
    match way(status) {
        Some(Way::NotReached(_)) => Class::NotDone,
        Some(Way::Broken(_)) => Class::Unsettled,
        None => find(status).class,
    }
}

/// The error that a caller gets. `what` is what was tried, `member` whom it was asked of.
pub(super) fn error(status: &Status, what: &str, member: &str) -> Error {
    let error = |kind, text: &str| {
        Error::new(
            kind,
            format!("{what}: {member}: {}", one_line(text, MAX_TEXT_LEN)),
        )
    };
    let (fault, is_tls) = match way(status) {
        None => {
            let row = find(status);
            let error = error(row.kind, status.message());
            return match row.remedy {
                "" => error,
                remedy => error.with_remedy(remedy),
            };
        }
        Some(Way::NotReached(fault)) => (format!("no connection: {}", fault.text), fault.is_tls),
        Some(Way::Broken(fault)) => (
            format!("the connection broke: {}", fault.text),
            fault.is_tls,
        ),
    };
    if is_tls {
        return error(ErrorKind::Unauthenticated, &fault).with_remedy(
            "check the certificate authority, the name in etcd's certificate, and the client \
             certificate",
        );
    }
    // TLS 1.3 lets etcd refuse us after its own part is done, and what arrives of that is often
    // no more than the end of the connection.
    let remedy = if member.starts_with("https:") {
        "check that etcd runs, that the endpoint is its client URL, and in its log whether it \
         refuses the client certificate"
    } else {
        NO_WAY
    };
    error(ErrorKind::Unavailable, &fault).with_remedy(remedy)
}

/// What went wrong before an answer was there.
enum Way {
    /// No connection, so nothing was sent.
    NotReached(WayFault),
    /// Something may have been sent.
    Broken(WayFault),
}

struct WayFault {
    text: String,
    is_tls: bool,
}

/// What went wrong on the way; none if it is etcd that answered: such a status has no source.
fn way(status: &Status) -> Option<Way> {
    let mut cause = core::error::Error::source(status)?;
    let mut is_reached = true;
    let mut is_tls = false;
    loop {
        is_reached &= !cause.is::<tonic::ConnectError>();
        // The TLS library reports all that it does not like so.
        is_tls |= cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::InvalidData);
        match cause.source() {
            Some(inner) => cause = inner,
            None => break,
        }
    }
    // The innermost cause is the telling one: "Connection refused".
    let text = cause.to_string();
    let fault = WayFault { text, is_tls };
    Some(if is_reached {
        Way::Broken(fault)
    } else {
        Way::NotReached(fault)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What etcd really says, and what is made of it.
    const SAID: &[(Code, &str, Class, ErrorKind)] = &[
        (
            Code::OutOfRange,
            "etcdserver: mvcc: required revision has been compacted",
            Class::Refused,
            ErrorKind::Compacted,
        ),
        (
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
            Class::Refused,
            ErrorKind::InvalidInput,
        ),
        (
            Code::OutOfRange,
            "Error, decoded message length too large: found 9 bytes, the limit is: 8 bytes",
            Class::TooLong,
            ErrorKind::Protocol,
        ),
        (
            Code::ResourceExhausted,
            "etcdserver: mvcc: database space exceeded",
            Class::Refused,
            ErrorKind::Io,
        ),
        (
            Code::ResourceExhausted,
            "grpc: received message larger than max (3000029 vs. 2097152)",
            Class::Refused,
            ErrorKind::InvalidInput,
        ),
        (
            Code::InvalidArgument,
            "etcdserver: request is too large",
            Class::Refused,
            ErrorKind::InvalidInput,
        ),
        (
            Code::ResourceExhausted,
            "etcdserver: too many requests",
            Class::NotDone,
            ErrorKind::Throttled,
        ),
        (
            Code::InvalidArgument,
            "etcdserver: authentication failed, invalid user ID or password",
            Class::Refused,
            ErrorKind::Unauthenticated,
        ),
        (
            Code::InvalidArgument,
            "etcdserver: user name is empty",
            Class::Stale,
            ErrorKind::Unauthenticated,
        ),
        (
            Code::InvalidArgument,
            "etcdserver: revision of auth store is old",
            Class::Stale,
            ErrorKind::Unavailable,
        ),
        (
            Code::Unknown,
            "auth: revision in header is old",
            Class::Stale,
            ErrorKind::Unavailable,
        ),
        (
            Code::Unauthenticated,
            "etcdserver: invalid auth token",
            Class::Stale,
            ErrorKind::Unauthenticated,
        ),
        (
            Code::PermissionDenied,
            "etcdserver: permission denied",
            Class::Refused,
            ErrorKind::PermissionDenied,
        ),
        (
            Code::NotFound,
            "etcdserver: requested lease not found",
            Class::Refused,
            ErrorKind::Conflict,
        ),
        (
            Code::Unavailable,
            "etcdserver: rpc not supported for learner",
            Class::NotDone,
            ErrorKind::Unavailable,
        ),
        (
            Code::Unavailable,
            "etcdserver: no leader",
            Class::Unsettled,
            ErrorKind::Unavailable,
        ),
        (
            Code::Unavailable,
            "etcdserver: leader changed",
            Class::Unsettled,
            ErrorKind::Unavailable,
        ),
        (
            Code::Unavailable,
            "etcdserver: request timed out, possibly due to previous leader failure",
            Class::Unsettled,
            ErrorKind::Unavailable,
        ),
        (
            Code::Unavailable,
            "etcdserver: unhealthy cluster",
            Class::Unsettled,
            ErrorKind::Unavailable,
        ),
        (
            Code::Unavailable,
            "etcdserver: server stopped",
            Class::Unsettled,
            ErrorKind::Unavailable,
        ),
        (
            Code::DataLoss,
            "etcdserver: corrupt cluster",
            Class::Refused,
            ErrorKind::Corrupt,
        ),
        (
            Code::DeadlineExceeded,
            "context deadline exceeded",
            Class::Unsettled,
            ErrorKind::DeadlineExceeded,
        ),
        (
            Code::Cancelled,
            "context canceled",
            Class::Unsettled,
            ErrorKind::Unavailable,
        ),
        (
            Code::Unimplemented,
            "unknown service etcdserverpb.KV",
            Class::Refused,
            ErrorKind::Unsupported,
        ),
        (
            Code::InvalidArgument,
            "etcdserver: duplicate key given in txn request",
            Class::Refused,
            ErrorKind::InvalidInput,
        ),
        (
            Code::Unknown,
            "raft: stopped",
            Class::Unsettled,
            ErrorKind::Internal,
        ),
        (
            Code::Internal,
            "failed to decode Protobuf message",
            Class::Unsettled,
            ErrorKind::Protocol,
        ),
    ];

    #[test]
    fn every_row_of_the_table_has_its_kind() {
        assert_eq!(SAID.len(), ROWS.len());
        let documentation = include_str!("mod.rs");
        for ((code, said, class, kind), row) in SAID.iter().zip(ROWS) {
            let status = Status::new(*code, *said);
            assert!(core::ptr::eq(find(&status), row), "{said}");
            assert_eq!(super::class(&status), *class, "{said}");
            let error = error(&status, "a read", "http://etcd");
            assert_eq!(error.kind(), *kind, "{said}");
            if !row.remedy.is_empty() {
                assert_eq!(error.remedy(), row.remedy);
            }
            let line = match row.text {
                "" => format!("| {:?} |  | {:?}", row.code, row.kind),
                text => format!("| {:?} | `{text}` | {:?}", row.code, row.kind),
            };
            assert!(documentation.contains(&line), "not documented: {line}");
        }
        let documented = documentation
            .lines()
            .filter(|line| line.starts_with("//! | "));
        // Head and the row for everything else.
        assert_eq!(documented.count(), ROWS.len() + 2);
    }

    #[test]
    fn a_code_that_etcd_does_not_use_settles_nothing() {
        for code in [Code::Ok, Code::Aborted, Code::FailedPrecondition] {
            let status = Status::new(code, "?");
            assert_eq!(class(&status), Class::Unsettled);
            let error = error(&status, "a read", "http://etcd");
            assert_eq!(error.kind(), ErrorKind::Protocol);
        }
    }
}
