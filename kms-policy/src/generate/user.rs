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
    let spelled = Spelled::of(&workload.pod.security, container)?;
    let of_image = Identity::of_image(profile, image, facts, container.is_none())?;
    let passwd = facts.passwd.as_deref().unwrap_or_default();
    let uid = spelled.user.unwrap_or(of_image.uid);
    let gid = match (spelled.group, spelled.user) {
        (Some(gid), _) => gid,
        (None, Some(uid)) if profile == Profile::Kata => Passwd::group_of(passwd, uid),
        (None, _) => of_image.gid,
    };
    let mut groups = BTreeSet::new();
    if profile == Profile::Kata {
        groups.insert(gid);
        let is_plain_pause = container.is_none() && facts.config.user.is_some();
        if !is_plain_pause {
            groups.extend(&spelled.further_groups);
        }
        if container.is_some() {
            groups.extend(groups_of_image(facts, uid));
        }
    }
    if let Some(container) = container
        && profile == Profile::Kata
        && settings.typed.cluster_config.guest_pull
    {
        spelled.must_say_all(image, container, uid, gid, &groups)?;
    }
    Ok(User {
        uid,
        gid,
        additional_gids: groups.into_iter().collect(),
        username: String::new(),
    })
}

/// What the manifest says, the container before the pod, as the kubelet has it.
struct Spelled {
    user: Option<u32>,
    group: Option<u32>,
    /// That of volumes, and supplemental ones.
    further_groups: BTreeSet<u32>,
}

impl Spelled {
    fn of(pod: &PodSecurity, container: Option<&Container>) -> Result<Self, Error> {
        let own = container.map(|container| &container.security);
        let user = own.and_then(|own| own.run_as_user).or(pod.run_as_user);
        let group = own.and_then(|own| own.run_as_group).or(pod.run_as_group);
        let further = pod.fs_group.iter().chain(&pod.supplemental_groups);
        let further = further.map(|gid| number(*gid, "supplementalGroups"));
        Ok(Self {
            user: user.map(|uid| number(uid, "runAsUser")).transpose()?,
            group: group.map(|gid| number(gid, "runAsGroup")).transpose()?,
            further_groups: further.collect::<Result<_, _>>()?,
        })
    }

    /// Where the guest pulls the image, the host's runtime knows nothing of its user: what it asks for
    /// is what the manifest says, and root else.
    fn must_say_all(
        &self,
        image: &str,
        container: &Container,
        uid: u32,
        gid: u32,
        groups: &BTreeSet<u32>,
    ) -> Result<(), Error> {
        let mut unsaid = Vec::new();
        if uid != 0 && self.user.is_none() {
            unsaid.push(format!("runAsUser: {uid}"));
        }
        if gid != 0 && self.group.is_none() {
            unsaid.push(format!("runAsGroup: {gid}"));
        }
        let is_said = |group: &u32| [0, gid].contains(group) || self.further_groups.contains(group);
        let further: Vec<_> = groups.iter().filter(|group| !is_said(group)).collect();
        if !further.is_empty() {
            unsaid.push(format!("supplementalGroups: {further:?}"));
        }
        if unsaid.is_empty() {
            return Ok(());
        }
        let unsaid = unsaid.join(", ");
        Err(Error::new(
            ErrorKind::Manifest,
            format!(
                "`{image}` has a user of its own, whom the runtime will not know as the guest pulls the image"
            ),
        )
        .with_remedy(format!("write in the securityContext what the image says: {unsaid}"))
        .at(format!("containers.{}.securityContext", container.name)))
    }
}

struct Identity {
    uid: u32,
    gid: u32,
}

impl Identity {
    /// Whom the image names.
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
        let uid = match user.parse() {
            Ok(uid) => uid,
            // Its generator knows numbers alone, and takes a name for root.
            Err(_) if user.is_empty() || profile == Profile::AksAzl3 => 0,
            Err(_) => match Passwd::find(passwd, |entry| entry.name == user) {
                Some(entry) => entry.uid,
                // The kubelet starts such a container as root, too.
                None if profile == Profile::Kata => 0,
                None => return Err(named_user(image, user)),
            },
        };
        // The kubelet passes on the user of a workload's image, and not the group.
        let is_group_lost = profile == Profile::Kata && !is_pause;
        let gid = match group
            .filter(|_| !is_group_lost)
            .map(|group| (group, group.parse()))
        {
            Some((_, Ok(gid))) => gid,
            Some((group, Err(_))) if profile != Profile::AksAzl3 => {
                group_named(facts, group).ok_or_else(|| named_user(image, group))?
            }
            None if is_group_lost || profile == Profile::Aks3_15 => Passwd::group_of(passwd, uid),
            _ => 0,
        };
        Ok(Self { uid, gid })
    }
}

/// Groups that `/etc/group` lists a user in, but for one of the user's own name, which containerd
/// leaves out.
fn groups_of_image(facts: &ImageFacts, uid: u32) -> Vec<u32> {
    let passwd = facts.passwd.as_deref().unwrap_or_default();
    let Some(user) = Passwd::find(passwd, |entry| entry.uid == uid) else {
        return Vec::new();
    };
    let lines = facts.group.as_deref().unwrap_or_default().lines();
    let groups = lines.filter_map(|line| {
        let mut fields = line.split(':');
        let (name, gid, members) = (fields.next()?, fields.nth(1)?, fields.next()?);
        let is_member = members.split(',').any(|member| member == user.name);
        gid.parse().ok().filter(|_| is_member && name != user.name)
    });
    groups.collect()
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

fn named_user(image: &str, user: &str) -> Error {
    Error::new(
        ErrorKind::Image,
        format!("`{image}` runs as `{user}`, who is not in its /etc/passwd or /etc/group"),
    )
    .with_remedy("set runAsUser and runAsGroup in the manifest")
}

fn number(id: i64, field: &str) -> Result<u32, Error> {
    u32::try_from(id)
        .map_err(|_| Error::new(ErrorKind::Manifest, format!("{id} is no user or group")).at(field))
}
