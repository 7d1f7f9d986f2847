-- Forward what a prediction needs to the watcher, but never what the watcher itself sent: that would go round for ever.

local WATCHER_TITLE = "VMATRT"
local WATCHER_NAME = "vmat-rt"
local WANTED = { CT = true, RTSTRUCT = true, RTPLAN = true }

function OnStoredInstance(instanceId, tags, metadata, origin)
  if origin["RequestOrigin"] == "DicomProtocol" and origin["RemoteAet"] == WATCHER_TITLE then
    return
  end
  if WANTED[tags["Modality"]] then
    SendToModality(instanceId, WATCHER_NAME)
  end
end
