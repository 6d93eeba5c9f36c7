//! Whom a process runs as.

use std::collections::BTreeSet;

use super::Profile;
use super::data::User;
use crate::image::ImageFacts;
use crate::manifest::{Container, PodSecurity, Workload};
use crate::settings::Settings;
use crate::{Error, ErrorKind};

/// Whom a container runs as; `container` is none for the pause container.
pub(super) fn user(
    settings: &Settings,
    profile: Profile,
    image: &str,
    facts: &ImageFacts,
    workload: &Workload,
    container: Option<&Container>,
) -> Result<User, Error> {
    let mut identity = Identity::of_image(profile, image, facts, container.is_none())?;
    let pod = &workload.pod.security;
    if let Some(container) = container
        && settings.typed.cluster_config.guest_pull
    {
        identity.must_be_spelled_out(image, pod, container)?;
    }
    let passwd = (profile == Profile::Kata).then_some(facts.passwd.as_deref().unwrap_or_default());
    if let Some(uid) = pod.run_as_user {
        identity.set_user(number(uid, "runAsUser")?, passwd);
    }
    if let Some(gid) = pod.run_as_group {
        identity.gid = number(gid, "runAsGroup")?;
    }
    if profile == Profile::Kata {
        let is_plain_pause = container.is_none() && facts.config.user.is_some();
        if !is_plain_pause {
            for gid in pod.fs_group.iter().chain(&pod.supplemental_groups) {
                identity.groups.insert(number(*gid, "supplementalGroups")?);
            }
        }
    }
    if let Some(container) = container {
        if let Some(uid) = container.security.run_as_user {
            identity.set_user(number(uid, "runAsUser")?, passwd);
        }
        if let Some(gid) = container.security.run_as_group {
            identity.gid = number(gid, "runAsGroup")?;
        }
        if profile == Profile::Kata {
            identity.join_groups_of_image(facts);
        }
    }
    if profile == Profile::Kata {
        // containerd lists the own group, too.
        identity.groups.insert(identity.gid);
    }
    Ok(User {
        uid: identity.uid,
        gid: identity.gid,
        additional_gids: identity.groups.into_iter().collect(),
        username: String::new(),
    })
}

struct Identity {
    uid: u32,
    gid: u32,
    /// Further groups.
    groups: BTreeSet<u32>,
}

impl Identity {
    fn of_image(
        profile: Profile,
        image: &str,
        facts: &ImageFacts,
        is_pause: bool,
    ) -> Result<Self, Error> {
        let text = facts.config.user.as_deref().unwrap_or_default();
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let passwd = facts.passwd.as_deref().unwrap_or_default();
        let mut identity = Self {
            uid: 0,
            gid: 0,
            groups: BTreeSet::new(),
        };
        if let Ok(uid) = user.parse() {
            identity.uid = uid;
        } else if !user.is_empty() {
            let entry = Passwd::find(passwd, |entry| entry.name == user);
            match entry {
                Some(entry) if profile != Profile::AksAzl3 => identity.uid = entry.uid,
                // The kubelet starts such a container as root, too.
                _ if profile == Profile::Kata => {}
                _ => return Err(named_user(image, user, profile)),
            }
        }
        if profile == Profile::Kata && !is_pause {
            let uid = identity.uid;
            identity.gid = Passwd::group_of(passwd, uid);
        } else if let Some(group) = group {
            identity.gid = match group.parse() {
                Ok(gid) => gid,
                Err(_) => {
                    group_named(facts, group).ok_or_else(|| named_user(image, group, profile))?
                }
            };
        } else if profile == Profile::Aks3_15 {
            let uid = identity.uid;
            identity.gid = Passwd::group_of(passwd, uid);
        }
        Ok(identity)
    }

    /// Where the guest pulls the image, the host's runtime does not know its user: what it asks for is
    /// what the manifest says, and root else.
    fn must_be_spelled_out(
        &self,
        image: &str,
        pod: &PodSecurity,
        container: &Container,
    ) -> Result<(), Error> {
        let own = &container.security;
        let has_user = own.run_as_user.or(pod.run_as_user).is_some();
        let has_group = own.run_as_group.or(pod.run_as_group).is_some();
        if (self.uid == 0 || has_user) && (self.gid == 0 || has_group) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Manifest,
            format!(
                "`{image}` runs as {}:{}, which the runtime will not know as the guest pulls it",
                self.uid, self.gid
            ),
        )
        .with_remedy("set runAsUser and runAsGroup in the manifest")
        .at(format!("containers.{}.securityContext", container.name)))
    }

    fn set_user(&mut self, uid: u32, passwd: Option<&str>) {
        self.uid = uid;
        if let Some(passwd) = passwd {
            self.gid = Passwd::group_of(passwd, uid);
        }
    }

    /// Groups that `/etc/group` lists the user in, but for one of the user's own name, which
    /// containerd leaves out.
    fn join_groups_of_image(&mut self, facts: &ImageFacts) {
        let uid = self.uid;
        let passwd = facts.passwd.as_deref().unwrap_or_default();
        let Some(user) = Passwd::find(passwd, |entry| entry.uid == uid) else {
            return;
        };
        for line in facts.group.as_deref().unwrap_or_default().lines() {
            let mut fields = line.split(':');
            let (name, gid, members) = (fields.next(), fields.nth(1), fields.next());
            let is_member = members
                .unwrap_or_default()
                .split(',')
                .any(|member| member == user.name);
            if let (true, Some(gid)) = (is_member && name != Some(user.name), gid) {
                self.groups.extend(gid.parse::<u32>());
            }
        }
    }
}

/// A line of `/etc/passwd`.
struct Passwd<'p> {
    name: &'p str,
    uid: u32,
    gid: u32,
}

impl<'p> Passwd<'p> {
    fn find(text: &'p str, matches: impl Fn(&Self) -> bool) -> Option<Self> {
        text.lines().filter_map(Self::parse).find(matches)
    }

    fn parse(line: &'p str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, uid, gid) = (fields.next()?, fields.nth(1)?, fields.next()?);
        Some(Self {
            name,
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
        })
    }

    /// The group of a user; 0 if the image does not know it.
    fn group_of(text: &str, uid: u32) -> u32 {
        Passwd::find(text, |entry| entry.uid == uid).map_or(0, |entry| entry.gid)
    }
}

fn group_named(facts: &ImageFacts, name: &str) -> Option<u32> {
    facts.group.as_deref()?.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

fn named_user(image: &str, user: &str, profile: Profile) -> Error {
    let what = if profile == Profile::AksAzl3 {
        "by name, which this profile cannot look up"
    } else {
        "who is not in its /etc/passwd or /etc/group"
    };
    Error::new(
        ErrorKind::Image,
        format!("`{image}` runs as `{user}`, {what}"),
    )
    .with_remedy("set runAsUser and runAsGroup in the manifest")
}

fn number(id: i64, field: &str) -> Result<u32, Error> {
    u32::try_from(id)
        .map_err(|_| Error::new(ErrorKind::Manifest, format!("{id} is no user or group")).at(field))
}
