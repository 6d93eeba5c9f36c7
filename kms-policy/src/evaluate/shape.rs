//! Fields of requests. The agent's protocol leaves out what has its default value, and its rules see
//! every field: what a test or a log leaves out is put back here.

use serde_json::{Map, Value, json};

/// What a field holds.
enum Shape {
    /// A text, empty by default.
    Text,
    /// A number, 0 by default.
    Number,
    /// False by default.
    Flag,
    /// A message of which nothing is said, null by default.
    Opaque,
    /// Texts by name.
    Map,
    /// A list.
    List(&'static Self),
    /// A message, null by default.
    Message(&'static [(&'static str, Self)]),
}

use Shape::{Flag, List, Message, Number, Opaque, Text};

const TEXTS: Shape = List(&Text);

const STORAGE: Shape = Message(&[
    ("driver", Text),
    ("driver_options", TEXTS),
    ("source", Text),
    ("fstype", Text),
    ("options", TEXTS),
    ("mount_point", Text),
    ("fs_group", Opaque),
    ("shared", Flag),
]);

const USER: Shape = Message(&[
    ("UID", Number),
    ("GID", Number),
    ("AdditionalGids", List(&Number)),
    ("Username", Text),
]);

const PROCESS: Shape = Message(&[
    ("Terminal", Flag),
    ("ConsoleSize", Opaque),
    ("User", USER),
    ("Args", TEXTS),
    ("Env", TEXTS),
    ("Cwd", Text),
    (
        "Capabilities",
        Message(&[
            ("Ambient", TEXTS),
            ("Bounding", TEXTS),
            ("Effective", TEXTS),
            ("Inheritable", TEXTS),
            ("Permitted", TEXTS),
        ]),
    ),
    ("Rlimits", List(&Opaque)),
    ("NoNewPrivileges", Flag),
    ("ApparmorProfile", Text),
    ("OOMScoreAdj", Number),
    ("SelinuxLabel", Text),
]);

const LINUX: Shape = Message(&[
    ("UIDMappings", List(&Opaque)),
    ("GIDMappings", List(&Opaque)),
    ("Sysctl", Shape::Map),
    (
        "Resources",
        Message(&[
            ("Devices", List(&Opaque)),
            ("Memory", Opaque),
            ("CPU", Opaque),
            ("Pids", Opaque),
            ("BlockIO", Opaque),
            ("HugepageLimits", List(&Opaque)),
            ("Network", Opaque),
        ]),
    ),
    ("CgroupsPath", Text),
    (
        "Namespaces",
        List(&Message(&[("Type", Text), ("Path", Text)])),
    ),
    (
        "Devices",
        List(&Message(&[
            ("Path", Text),
            ("Type", Text),
            ("Major", Number),
            ("Minor", Number),
            ("FileMode", Number),
            ("UID", Number),
            ("GID", Number),
        ])),
    ),
    ("Seccomp", Opaque),
    ("RootfsPropagation", Text),
    ("MaskedPaths", TEXTS),
    ("ReadonlyPaths", TEXTS),
    ("MountLabel", Text),
    ("IntelRdt", Opaque),
]);

const OCI: Shape = Message(&[
    ("Version", Text),
    ("Process", PROCESS),
    ("Root", Message(&[("Path", Text), ("Readonly", Flag)])),
    ("Hostname", Text),
    (
        "Mounts",
        List(&Message(&[
            ("destination", Text),
            ("source", Text),
            ("type_", Text),
            ("options", TEXTS),
        ])),
    ),
    ("Hooks", Opaque),
    ("Annotations", Shape::Map),
    ("Linux", LINUX),
    ("Solaris", Opaque),
    ("Windows", Opaque),
]);

const CREATE_CONTAINER: &[(&str, Shape)] = &[
    ("container_id", Text),
    ("exec_id", Text),
    ("string_user", Opaque),
    (
        "devices",
        List(&Message(&[
            ("id", Text),
            ("type_", Text),
            ("vm_path", Text),
            ("container_path", Text),
            ("options", TEXTS),
        ])),
    ),
    ("storages", List(&STORAGE)),
    ("OCI", OCI),
    ("sandbox_pidns", Flag),
    ("shared_mounts", List(&Opaque)),
];

const CREATE_SANDBOX: &[(&str, Shape)] = &[
    ("hostname", Text),
    ("dns", TEXTS),
    ("storages", List(&STORAGE)),
    ("sandbox_pidns", Flag),
    ("sandbox_id", Text),
    ("guest_hook_path", Text),
    ("kernel_modules", List(&Opaque)),
];

const EXEC_PROCESS: &[(&str, Shape)] = &[
    ("container_id", Text),
    ("exec_id", Text),
    ("string_user", Opaque),
    ("process", PROCESS),
];

const IP_ADDRESS: Shape = Message(&[("family", Opaque), ("address", Text), ("mask", Text)]);

const UPDATE_INTERFACE: &[(&str, Shape)] = &[(
    "interface",
    Message(&[
        ("device", Text),
        ("name", Text),
        ("IPAddresses", List(&IP_ADDRESS)),
        ("mtu", Number),
        ("hwAddr", Text),
        ("devicePath", Text),
        ("type_", Text),
        ("raw_flags", Number),
    ]),
)];

const UPDATE_ROUTES: &[(&str, Shape)] = &[(
    "routes",
    Message(&[(
        "Routes",
        List(&Message(&[
            ("dest", Text),
            ("gateway", Text),
            ("device", Text),
            ("source", Text),
            ("scope", Number),
        ])),
    )]),
)];

const ADD_NEIGHBORS: &[(&str, Shape)] = &[(
    "neighbors",
    Message(&[(
        "ARPNeighbors",
        List(&Message(&[
            ("toIPAddress", IP_ADDRESS),
            ("device", Text),
            ("lladdr", Text),
            ("state", Number),
            ("flags", Number),
        ])),
    )]),
)];

const REMOVE_CONTAINER: &[(&str, Shape)] = &[("container_id", Text), ("timeout", Number)];

/// How an agent names the type of a file, if it does.
const COPY_FILE: &[(&str, Shape)] = &[
    ("path", Text),
    ("file_size", Number),
    ("file_mode", Number),
    ("dir_mode", Number),
    ("uid", Number),
    ("gid", Number),
    ("offset", Number),
];

/// Puts back what a request of this kind leaves out. `names_file_types` says whether the agent tells
/// the type of a file in words.
pub(super) fn complete(kind: &str, request: &mut Value, names_file_types: bool) {
    let fields = match kind {
        "CreateContainerRequest" => {
            // An agent's envelope, with the variables by name beside the request.
            match request.get_mut("base") {
                Some(base) => fill_message(CREATE_CONTAINER, base),
                None => fill_message(CREATE_CONTAINER, request),
            }
            return;
        }
        "CreateSandboxRequest" => CREATE_SANDBOX,
        "ExecProcessRequest" => EXEC_PROCESS,
        "UpdateInterfaceRequest" => UPDATE_INTERFACE,
        "UpdateRoutesRequest" => UPDATE_ROUTES,
        "AddARPNeighborsRequest" => ADD_NEIGHBORS,
        "RemoveContainerRequest" => REMOVE_CONTAINER,
        "CopyFileRequest" => {
            fill_message(COPY_FILE, request);
            if let Value::Object(map) = request {
                let (name, default) = if names_file_types {
                    ("file_type", json!("Unknown"))
                } else {
                    ("symlink_src", json!(""))
                };
                map.entry(name).or_insert(default);
            }
            return;
        }
        _ => return,
    };
    fill_message(fields, request);
}

fn fill_message(fields: &[(&str, Shape)], value: &mut Value) {
    let Value::Object(map) = value else { return };
    for (name, shape) in fields {
        match map.get_mut(*name) {
            Some(found) => fill(shape, found),
            None => {
                map.insert((*name).to_owned(), default(shape));
            }
        }
    }
}

fn fill(shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Message(fields), value) => fill_message(fields, value),
        (List(shape), Value::Array(items)) => items.iter_mut().for_each(|item| fill(shape, item)),
        _ => {}
    }
}

fn default(shape: &Shape) -> Value {
    match shape {
        Text => json!(""),
        Number => json!(0),
        Flag => json!(false),
        Opaque | Message(_) => Value::Null,
        Shape::Map => Value::Object(Map::new()),
        List(_) => json!([]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_put_back_and_what_is_there_stays() {
        let mut request = json!({"OCI": {"Process": {"User": {"UID": 7}}}, "container_id": "c"});
        complete("CreateContainerRequest", &mut request, true);
        assert_eq!(request["OCI"]["Process"]["User"]["UID"], 7);
        assert_eq!(
            request["OCI"]["Process"]["User"]["AdditionalGids"],
            json!([])
        );
        assert_eq!(request["OCI"]["Process"]["Capabilities"], Value::Null);
        assert_eq!(request["OCI"]["Root"], Value::Null);
        assert_eq!(request["container_id"], "c");
        let mut enveloped = json!({"base": {}, "env_map": {}});
        complete("CreateContainerRequest", &mut enveloped, true);
        assert_eq!(enveloped["base"]["storages"], json!([]));
        assert!(enveloped.get("storages").is_none());
    }
}
