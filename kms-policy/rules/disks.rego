package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

# Empty volumes that are disks of the guest's own making. Apart, as not every agent's engine has the
# encoding that they need.

# A disk that the guest makes afresh, with a key that nobody else has where the data say so.
storage_fits(container, allowed, storage, ids) if {
	allowed.driver == ""
	storage.driver in {"blk", "blk-ccw", "mmioblk", "scsi"}
	allowed.fstype == storage.fstype
	allowed.options == storage.options
	object.get(storage, "shared", false) == true
	storage.mount_point == disk_mount_point(allowed.mount_point, storage)
}

# Where one of the request's own storages is mounted.
mount_source_allowed(allowed, source, ids) if {
	contains(allowed, "$(b64_device_id)")
	some storage in request.storages
	storage.mount_point == source
	source == disk_mount_point("$(spath)/$(b64_device_id)", storage)
}

disk_mount_point(template, storage) := replace(
	expand_settings(template),
	"$(b64_device_id)", base64url.encode(storage.source),
)
