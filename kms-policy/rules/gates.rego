package agent_policy

import future.keywords.every
import future.keywords.if
import future.keywords.in

# Every request of the agent has its gate here or beside the rules that open it. What no rule opens
# stays shut: a request that the agent learns later is undefined, and so is denied.

# A denial is never turned into leave.
default AllowRequestsFailingPolicy := false

# What a sandbox needs to live and to end, and what tells the host nothing of a workload.
DestroySandboxRequest := true
GetOOMEventRequest := true
GuestDetailsRequest := true
OnlineCPUMemRequest := true
RemoveStaleVirtiofsShareMountsRequest := true
SignalProcessRequest := true
StartContainerRequest := true
StatsContainerRequest := true
TtyWinResizeRequest := true
WaitProcessRequest := true

# What would change the guest behind the workload's back, or show what is in it.
default AddSwapPathRequest := false
default AddSwapRequest := false
default GetIPTablesRequest := false
default GetMetricsRequest := false
default ListInterfacesRequest := false
default ListRoutesRequest := false
default MemAgentCompactConfig := false
default MemAgentMemcgConfig := false
default MemHotplugByProbeRequest := false
default PauseContainerRequest := false
default ReseedRandomDevRequest := false
default ResizeVolumeRequest := false
default ResumeContainerRequest := false
default SetGuestDateTimeRequest := false
default SetIPTablesRequest := false
default SetPolicyRequest := false
default StartTracingRequest := false
default StopTracingRequest := false
default UpdateContainerRequest := false
default VolumeStatsRequest := false

# What the settings open or shut as a whole.
default CloseStdinRequest := false
default GetDiagnosticDataRequest := false
default ReadStreamRequest := false
default UpdateEphemeralMountsRequest := false
default WriteStreamRequest := false

CloseStdinRequest if policy_data.request_defaults.CloseStdinRequest == true
GetDiagnosticDataRequest if policy_data.request_defaults.GetDiagnosticDataRequest == true
ReadStreamRequest if policy_data.request_defaults.ReadStreamRequest == true
UpdateEphemeralMountsRequest if policy_data.request_defaults.UpdateEphemeralMountsRequest == true
WriteStreamRequest if policy_data.request_defaults.WriteStreamRequest == true
